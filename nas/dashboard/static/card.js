// A summary of a trial, shown at the pointer or in a panel: scores, layout and shape.

import { element } from "./dom.js";
import { axisTitle, PROVISIONAL_LEGEND, scoreText } from "./format.js";
import { shapeFacts, strip } from "./layout.js";
import { axisValue, title } from "./study.js";

export const EXPECTED_LOSS = "expected loss (bits/byte)";

const ROLES = {
  front: "on the front",
  dominated: "dominated",
  infeasible: "infeasible",
  stopped: "stopped early",
  failed: "failed",
  running: "running",
  interrupted: "interrupted",
  reference: "reference model",
  duplicate: "duplicate",
};

/** @param {import("./study.js").Row} row @returns {string} */
export function roleName(row) {
  if (row.duplicate_of !== null) return `duplicate of trial ${row.duplicate_of}`;
  return row.provisionalMember ? "provisionally on the front" : ROLES[row.role];
}

/**
 * @param {import("./study.js").Row} row
 * @returns {string | null} why a trial was kept that may exceed a limit; null if none may be
 */
export function unsureText({ unsure_limits: names }) {
  if (names.length === 0) return null;
  return `May exceed the limit of ${names.join(" and ")}; kept, because that is not certain.`;
}

/**
 * @param {any} why the document that says which choices matter; null until it is loaded
 * @param {import("./study.js").Row} row
 * @returns {string | null} the loss that the layout of a trial suggests; null if it is not known
 */
export function expectedLossText(why, row) {
  const place = why?.expected_losses?.trial.indexOf(row.id) ?? -1;
  if (place < 0) return null;
  const { text, unexpected } = why.expected_losses;
  return `${text[place]}${unexpected[place] ? ", unexpected" : ""}`;
}

/**
 * @param {import("./study.js").Study} study
 * @param {import("./study.js").Row} row
 * @param {any} why the document that says which choices matter; null until it is loaded
 */
export function card(study, row, why) {
  // The facts of the shape include the number of parameters.
  const scores = study.axes
    .filter((axis) => (axis.objective || axis.max !== null) && axis.name !== "parameters")
    .filter((axis) => axisValue(row, axis.name) !== null)
    .map((axis) => [axisTitle(axis), scoreText(row.scores[axis.name] ?? estimate(row))]);
  const expected = expectedLossText(why, row);
  if (expected !== null) scores.push([EXPECTED_LOSS, expected]);
  return element(
    "div",
    { class: "card" },
    element("p", { class: "card-title" }, element("b", {}, title(row)), ` ${roleName(row)}`),
    strip(study.mixers, row.architecture.layout),
    facts(scores),
    element("div", { class: "shape" }, facts(shapeFacts(row.architecture).filter(([, value]) => value !== "–"))),
    row.reason === null ? null : element("p", { class: "quiet" }, row.reason),
    unsureText(row) === null ? null : element("p", { class: "quiet" }, unsureText(row)),
    row.provisional ? element("p", { class: "quiet" }, PROVISIONAL_LEGEND) : null,
  );
}

/** @param {[string, string][]} pairs names and values */
export function facts(pairs) {
  const cells = pairs.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value)),
  );
  return element("dl", { class: "facts" }, ...cells);
}

/** A card that follows the pointer over a chart. */
export class HoverCard {
  constructor() {
    this.element = element("div", { class: "hover", hidden: true, "aria-hidden": "true" });
  }

  /** @param {Node} content @param {number} x @param {number} y position in the container, in pixels */
  show(content, x, y) {
    this.element.replaceChildren(content);
    this.element.hidden = false;
    const { clientWidth, clientHeight } = this.element.parentElement;
    const { offsetWidth, offsetHeight } = this.element;
    const left = x + 16 + offsetWidth > clientWidth ? x - 16 - offsetWidth : x + 16;
    const fitsBelow = y + 12 + offsetHeight <= clientHeight;
    const top = fitsBelow ? y + 12 : y - 12 - offsetHeight;
    this.element.style.left = `${Math.max(0, left)}px`;
    this.element.style.top = `${Math.max(0, top)}px`;
  }

  hide() {
    this.element.hidden = true;
  }
}

function estimate(row) {
  return { value: row.estimated_loss, low: null, high: null, half_width: null, provisional: false };
}
