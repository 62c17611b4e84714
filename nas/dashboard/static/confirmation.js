// What longer trainings say of the front: a table of the candidates, and sentences.

import { element, fill } from "./dom.js";
import { axisTitle, figure, probabilityText } from "./format.js";
import { strip } from "./layout.js";
import { title } from "./study.js";

const HOW = "The front has not been confirmed by longer trainings: losses are those of short ones.";

/** @param {HTMLElement} into is filled @param {import("./study.js").Study} study */
export function drawConfirmation(into, study) {
  const { confirmation, study: name } = study.document;
  if (confirmation === null) {
    fill(into, element("p", { class: "quiet" }, HOW, " ", element("code", {}, `nas confirm ${name}`), " does."));
    return;
  }
  const { short_tokens, inherited, long_tokens, seeds, anew, candidates, findings } = confirmation;
  const titles = new Map(study.axes.map((axis) => [axis.name, axisTitle(axis)]));
  // What nothing is known of for any candidate has no column.
  const ranked = candidates.some((each) => each.probability !== null);
  const heads = [
    "trial",
    "layout",
    // The task's score is of the long training.
    ...anew.map((score) => `${titles.get(score)}, ${score === "task" ? `${figure(long_tokens)} tokens` : "anew"}`),
    inherited ? "loss, inherited from the shared network" : `loss, ${figure(short_tokens)} tokens`,
    ...seeds.map((seed) => `seed ${seed}, ${figure(short_tokens)} tokens`),
    ...(long_tokens === null ? [] : [`${figure(long_tokens)} tokens`]),
    ...(ranked ? ["on the front"] : []),
  ];
  const lines = candidates.map((each) => {
    const row = study.byId.get(each.trial);
    return [
      `${title(row)}${each.on_front ? "" : " (behind)"}`,
      strip(row.architecture.layout),
      ...each.again.map(figure),
      figure(each.short),
      ...each.fresh.map(figure),
      ...(long_tokens === null ? [] : [figure(each.long)]),
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
    element("h3", {}, "Trained again, and for longer"),
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Confirmation" }, table),
    element("ul", { class: "findings" }, ...findings.map((sentence) => element("li", {}, sentence))),
  );
}
