// What the study shows and what it does not show, in sentences.

import { element, fill, section } from "./dom.js";

/** @param {import("./draw.js").Page} page */
export function findingsSection(page) {
  const body = element("div", { class: "columns" });

  return {
    element: section("findings", "Findings", "What the trials show, and what they do not.", body),
    /** @param {import("./draw.js").Change} change */
    draw(change) {
      if (!change.document) return;
      const { findings, limitations } = page.study.document;
      fill(body, list("Results", findings), list("Limitations", limitations));
    },
  };
}

function list(heading, sentences) {
  const shown = sentences.length ? sentences : ["Nothing yet."];
  return element(
    "div",
    {},
    element("h3", {}, heading),
    element("ul", { class: "findings" }, ...shown.map((sentence) => element("li", {}, sentence))),
  );
}
