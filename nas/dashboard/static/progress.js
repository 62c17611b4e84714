// Progress: the growth of the front, the learning curves, and the time spent.

import { Chart, tooltip, valueAxis } from "./chart.js";
import { colour, SERIES } from "./colours.js";
import { choice, element, fill, section } from "./dom.js";
import { duration, figure, percent } from "./format.js";
import { title } from "./study.js";

const MAX_CURVES = 40;
const STATES = {
  complete: "complete",
  stopped: "stopped early",
  infeasible: "infeasible",
  failed: "failed",
  running: "running",
  interrupted: "interrupted",
};

/** @param {import("./draw.js").Page} page */
export function progressSection(page) {
  const growth = new Chart("");
  const curves = new Chart("");
  const stages = element("div");
  const curvesCaption = element("span");
  let over = "ended";
  const overChoice = choice(
    "over",
    [
      ["ended", "candidates"],
      ["seconds", "time"],
    ],
    over,
    (value) => {
      over = value;
      drawGrowth();
    },
  );

  function drawGrowth() {
    const { hypervolume, counts } = page.study.document;
    const hours = over === "seconds";
    const steps = hypervolume[over].map((at, index) => [
      hours ? at / 3600 : at,
      hypervolume.volume[index],
    ]);
    const ended = counts.complete + counts.infeasible + counts.stopped + counts.failed;
    if (steps.length && !hours) steps.push([Math.max(ended, steps.at(-1)[0]), steps.at(-1)[1]]);
    const last = steps.at(-1);
    growth.label = last
      ? `Hypervolume after ${figure(last[0])} ${hours ? "hours" : "candidates"}: ${figure(last[1])}.`
      : "No hypervolume yet: no candidate is complete.";
    const option = {
      grid: { left: 62, right: 14, top: 12, bottom: 44 },
      tooltip: { ...tooltip(([step]) => (step ? `${figure(step.data[0])}: ${figure(step.data[1])}` : "")), trigger: "axis" },
      xAxis: valueAxis(hours ? "hours since the study began" : "candidates ended", { min: 0, scale: false }),
      yAxis: valueAxis("hypervolume", { nameGap: 46, axisLabel: { color: colour("quiet"), fontSize: 11, formatter: figure } }),
      series: [
        {
          type: "line",
          step: "end",
          symbol: steps.length === 1 ? "circle" : "none",
          data: steps,
          lineStyle: { color: colour("front"), width: 2 },
          itemStyle: { color: colour("front") },
          areaStyle: { color: colour("front"), opacity: 0.08 },
        },
      ],
    };
    growth.draw(option, steps.length ? null : "No hypervolume yet: it needs two different complete candidates");
  }

  function drawCurves() {
    const { study, view } = page;
    const selected = study.rows.filter((row) => view.state.selection.has(row.name) && row.curve);
    const rows = (selected.length ? selected : study.withRole("front").filter((row) => row.curve)).slice(0, MAX_CURVES);
    curvesCaption.textContent = selected.length ? " of the selected trials" : " of the front";
    curves.label = rows.length ? `Learning curves of ${rows.map(title).join(", ")}.` : "No learning curves yet.";
    const option = {
      grid: { left: 52, right: 58, top: 12, bottom: 44 },
      tooltip: tooltip(({ seriesName, data }) => `${seriesName}\n${figure(data[0])} tokens: ${figure(data[1])}`),
      xAxis: valueAxis("training tokens", { axisLabel: { color: colour("quiet"), fontSize: 11, formatter: figure, hideOverlap: true } }),
      yAxis: valueAxis("loss (bits/byte)", { nameGap: 38 }),
      series: rows.map((row, index) => ({
        type: "line",
        name: title(row),
        data: row.curve,
        symbolSize: 4,
        lineStyle: { color: colour(SERIES[index % SERIES.length]), width: 1.5, type: row.state === "stopped" ? "dashed" : "solid" },
        itemStyle: { color: colour(SERIES[index % SERIES.length]) },
        endLabel: { show: rows.length <= 8, formatter: row.name, color: colour("ink"), fontSize: 11 },
        labelLayout: { moveOverlap: "shiftY" },
      })),
    };
    curves.draw(option, rows.length ? null : "None of these trials has been trained yet");
  }

  function drawStages() {
    const spent = page.study.document.stages;
    const names = [...new Set(spent.map((each) => each.stage))];
    const seconds = (entries) => entries.reduce((sum, each) => sum + each.seconds, 0);
    const total = seconds(spent);
    if (total === 0) {
      fill(stages, element("p", { class: "quiet" }, "No stage has ended yet."));
      return;
    }
    const lines = names.map((name) => {
      const entries = spent.filter((each) => each.stage === name);
      const parts = Object.entries(STATES).map(([state, stateName]) => {
        const fraction = seconds(entries.filter((each) => each.state === state)) / total;
        if (fraction === 0) return null;
        const part = element("span", { class: `part ${state}`, title: `${stateName}: ${percent(fraction)}` });
        part.style.width = `${100 * fraction}%`;
        return part;
      });
      return element(
        "tr",
        {},
        element("th", { scope: "row" }, name),
        element("td", { class: "bars" }, element("span", { class: "track" }, ...parts)),
        element("td", { class: "number" }, duration(seconds(entries))),
        element("td", { class: "number" }, percent(seconds(entries) / total)),
      );
    });
    const legend = Object.entries(STATES)
      .map(([state, stateName]) => [state, stateName, seconds(spent.filter((each) => each.state === state))])
      .filter(([, , time]) => time > 0)
      .map(([state, stateName, time]) =>
        element("span", {}, element("i", { class: `part ${state}` }), ` ${stateName} ${percent(time / total)}`),
      );
    fill(
      stages,
      element("table", { class: "plain" }, element("tbody", {}, ...lines)),
      element("p", { class: "legend" }, ...legend),
      element("p", { class: "quiet" }, `${duration(total)} in total, summed over all processes.`),
    );
  }

  return {
    element: section(
      "progress",
      "Progress",
      "Whether more trials still improve the front, and where the time went.",
      element(
        "div",
        { class: "columns" },
        element("figure", {}, element("figcaption", {}, element("b", {}, "Hypervolume "), overChoice), growth.element),
        element("figure", {}, element("figcaption", {}, element("b", {}, "Learning curves"), curvesCaption), curves.element),
        element("figure", {}, element("figcaption", {}, element("b", {}, "Where the time went"), " by stage and state"), stages),
      ),
    ),
    /** @param {import("./draw.js").Change} change */
    draw(change) {
      if (change.document || change.theme) drawGrowth();
      if (change.document) drawStages();
      if (change.document || change.selection || change.theme) drawCurves();
    },
  };
}
