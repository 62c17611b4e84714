// Parallel coordinates: what good trials have in common, from their shape to their scores.

import { Chart } from "./chart.js";
import { colour } from "./colours.js";
import { button, element, section } from "./dom.js";
import { figure } from "./format.js";
import { attentionLayers, place } from "./study.js";

/** @type {[string, (row: import("./study.js").Row) => number | null][]} */
const SHAPE = [
  ["depth", (row) => row.architecture.depth],
  ["attention layers", attentionLayers],
  ["width", (row) => row.architecture.width],
  ["feed-forward", (row) => row.architecture.feed_forward],
  ["vocabulary", (row) => row.architecture.vocab_size],
  ["embedding %", (row) => 100 * row.architecture.embedding_share],
];

/** @param {import("./draw.js").Page} page */
export function parallelSection(page) {
  const chart = new Chart("", { tall: true });
  let drawn = [];

  chart.on("axisareaselected", () => {
    const [axes] = chart.drawing.getOption().parallelAxis ? [chart.drawing.getModel()] : [];
    const chosen = new Set();
    axes?.eachSeries((series) => {
      for (const index of series.getRawIndicesByActiveState("active")) {
        chosen.add(drawn[series.seriesIndex][index]);
      }
    });
    page.view.select(chosen);
  });

  function draw() {
    const { study, view } = page;
    const { selection } = view.look;
    const scores = study.axes.filter((axis) => axis.objective);
    const dimensions = [
      ...SHAPE,
      ...scores.map((axis) => [axis.name, (row) => place(row, axis.name)]),
    ];
    const rows = study.complete;
    const chosen = rows.filter((row) => selection.has(row.name));
    const groups = [
      [rows.filter((row) => row.role === "dominated" && !selection.has(row.name)), "dominated", 1],
      [rows.filter((row) => row.role === "front" && !selection.has(row.name)), "front", 1.6],
      [chosen, "over", 2.2],
    ];
    drawn = groups.map(([group]) => group.map((row) => row.name));
    const faded = chosen.length ? 0.35 : 1;
    const dense = rows.length > 500 ? 0.12 : 0.45;
    chart.label =
      `Parallel coordinates of ${rows.length} complete trials over ` +
      `${dimensions.map(([name]) => name).join(", ")}. The table of trials has the same figures.`;
    const option = {
      parallel: { left: 34, right: 40, top: 34, bottom: 24 },
      parallelAxis: dimensions.map(([name, value], dim) => ({
        dim,
        name,
        scale: true,
        ...extent(rows, value),
        nameTextStyle: { color: colour("ink"), fontSize: 11 },
        axisLine: { lineStyle: { color: colour("line") } },
        axisTick: { show: false },
        axisLabel: {
          color: colour("ink"),
          fontSize: 10,
          formatter: figure,
          hideOverlap: true,
          textBorderColor: colour("card"),
          textBorderWidth: 3,
        },
        areaSelectStyle: { width: 18, color: colour("over"), borderColor: colour("over"), opacity: 0.25 },
        realtime: false,
      })),
      series: groups.map(([group, name, width], index) => ({
        type: "parallel",
        silent: true,
        progressive: 0,
        lineStyle: {
          color: colour(name),
          width,
          opacity: index === 0 ? dense * faded : index === 1 ? 0.85 * faded : 0.9,
        },
        inactiveOpacity: 0.03,
        activeOpacity: 0.8,
        data: group.map((row) => dimensions.map(([, value]) => value(row) ?? "-")),
        z: index,
      })),
    };
    chart.draw(option, rows.length ? null : "No trial is complete yet");
  }

  return {
    element: section(
      "parallel",
      "From shape to scores",
      "One line a complete trial. Draw along an axis to select what runs through; the front is blue.",
      element("div", { class: "scroll sideways" }, chart.element),
      element(
        "div",
        { class: "controls" },
        button("Select the front", () =>
          page.view.select(page.study.withRole("front").map((row) => row.name))),
        button("Clear selection", () => page.view.select([])),
      ),
    ),
    /** @param {import("./draw.js").Change} change */
    draw(change) {
      if (change.document || change.selection || change.theme) draw();
    },
  };
}

/** An axis of one value would put its line at the edge. */
function extent(rows, value) {
  const values = rows.map(value).filter((each) => each !== null);
  const [least, most] = values.reduce(
    ([low, high], each) => [Math.min(low, each), Math.max(high, each)],
    [Infinity, -Infinity],
  );
  return least < most ? {} : { min: least - 1, max: least + 1 };
}
