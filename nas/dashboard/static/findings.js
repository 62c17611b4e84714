// What was found, in sentences that quote figures, and what is unproven.

import { element, fill, section } from "./dom.js";

/** @param {import("./draw.js").Page} page */
export function findingsSection(page) {
  const body = element("div", { class: "columns" });

  return {
    element: section("findings", "Findings", "What the trials say, and what they do not.", body),
    /** @param {import("./draw.js").Change} change */
    draw(change) {
      if (!change.document) return;
      const { findings, unproven } = page.study.document;
      fill(body, sentences("Found", findings), sentences("Unproven", unproven));
    },
  };
}

function sentences(heading, some) {
  const said = some.length ? some : ["Nothing yet."];
  return element(
    "div",
    {},
    element("h3", {}, heading),
    element("ul", { class: "findings" }, ...said.map((sentence) => element("li", {}, sentence))),
  );
}
