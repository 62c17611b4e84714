// Reliability: the precision of the measured ratios, disturbances, drift of the machine, and the confirmation.

import { Chart, SMALL_POINT, tooltip, valueAxis } from "./chart.js";
import { colour, SERIES, SERIES_SHAPES } from "./colours.js";
import { drawConfirmation } from "./confirmation.js";
import { choice, element, fill, section } from "./dom.js";
import { clock, counted, duration, figure, percent } from "./format.js";
import { title } from "./study.js";

const DISTURBED = 0.05; // as a fraction of the measuring cores' time

/** @param {import("./draw.js").Page} page */
export function reliabilitySection(page) {
  const widths = new Chart("");
  const drift = new Chart("");
  const summary = element("p", { class: "quiet" });
  const machines = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Machines" });
  const confirmation = element("div");
  const scoreChoice = element("span");
  const driftCaption = element("span");
  let score = null;

  function drawWidths() {
    const { study } = page;
    const timed = study.axes.filter((axis) => axis.timed).map((axis) => axis.name);
    if (score === null || !timed.includes(score)) score = timed[0] ?? null;
    fill(scoreChoice, timed.length > 1 ? choice("of", timed.map((name) => [name, name]), score, (value) => {
      score = value;
      drawWidths();
    }) : ` of ${score ?? "times"}`);
    const measured = (row) => row.kind === "candidate" && row.scores[score]?.half_width != null;
    const rows = score === null ? [] : study.rows.filter(measured);
    const points = rows.map((row) => {
      const { half_width: width } = row.scores[score];
      return [row.number, 100 * width, row.disturbed, title(row)];
    });
    const requested = 100 * (study.document.spec.device?.precision ?? 0.05);
    widths.label =
      `Half the width of the 95 % confidence interval of the ratio to the reference model, for ` +
      `${counted(points.length, "timing")}, in % of the ratio: ` +
      `${points.filter(([, width]) => width > requested).length} exceed the requested ±${requested} %.`;
    const option = {
      grid: { left: 52, right: 14, top: 14, bottom: 44 },
      tooltip: tooltip(({ data }) =>
        data ? `${data[3]}: ±${figure(data[1])} %\nload from other processes: ${percent(data[2])} of the cores' time` : ""),
      xAxis: valueAxis("trial", { scale: false }),
      yAxis: valueAxis("± % of the ratio", { nameGap: 38, min: 0, scale: false }),
      series: [
        {
          type: "scatter",
          symbolSize: points.length > 500 ? SMALL_POINT : 7,
          large: points.length > 500,
          largeThreshold: 500,
          data: points,
          itemStyle: { color: colour("front"), opacity: points.length > 500 ? 0.5 : 0.85 },
          markLine: {
            symbol: "none",
            silent: true,
            lineStyle: { color: colour("over"), type: "dashed" },
            label: { formatter: "requested", color: colour("quiet"), position: "insideEndTop" },
            data: [{ yAxis: requested }],
          },
        },
      ],
    };
    widths.draw(option, points.length ? null : "No timings yet");
    const asked = study.axes.filter((axis) => axis.timed && (axis.objective || axis.max !== null));
    const timedRows = study.rows.filter((row) => asked.some(({ name }) => row.scores[name]));
    const settled = timedRows.filter((row) =>
      asked.every(({ name }) =>
        row.scores[name] === undefined || (row.scores[name].half_width ?? Infinity) <= requested / 100));
    const provisional = timedRows.filter((row) => row.provisional && row.state === "complete");
    const disturbed = study.rows.filter((row) => (row.disturbed ?? 0) > DISTURBED);
    const waited = study.rows.reduce((sum, row) => sum + (row.waited ?? 0), 0);
    summary.textContent = timedRows.length
      ? `${figure(settled.length)} of ${counted(timedRows.length, "timed trial")} reached the requested precision ` +
        `of ±${figure(requested)} %${provisional.length ? `; ${counted(provisional.length, "trial")} will be measured again` : ""}. In ${counted(disturbed.length, "trial")}, other processes used more than ` +
        `${100 * DISTURBED} % of the measuring cores' time. ` +
        (waited
          ? `In total, timings waited ${duration(waited)} for a quiet machine.`
          : "No timing waited for a quiet machine.")
      : "No timings yet.";
  }

  function drawDrift() {
    const { drift: workloads, reference } = page.study.document;
    const first = Math.min(...workloads.flatMap((each) => each.at.slice(0, 1)));
    driftCaption.textContent = ` ${reference}, which is timed interleaved with every trial`;
    drift.label = `Time of the reference model ${reference} over the study, in % of its median.`;
    const option = {
      grid: { left: 52, right: 14, top: 30, bottom: 44 },
      legend: { top: 0, textStyle: { color: colour("quiet"), fontSize: 11 }, itemHeight: 8, itemWidth: 9 },
      tooltip: tooltip(({ seriesName, data }) => `${seriesName}: ${figure(data[2])} ms\n${clock(data[3])}`),
      xAxis: valueAxis("hours since the first timing", { min: 0, scale: false }),
      yAxis: valueAxis("% of its median", {
        nameGap: 38,
        // The axis spans at least ±1 %, because a smaller drift does not matter.
        min: ({ min }) => Math.floor(Math.min(min, 99)),
        max: ({ max }) => Math.ceil(Math.max(max, 101)),
      }),
      series: workloads.map(({ workload, at, ms }, index) => {
        const median = [...ms].sort((a, b) => a - b)[Math.floor(ms.length / 2)];
        return {
          type: "scatter",
          name: workload,
          symbol: SERIES_SHAPES[index % SERIES_SHAPES.length],
          symbolSize: ms.length > 500 ? SMALL_POINT : 6,
          large: ms.length > 500,
          largeThreshold: 500,
          itemStyle: { color: colour(SERIES[index % SERIES.length]), opacity: 0.7 },
          data: at.map((moment, step) => [(moment - first) / 3600, (100 * ms[step]) / median, ms[step], moment]),
        };
      }),
    };
    drift.draw(option, workloads.length ? null : "No timings yet");
  }

  function drawMachines() {
    const { environments } = page.study.document;
    if (environments.length === 0) {
      fill(machines, element("p", { class: "quiet" }, "No machine has been used for timing yet."));
      return;
    }
    const heads = ["host", "processor", "cores", "memory", "system", "runtime", "governor", "trials"];
    const lines = environments.map((each) => [
      each.host,
      each.cpu,
      each.cores,
      `${figure(each.memory_bytes / 1e9)} GB`,
      each.system,
      each.runtime,
      each.governor ?? "–",
      each.trials.toLocaleString("en-US"),
    ]);
    fill(
      machines,
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
        element("tbody", {}, ...lines.map((line) => element("tr", {}, ...line.map((cell) => element("td", {}, cell))))),
      ),
    );
  }

  return {
    element: section(
      "reliability",
      "Reliability",
      "The precision of the timings, the stability of the machine, and the confirmation by longer training.",
      summary,
      element(
        "div",
        { class: "columns" },
        element("figure", {}, element("figcaption", {}, element("b", {}, "Half the width of the 95 % confidence interval of the ratio"), scoreChoice), widths.element),
        element("figure", {}, element("figcaption", {}, element("b", {}, "Drift of the reference model"), driftCaption), drift.element),
      ),
      machines,
      confirmation,
    ),
    /** @param {import("./draw.js").Change} change */
    draw(change) {
      if (!change.document && !change.theme) return;
      drawWidths();
      drawDrift();
      drawMachines();
      drawConfirmation(confirmation, page);
    },
  };
}
