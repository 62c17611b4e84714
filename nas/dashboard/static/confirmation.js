// The confirmation of the front: a table of the retrained candidates, and what it shows.

import { element, fill } from "./dom.js";
import { axisTitle, figure, marked, probabilityText, studyCommand } from "./format.js";
import { strip } from "./layout.js";
import { title } from "./study.js";

// A confirmation ranks candidates; see `FEWEST_RANKED` of its statistics.
const FEWEST_RANKED = 3;

/** @param {HTMLElement} into is filled @param {import("./draw.js").Page} page */
export function drawConfirmation(into, page) {
  const { study } = page;
  const { confirmation } = study.document;
  const heading = element("h3", {}, "Confirmation");
  if (confirmation === null) {
    fill(into, heading, element("p", { class: "quiet" }, ...howToConfirm(page)));
    return;
  }
  const { short_tokens, inherited, long_tokens, seeds, remeasured, candidates, notes, findings } = confirmation;
  const titles = new Map(study.axes.map((axis) => [axis.name, axisTitle(axis)]));
  // A column without any value is left out.
  const ranked = candidates.some((each) => each.probability !== null);
  const heads = [
    "trial",
    "layout",
    // The user's own task is scored by the longer training, not measured again.
    ...remeasured.map((score) =>
      `${titles.get(score)}, ${score === "task" ? `${figure(long_tokens)} tokens` : "remeasured"}`),
    inherited ? "loss, inherited from the shared network" : `loss, ${figure(short_tokens)} tokens`,
    ...seeds.map((seed) => `loss, seed ${seed}, ${figure(short_tokens)} tokens`),
    ...(long_tokens === null ? [] : [`loss, ${figure(long_tokens)} tokens`]),
    ...(ranked ? ["probability on the front"] : []),
  ];
  const lines = candidates.map((each) => {
    const row = study.byId.get(each.trial);
    return [
      `${title(row)}${each.on_front ? "" : " (dominated)"}`,
      strip(study.mixers, row.architecture.layout),
      ...each.remeasured_values.map((value, place) => marked(figure(value), each.provisional.includes(remeasured[place]))),
      figure(each.short_loss),
      ...each.seed_losses.map(figure),
      ...(long_tokens === null ? [] : [figure(each.long_loss)]),
      ...(ranked ? [probabilityText(each.probability)] : []),
    ];
  });
  const table = element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...lines.map((line) => element("tr", {}, ...line.map((cell) => element("td", {}, cell))))),
  );
  fill(
    into,
    heading,
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Confirmation" }, table),
    ...notes.map((note) => element("p", { class: "quiet" }, note)),
    element("ul", { class: "findings" }, ...findings.map((finding) => element("li", {}, finding))),
  );
}

/** Yields what a confirmation requires, and the command that starts it. */
function* howToConfirm(page) {
  const { study } = page;
  if (!study.axes.some((axis) => axis.objective && axis.name === "loss")) {
    yield "This study cannot be confirmed by longer training, because loss is none of its objectives.";
    return;
  }
  yield "The front has not been confirmed by longer training yet. ";
  yield `Once the study has ended with at least ${FEWEST_RANKED} complete candidates, run `;
  yield element("code", {}, studyCommand(page, "nas", "confirm", study.name));
  yield " to confirm it.";
}
