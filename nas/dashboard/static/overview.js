// The overview: how far the study is, and what runs now.

import { element, fill } from "./dom.js";
import { clock, counted, duration, figure, percent } from "./format.js";
import { strip } from "./layout.js";
import { title } from "./study.js";

/** @param {import("./draw.js").Page} page */
export function overviewSection(page) {
  const body = element("div");

  function draw() {
    const { study } = page;
    const { counts, running, created_at: begun, stages, spec } = study.document;
    const ended = counts.complete + counts.infeasible + counts.stopped + counts.failed;
    const spent = stages.reduce((sum, each) => sum + each.seconds, 0);
    const rejected = Object.values(counts.rejected).reduce((sum, draws) => sum + draws, 0);
    const tiles = [
      [`${ended.toLocaleString("en-US")} of ${counts.wanted.toLocaleString("en-US")}`, "candidates ended", duration(spent)],
      [figure(study.document.front.length), "on the front", counted(counts.complete, "complete", "complete")],
      [figure(counts.infeasible), "over budget", rejected ? `${counted(rejected, "draw")} refused before` : ""],
      [figure(counts.stopped), "stopped early", counts.duplicates ? counted(counts.duplicates, "duplicate") : ""],
      [figure(counts.failed), "failed", counts.interrupted ? `${counts.interrupted} interrupted` : ""],
      [figure(counts.running), "running", ""],
    ];
    const share = Math.min(1, ended / counts.wanted);
    const done = element("progress", { max: counts.wanted, value: Math.min(ended, counts.wanted), "aria-label": `${percent(share)} of the candidates ended` });
    const knee = study.byId.get(study.document.knee);
    fill(
      body,
      done,
      element(
        "ul",
        { class: "tiles" },
        ...tiles.map(([value, name, more]) =>
          element("li", {}, element("b", {}, value), element("span", {}, name), element("small", {}, more)),
        ),
      ),
      emptiness(study, ended, page.live),
      knee === undefined
        ? null
        : element("p", { class: "knee" }, element("b", {}, `${title(knee)} `), "is the knee of the front  ", strip(knee.architecture.layout)),
      running.length ? element("ul", { class: "running" }, ...running.map(at)) : null,
      element("p", { class: "quiet" }, `Begun ${clock(begun)}; ${objectives(spec)}.`),
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

/** Says what is not there yet, and when it will be. */
function emptiness(study, ended, live) {
  if (study.document.front.length) return null;
  const { counts, running } = study.document;
  const why = counts.infeasible ? `${counted(counts.infeasible, "candidate")} went over a budget. ` : "";
  const said = ended
    ? `No candidate is complete yet, so there is no front. ${why}`
    : running.length
      ? "Nothing has ended yet: the first candidate is being worked on. "
      : "There is nothing yet: no candidate has ended and nothing runs. ";
  return element("p", { class: "empty" }, said, live ? "This page follows the study by itself." : null);
}

function at({ title: what, host, pid, stage, done, text }) {
  const place = stage === null ? "drawing an architecture" : stage;
  const bar = done === null ? null : element("progress", { max: 1, value: done, "aria-label": `${what}: ${percent(done)}` });
  return element("li", {}, element("b", {}, what), ` ${place} `, bar, element("span", { class: "quiet" }, ` ${text}  on ${host}, process ${pid}`));
}

function objectives({ objectives = [], device, proxy }) {
  const wanted = objectives.map(({ name, max }) => (max === null ? name : `${name} (at most ${figure(max)})`));
  const trained = proxy?.method === "shared"
    ? `, losses inherited from one network, trained on ${figure(proxy.shared_token_budget)} tokens`
    : proxy?.token_budget ? `, trained on ${figure(proxy.token_budget)} tokens` : "";
  return `made small: ${wanted.join(", ")}; measured by ${device?.runner ?? "?"}${trained}`;
}
