// An architecture as people see it: a strip of coloured layers, and its facts in a row.

import { element } from "./dom.js";
import { counted, figure, percent } from "./format.js";

/** @type {Record<string, {name: string, kind: string}>} as in the terminal */
export const LETTERS = {
  c: { name: "short convolution", kind: "convolution" },
  a: { name: "attention", kind: "attention" },
  s: { name: "sliding-window attention", kind: "window" },
  l: { name: "gated linear attention", kind: "linear" },
  "-": { name: "no mixer", kind: "none" },
};

/**
 * One coloured letter a layer, from the first.
 * @param {string} layout
 * @param {(index: number) => boolean} [differs] marks layers
 */
export function strip(layout, differs = () => false) {
  const cells = [...layout].map((letter, index) =>
    element(
      "span",
      { class: `layer ${LETTERS[letter]?.kind ?? "none"}${differs(index) ? " differs" : ""}` },
      letter,
    ),
  );
  const label = `${counted(cells.length, "layer")}: ${inWords(layout)}`;
  return element("span", { class: "strip", role: "img", "aria-label": label }, ...cells);
}

/** @param {string} layout @returns {string} such as `short convolution 10, attention 6` */
export function inWords(layout) {
  return Object.entries(LETTERS)
    .map(([letter, { name }]) => [name, layout.split(letter).length - 1])
    .filter(([, count]) => count)
    .map(([name, count]) => `${name} ${count}`)
    .join(", ");
}

/** Which colour is which. */
export function legend() {
  const parts = Object.entries(LETTERS).map(([letter, { name, kind }]) =>
    element("span", {}, element("span", { class: `layer ${kind}` }, letter), ` ${name}`),
  );
  return element("p", { class: "legend" }, ...parts);
}

/**
 * What an architecture is, fact by fact.
 * @param {Record<string, any>} shape
 * @returns {[string, string][]}
 */
export function shapeFacts(shape) {
  const heads = shape.heads === null ? "–" : `${shape.heads} × ${shape.head_dim}`;
  return [
    ["parameters", figure(shape.parameters)],
    ["depth", String(shape.depth)],
    ["width", figure(shape.width)],
    ["feed-forward", figure(shape.feed_forward)],
    ["heads", heads],
    ["key/value heads", figure(shape.kv_heads)],
    ["kernel", figure(shape.kernel)],
    ["window", figure(shape.window)],
    ["vocabulary", figure(shape.vocab_size)],
    ["embedding width", figure(shape.embedding_width)],
    ["embedding share", percent(shape.embedding_share)],
  ];
}
