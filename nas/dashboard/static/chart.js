// Charts on a canvas: labelled, resized with the page, in its font and colours.

import { colour } from "./colours.js";
import { element } from "./dom.js";
import { figure } from "./format.js";

/**
 * The size of a point among thousands, in pixels. Below 4 pixels, ECharts fills each point as a
 * square; from 4 pixels on it draws all points as one path, whose overlaps take minutes to fill.
 */
export const SMALL_POINT = 3.5;

const MARGIN = 0.05; // on either side of the values, as a fraction of their extent
const MAX_TICKS = 8;

export class Chart {
  /** @param {string} label what the chart shows, for screen readers */
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
   * @param {any} option an ECharts option; replaces what was drawn before
   * @param {string | null} [message] a text to show instead, if there is nothing to draw
   */
  draw(option, message = null) {
    if (this.drawing === null) {
      this.drawing = globalThis.echarts.init(this.canvas, null, { renderer: "canvas" });
      for (const [event, listener] of this.listeners) this.drawing.on(event, listener);
    }
    const textStyle = { color: colour("quiet"), fontSize: 14, fontWeight: "normal" };
    const title = { text: message, left: "center", top: "middle", textStyle };
    this.drawing.setOption(
      {
        animation: false,
        textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: colour("ink") },
        ...(message === null ? option : { title }),
      },
      { notMerge: true },
    );
  }
}

/**
 * Returns a numeric axis.
 * @param {string} name
 * @param {Record<string, unknown>} [more] further ECharts options
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
 * Returns whether values span more than a decade, and so need a logarithmic axis, as in the terminal.
 * @param {number[]} values
 */
export function spansDecades(values) {
  const [low, high] = extent(values);
  return low > 0 && high > 10 * low;
}

/**
 * Returns an axis for scores, which are never negative, with a margin around the values.
 * @param {string} name
 * @param {number[]} values everything that is drawn along the axis
 * @param {boolean} log whether the axis is logarithmic
 * @param {Record<string, unknown>} [more] further ECharts options
 */
export function scoreAxis(name, values, log, more = {}) {
  const axisLabel = { color: colour("quiet"), fontSize: 11, hideOverlap: true, formatter: figure };
  const [low, high] = extent(log ? values.filter((value) => value > 0) : values);
  if (!(low <= high)) return valueAxis(name, { axisLabel, ...more });
  if (!log) {
    // Without a gap, the best and the worst point would lie on the frame.
    const floor = low >= 0 && low < MARGIN * (high - low) ? { min: 0 } : {};
    const boundaryGap = [`${100 * MARGIN}%`, `${100 * MARGIN}%`];
    return valueAxis(name, { axisLabel, boundaryGap, ...floor, ...more });
  }
  const factor = Math.max((high / low) ** MARGIN, 1.02);
  const [min, max] = [low / factor, high * factor];
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

/** Returns 1, 2, 5, 10, ...; 1, 10, ... if those are too many; even steps if they are too few. */
function logTicks(min, max) {
  const powers = [];
  for (let power = Math.floor(Math.log10(min)); power <= Math.log10(max); power += 1) powers.push(power);
  const ticks = (factors) =>
    powers.flatMap((power) => factors.map((factor) => Number(`${factor}e${power}`)))
      .filter((value) => value >= min && value <= max);
  const fine = ticks([1, 2, 5]);
  if (fine.length > MAX_TICKS) return ticks([1]);
  return fine.length > 2 ? fine : evenTicks(min, max);
}

/** @returns {number[]} evenly spaced round numbers */
function evenTicks(min, max) {
  const power = 10 ** Math.floor(Math.log10((max - min) / 5));
  const step = power * [1, 2, 5, 10].find((factor) => 5 * factor * power >= max - min);
  const count = Math.floor(max / step) - Math.ceil(min / step) + 1;
  return Array.from({ length: count }, (_, index) => Number(((Math.ceil(min / step) + index) * step).toPrecision(12)));
}

function extent(values) {
  return values.reduce(
    ([low, high], value) => [Math.min(low, value), Math.max(high, value)],
    [Infinity, -Infinity],
  );
}

/**
 * Returns a series of error bars, drawn as one line with gaps.
 * @param {[number, number][][]} bars the two ends of each bar
 * @param {Record<string, unknown>} [more] further ECharts options
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

/** Returns the tooltip of a point; it is drawn on the canvas, so its text is never read as markup. */
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
