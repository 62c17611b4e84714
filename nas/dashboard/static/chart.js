// A chart on a canvas with a name, a size that follows the page, and the page's letters and lines.

import { colour } from "./colours.js";
import { element } from "./dom.js";

/**
 * The size of a point among thousands. ECharts fills each as a square only below 4 pixels; from
 * there on all are one path, whose overlaps take a browser minutes to fill.
 */
export const SPECK = 3.5;

export class Chart {
  /** @param {string} label says to those who do not see it what it shows, and where to read it */
  constructor(label, { tall = false } = {}) {
    this.canvas = element("div", { class: tall ? "canvas tall" : "canvas", role: "img" });
    this.canvas.setAttribute("aria-label", label);
    this.element = element("div", { class: "chart" }, this.canvas);
    /** @type {[string, (event: any) => void][]} */
    this.listeners = [];
    this.drawing = null;
    new ResizeObserver(() => this.drawing?.resize()).observe(this.canvas);
  }

  /** @param {string} event @param {(event: any) => void} listener */
  on(event, listener) {
    this.listeners.push([event, listener]);
  }

  /** @param {string} label */
  set label(label) {
    this.canvas.setAttribute("aria-label", label);
  }

  /**
   * @param {any} option of ECharts; replaces what was drawn before
   * @param {string | null} [nothing] said in place of a picture, where there is nothing to draw
   */
  draw(option, nothing = null) {
    if (this.drawing === null) {
      this.drawing = globalThis.echarts.init(this.canvas, null, { renderer: "canvas" });
      for (const [event, listener] of this.listeners) this.drawing.on(event, listener);
    }
    const textStyle = { color: colour("quiet"), fontSize: 14, fontWeight: "normal" };
    const title = { text: nothing, left: "center", top: "middle", textStyle };
    this.drawing.setOption(
      {
        animation: false,
        textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: colour("ink") },
        ...(nothing === null ? option : { title }),
      },
      { notMerge: true },
    );
  }
}

/**
 * An axis with numbers.
 * @param {string} name
 * @param {Record<string, unknown>} [more]
 */
export function valueAxis(name, more = {}) {
  return {
    type: "value",
    scale: true,
    name,
    nameLocation: "middle",
    nameGap: 28,
    nameTextStyle: { color: colour("quiet"), fontSize: 12 },
    axisLine: { show: true, lineStyle: { color: colour("line") } },
    axisTick: { lineStyle: { color: colour("line") } },
    axisLabel: { color: colour("quiet"), fontSize: 11, hideOverlap: true },
    splitLine: { lineStyle: { color: colour("faint") } },
    splitNumber: 5,
    ...more,
  };
}

/**
 * Error bars as one line that is broken between them.
 * @param {[number, number][][]} bars two ends each
 * @param {Record<string, unknown>} [more]
 */
export function errorBars(bars, more = {}) {
  return {
    type: "line",
    data: bars.flatMap(([from, to]) => [from, to, [null, null]]),
    connectNulls: false,
    showSymbol: false,
    silent: true,
    lineStyle: { color: colour("quiet"), width: 1.2, opacity: 0.8 },
    z: 1,
    ...more,
  };
}

/** What small charts show of the point under the pointer; drawn on the canvas, never as markup. */
export function tooltip(/** @type {(params: any) => string} */ formatter) {
  return {
    trigger: "item",
    renderMode: "richText",
    confine: true,
    formatter,
    backgroundColor: colour("card"),
    borderColor: colour("line"),
    textStyle: { color: colour("ink"), fontSize: 12 },
  };
}
