// The colours of the current theme for drawing on a canvas, and the marks of trials.

import { element } from "./dom.js";

/**
 * How trials are drawn, by role: each role has its own shape and colour.
 * @type {Record<string, {label: string, colour: string, shape: string, size: number}>}
 */
export const MARKS = {
  infeasible: { label: "infeasible", colour: "over", shape: "path://M0 0L8 8M8 0L0 8", size: 7 },
  stopped: { label: "stopped early", colour: "stopped", shape: "path://M0 0L8 0L4 7Z", size: 7 },
  dominated: { label: "dominated", colour: "dominated", shape: "circle", size: 6 },
  reference: { label: "reference model", colour: "ink", shape: "diamond", size: 11 },
  front: { label: "front", colour: "front", shape: "circle", size: 10 },
};

/** How trials with a provisional score are drawn: with the shape and colour of their role, hollow. */
export const HOLLOW = { label: "provisional time (hollow)", width: 2 };

/** The colours of successive studies or curves: Okabe and Ito's palette without the yellow. */
export const SERIES = ["front", "over", "good", "stopped", "orange", "sky"];
export const SERIES_SHAPES = ["circle", "triangle", "rect", "diamond", "pin", "roundRect"];

/** @param {string} name a custom property of style.css, without the dashes */
export function colour(name) {
  if (!resolved.has(name)) {
    probe ??= document.body.appendChild(element("span", { hidden: true }));
    probe.style.color = `var(--${name})`;
    resolved.set(name, getComputedStyle(probe).color);
  }
  return resolved.get(name);
}

/** @param {() => void} changed is called when the theme changes */
export function watchTheme(changed) {
  const reset = () => {
    resolved.clear();
    changed();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", reset);
  const watched = { attributes: true, attributeFilter: ["data-theme"] };
  new MutationObserver(reset).observe(document.documentElement, watched);
}

/** Makes the button that switches to the next theme. */
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
      // Without storage, the theme applies to this visit only.
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
