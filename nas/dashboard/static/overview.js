// The overview: the progress of the study, and what is running now.

import { element, fill } from "./dom.js";
import { clock, counted, duration, figure, percent, valueText } from "./format.js";
import { strip } from "./layout.js";
import { title } from "./study.js";

/** @param {import("./draw.js").Page} page */
export function overviewSection(page) {
  const body = element("div");

  function draw() {
    const { study } = page;
    const { counts, running, created_at: start, stages, spec } = study.document;
    const ended = counts.complete + counts.infeasible + counts.stopped + counts.failed;
    const spent = stages.reduce((sum, each) => sum + each.seconds, 0);
    const rejected = Object.values(counts.rejected).reduce((sum, draws) => sum + draws, 0);
    // The number that the study asks for may have been lowered since.
    const asked = ended > counts.total ? "" : ` of ${counts.total.toLocaleString("en-US")}`;
    const more = ended > counts.total ? `; ${counts.total.toLocaleString("en-US")} requested` : "";
    const tiles = [
      [`${ended.toLocaleString("en-US")}${asked}`, "candidates ended", `${duration(spent)}${more}`],
      [figure(study.document.front.length), "on the front", frontText(study)],
      [figure(counts.infeasible), "infeasible", rejected ? `${counted(rejected, "proposal")} rejected by rules` : ""],
      [figure(counts.stopped), "stopped early", counts.duplicates ? counted(counts.duplicates, "duplicate") : ""],
      [figure(counts.failed), "failed", counts.interrupted ? `${counts.interrupted} interrupted` : ""],
      [figure(counts.running), "running", ""],
    ];
    const fraction = Math.min(1, ended / counts.total);
    const progress = element("progress", {
      max: counts.total,
      value: Math.min(ended, counts.total),
      "aria-label": `${percent(fraction)} of the candidates ended`,
    });
    const knee = study.byId.get(study.document.knee);
    fill(
      body,
      progress,
      element(
        "ul",
        { class: "tiles" },
        ...tiles.map(([value, name, more]) =>
          element("li", {}, element("b", {}, value), element("span", {}, name), element("small", {}, more)),
        ),
      ),
      emptyState(study, ended, page.live),
      knee === undefined
        ? null
        : element("p", { class: "knee" }, "Knee of the front: ", element("b", {}, `${title(knee)} `), strip(study.mixers, knee.architecture.layout)),
      running.length ? element("ul", { class: "running" }, ...running.map(runningTrial)) : null,
      ...study.document.calibrations.map((each) => calibration(study.document.reference, each)),
      element("p", { class: "quiet" }, `Started ${clock(start)}. ${settings(spec)}`),
    );
  }

  return {
    element: element("section", { id: "overview", "aria-label": "Overview" }, body),
    /** @param {import("./draw.js").Change} change */
    draw(change) {
      if (change.document) draw();
    },
  };
}

function frontText({ document: { counts, provisional_front: provisional } }) {
  const complete = counted(counts.complete, "complete", "complete");
  return provisional.length ? `${provisional.length} only provisionally; ${complete}` : complete;
}

/** States the time of the reference model at a workload, and how well it is known. */
function calibration(reference, { workload, ms, low, high, settled, timings, latest_at: latest }) {
  const known = valueText({ value: ms, low, high });
  const doubt = settled ? "" : "; not certain enough to enforce limits in ms";
  const text =
    `Reference model ${reference} at ${workload}: ${known} ms (95 % confidence), from ` +
    `${counted(timings, "timing")}, the latest on ${clock(latest)}${doubt}`;
  return element("p", { class: "quiet calibration" }, text);
}

/** Explains why there is no front yet. */
function emptyState(study, ended, live) {
  if (study.document.front.length) return null;
  const { counts, running } = study.document;
  const infeasible = counts.infeasible
    ? `${counted(counts.infeasible, "candidate")} exceeded a limit. `
    : "";
  const text = ended
    ? `No candidate is complete yet, so there is no front. ${infeasible}`
    : running.length
      ? "No candidate has ended yet; the first one is being evaluated. "
      : "No candidate has ended yet, and nothing is running. ";
  return element("p", { class: "empty" }, text, live ? "This page updates automatically." : null);
}

function runningTrial({ title: name, host, pid, stage, done, text }) {
  const activity = stage === null ? "drawing an architecture" : stage;
  const bar = done === null ? null : element("progress", { max: 1, value: done, "aria-label": `${name}: ${percent(done)}` });
  return element("li", {}, element("b", {}, name), ` ${activity} `, bar, element("span", { class: "quiet" }, ` ${text}  on ${host}, process ${pid}`));
}

function settings({ objectives = [], target, device, proxy }) {
  const names = objectives.map(({ name, max }) => (max === null ? name : `${name} (at most ${figure(max)})`));
  const training = proxy?.method === "shared"
    ? ` Losses are inherited from one shared network, trained on ${figure(proxy.shared_token_budget)} tokens.`
    : proxy?.token_budget ? ` Each candidate is trained on up to ${figure(proxy.token_budget)} tokens.` : "";
  const devices = target?.devices ?? [];
  const measured = devices.length ? `Devices: ${devices.join(", ")}` : `Runner: ${device?.runner ?? "unknown"}`;
  return `Objectives, all minimised: ${names.join(", ")}. ${measured}.${training}`;
}
