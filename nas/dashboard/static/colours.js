// The page's colours for what is drawn on a canvas, resolved for the theme of the moment.

import { element } from "./dom.js";

/**
 * How a role of a trial is drawn: by shape as well as by colour.
 * @type {Record<string, {label: string, colour: string, shape: string, size: number}>}
 */
export const MARKS = {
  infeasible: { label: "over budget", colour: "over", shape: "path://M0 0L8 8M8 0L0 8", size: 7 },
  stopped: { label: "stopped early", colour: "stopped", shape: "path://M0 0L8 0L4 7Z", size: 7 },
  dominated: { label: "dominated", colour: "dominated", shape: "circle", size: 6 },
  reference: { label: "published model", colour: "ink", shape: "diamond", size: 11 },
  front: { label: "front", colour: "front", shape: "circle", size: 10 },
};

/** One colour after the other for several studies; Okabe and Ito's, without the yellow. */
export const SERIES = ["front", "over", "good", "stopped", "attention", "convolution"];
export const SERIES_SHAPES = ["circle", "triangle", "rect", "diamond", "pin", "roundRect"];

/** @param {string} name of a custom property of style.css, without the dashes */
export function colour(name) {
  if (!resolved.has(name)) {
    probe ??= document.body.appendChild(element("span", { hidden: true }));
    probe.style.color = `var(--${name})`;
    resolved.set(name, getComputedStyle(probe).color);
  }
  return resolved.get(name);
}

/** @param {() => void} changed called when the theme is another */
export function watchTheme(changed) {
  const forget = () => {
    resolved.clear();
    changed();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", forget);
  const watched = { attributes: true, attributeFilter: ["data-theme"] };
  new MutationObserver(forget).observe(document.documentElement, watched);
}

/** The button that goes from one theme to the next. */
export function themeButton() {
  const themes = ["auto", "light", "dark"];
  const made = element("button", { type: "button", class: "plain" });
  const root = document.documentElement;
  const show = () => {
    made.textContent = `Theme: ${root.dataset.theme ?? "auto"}`;
  };
  made.addEventListener("click", () => {
    const next = themes[(themes.indexOf(root.dataset.theme ?? "auto") + 1) % themes.length];
    root.dataset.theme = next;
    try {
      localStorage.setItem("nas-theme", next);
    } catch {
      // It holds for this visit.
    }
    show();
  });
  show();
  return made;
}

/** @type {Map<string, string>} */
const resolved = new Map();
/** @type {HTMLElement | undefined} */
let probe;
