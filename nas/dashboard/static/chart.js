// A chart on a canvas with a name, a size that follows the page, and the page's letters and lines.

import { colour } from "./colours.js";
import { element } from "./dom.js";
import { figure } from "./format.js";

/**
 * The size of a point among thousands. ECharts fills each as a square only below 4 pixels; from
 * there on all are one path, whose overlaps take a browser minutes to fill.
 */
export const SPECK = 3.5;

const MARGIN = 0.05; // of an axis, on either side of its values
const MOST_TICKS = 8;

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
 * Whether values are told apart better on a logarithmic axis: the terminal's rule, a decade or more.
 * @param {number[]} values
 */
export function spansDecades(values) {
  const [low, high] = extent(values);
  return low > 0 && high > 10 * low;
}

/**
 * An axis of scores, which are never negative, with some room around its values.
 * @param {string} name
 * @param {number[]} values all that is drawn along it
 * @param {boolean} log
 * @param {Record<string, unknown>} [more]
 */
export function scoreAxis(name, values, log, more = {}) {
  const axisLabel = { color: colour("quiet"), fontSize: 11, hideOverlap: true, formatter: figure };
  const [low, high] = extent(log ? values.filter((value) => value > 0) : values);
  if (!(low <= high)) return valueAxis(name, { axisLabel, ...more });
  if (!log) {
    // Else the best and the worst stand on the frame.
    const floor = low >= 0 && low < MARGIN * (high - low) ? { min: 0 } : {};
    const boundaryGap = [`${100 * MARGIN}%`, `${100 * MARGIN}%`];
    return valueAxis(name, { axisLabel, boundaryGap, ...floor, ...more });
  }
  const room = Math.max((high / low) ** MARGIN, 1.02);
  const [min, max] = [low / room, high * room];
  const customValues = logTicks(min, max);
  return valueAxis(name, {
    type: "log",
    min,
    max,
    axisLabel: { ...axisLabel, customValues },
    axisTick: { lineStyle: { color: colour("line") }, customValues },
    ...more,
  });
}

/** 1, 2, 5, 10, ... within the ends; 1, 10, ... where those are many, even steps where few. */
function logTicks(min, max) {
  const powers = [];
  for (let power = Math.floor(Math.log10(min)); power <= Math.log10(max); power += 1) powers.push(power);
  const within = (factors) =>
    powers.flatMap((power) => factors.map((factor) => Number(`${factor}e${power}`)))
      .filter((value) => value >= min && value <= max);
  const fine = within([1, 2, 5]);
  if (fine.length > MOST_TICKS) return within([1]);
  return fine.length > 2 ? fine : evenTicks(min, max);
}

/** @returns {number[]} round numbers */
function evenTicks(min, max) {
  const power = 10 ** Math.floor(Math.log10((max - min) / 5));
  const step = power * [1, 2, 5, 10].find((factor) => 5 * factor * power >= max - min);
  const count = Math.floor(max / step) - Math.ceil(min / step) + 1;
  return Array.from({ length: count }, (_, index) => Number(((Math.ceil(min / step) + index) * step).toPrecision(12)));
}

function extent(values) {
  return values.reduce(
    ([least, most], value) => [Math.min(least, value), Math.max(most, value)],
    [Infinity, -Infinity],
  );
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
