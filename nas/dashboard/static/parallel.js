// Parallel coordinates: the shapes and scores of all complete trials.

import { Chart } from "./chart.js";
import { colour } from "./colours.js";
import { button, element, section } from "./dom.js";
import { figure } from "./format.js";
import { axisValue } from "./study.js";

/** @type {(study: import("./study.js").Study) => [string, (row: import("./study.js").Row) => number | null][]} */
const shapeDimensions = (study) => [
  ["depth", (row) => row.architecture.depth],
  ["attention layers", (row) => study.attentionLayers(row)],
  ["width", (row) => row.architecture.width],
  ["feed-forward", (row) => row.architecture.feed_forward],
  ["vocabulary", (row) => row.architecture.vocab_size],
  ["embedding %", (row) => 100 * row.architecture.embedding_share],
];

/** @param {import("./draw.js").Page} page */
export function parallelSection(page) {
  const chart = new Chart("", { tall: true });
  let drawnNames = [];

  chart.on("axisareaselected", () => {
    const [axes] = chart.drawing.getOption().parallelAxis ? [chart.drawing.getModel()] : [];
    const selected = new Set();
    axes?.eachSeries((series) => {
      for (const index of series.getRawIndicesByActiveState("active")) {
        selected.add(drawnNames[series.seriesIndex][index]);
      }
    });
    page.view.select(selected);
  });

  function draw() {
    const { study, view } = page;
    const { selection } = view.state;
    const scores = study.axes.filter((axis) => axis.objective);
    const dimensions = [
      ...shapeDimensions(study),
      ...scores.map((axis) => [axis.name, (row) => axisValue(row, axis.name)]),
    ];
    const rows = study.complete;
    const selected = rows.filter((row) => selection.has(row.name));
    const groups = [
      [rows.filter((row) => row.role === "dominated" && !selection.has(row.name)), "dominated", 1],
      [rows.filter((row) => row.role === "front" && !selection.has(row.name)), "front", 1.6],
      [selected, "over", 2.2],
    ];
    drawnNames = groups.map(([group]) => group.map((row) => row.name));
    const faded = selected.length ? 0.35 : 1;
    const dense = rows.length > 500 ? 0.12 : 0.45;
    chart.label =
      `Parallel coordinates of ${rows.length} complete trials over ` +
      `${dimensions.map(([name]) => name).join(", ")}. The table of trials contains the same values.`;
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
      "Parallel coordinates",
      "Each line is a complete trial; the front is blue. Drag along an axis to select the lines that cross it there.",
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

/** Widens an axis that has one value only, which would otherwise lie at its edge. */
function extent(rows, value) {
  const values = rows.map(value).filter((each) => each !== null);
  const [low, high] = values.reduce(
    ([least, most], each) => [Math.min(least, each), Math.max(most, each)],
    [Infinity, -Infinity],
  );
  return low < high ? {} : { min: low - 1, max: low + 1 };
}
