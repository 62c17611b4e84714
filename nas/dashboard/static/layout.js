// Architectures for people: a layout as a strip of coloured layers, and its facts.

import { element } from "./dom.js";
import { counted, figure, percent } from "./format.js";

/** @typedef {{letter: string, name: string, colour: string, attention: boolean}} Mixer */

/**
 * Shows one coloured letter per layer, first layer first.
 * @param {Mixer[]} mixers
 * @param {string} layout
 * @param {(index: number) => boolean} [differs] which layers to mark
 */
export function strip(mixers, layout, differs = () => false) {
  const cells = [...layout].map((letter, index) => {
    const cell = layerMark(letter, mixers.find((mixer) => mixer.letter === letter));
    if (differs(index)) cell.classList.add("differs");
    return cell;
  });
  const label = `${counted(cells.length, "layer")}: ${layoutText(mixers, layout)}`;
  return element("span", { class: "strip", role: "img", "aria-label": label }, ...cells);
}

/** @param {Mixer[]} mixers @param {string} layout @returns {string} such as `short convolution 10, attention 6` */
function layoutText(mixers, layout) {
  return mixers
    .map(({ letter, name }) => [name, layout.split(letter).length - 1])
    .filter(([, count]) => count)
    .map(([name, count]) => `${name} ${count}`)
    .join(", ");
}

/** Explains the letters and colours. @param {Mixer[]} mixers */
export function legend(mixers) {
  const parts = mixers.map((mixer) =>
    element("span", {}, layerMark(mixer.letter, mixer), ` ${mixer.name}`),
  );
  return element("p", { class: "legend" }, ...parts);
}

/** Sets the custom property from which the style sheet takes the colour of a mixer. */
export function setMixerColour(target, mixer) {
  target.style.setProperty("--mixer", mixer.colour);
}

/**
 * Lists the facts of an architecture.
 * @param {Record<string, any>} shape
 * @returns {[string, string][]} names and values
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

/** @param {string} letter @param {Mixer | undefined} mixer undefined for a letter of a broken database */
function layerMark(letter, mixer) {
  const mark = element("span", { class: "layer" }, letter);
  if (mixer !== undefined) setMixerColour(mark, mixer);
  return mark;
}
