// Trust: how well each time is known, what disturbed it, and whether the machine stayed the same.

import { Chart, SPECK, tooltip, valueAxis } from "./chart.js";
import { colour, SERIES, SERIES_SHAPES } from "./colours.js";
import { drawConfirmation } from "./confirmation.js";
import { choice, element, fill, section } from "./dom.js";
import { clock, counted, duration, figure, percent } from "./format.js";
import { title } from "./study.js";

/** @param {import("./draw.js").Page} page */
export function trustSection(page) {
  const widths = new Chart("");
  const drift = new Chart("");
  const summary = element("p", { class: "quiet" });
  const machines = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Machines" });
  const confirmation = element("div");
  const pick = element("span");
  let score = null;

  function drawWidths() {
    const { study } = page;
    const timed = study.axes.filter((axis) => axis.timed).map((axis) => axis.name);
    if (score === null || !timed.includes(score)) score = timed[0] ?? null;
    fill(pick, timed.length > 1 ? choice("of", timed.map((name) => [name, name]), score, (value) => {
      score = value;
      drawWidths();
    }) : ` of ${score ?? "times"}`);
    const measured = (row) => row.kind === "candidate" && row.scores[score]?.low != null;
    const rows = score === null ? [] : study.rows.filter(measured);
    const points = rows.map((row) => {
      const { value, low, high } = row.scores[score];
      return [row.number, (50 * (high - low)) / value, row.disturbed, title(row)];
    });
    const wished = 100 * (study.document.spec.device?.precision ?? 0.02);
    widths.label =
      `Half the 95 % interval of ${counted(points.length, "timing")}, as a share: ` +
      `${points.filter(([, width]) => width > wished).length} are wider than the ${wished} % asked for.`;
    const option = {
      grid: { left: 52, right: 14, top: 14, bottom: 44 },
      tooltip: tooltip(({ data }) => data ? `${data[3]}: ±${figure(data[1])} %\nothers had ${percent(data[2])} of the cores` : ""),
      xAxis: valueAxis("trial", { scale: false }),
      yAxis: valueAxis("± % of the time", { nameGap: 38, min: 0, scale: false }),
      series: [
        {
          type: "scatter",
          symbolSize: points.length > 500 ? SPECK : 7,
          large: points.length > 500,
          largeThreshold: 500,
          data: points,
          itemStyle: { color: colour("front"), opacity: points.length > 500 ? 0.5 : 0.85 },
          markLine: {
            symbol: "none",
            silent: true,
            lineStyle: { color: colour("over"), type: "dashed" },
            label: { formatter: "asked for", color: colour("quiet"), position: "insideEndTop" },
            data: [{ yAxis: wished }],
          },
        },
      ],
    };
    widths.draw(option, points.length ? null : "No timing yet");
    const unsettled = study.rows.filter((row) => row.unsettled);
    const known = study.rows.filter((row) => row.unsettled !== null);
    const noisy = study.rows.filter((row) => (row.disturbed ?? 0) > 0.05);
    const waited = study.rows.reduce((sum, row) => sum + (row.waited ?? 0), 0);
    summary.textContent = known.length
      ? `${figure(known.length - unsettled.length)} of ${counted(known.length, "timed trial")} settled within ` +
        `±${figure(wished)} %. During ${counted(noisy.length, "timing")} others had more than 5 % of ` +
        `the measuring cores; ${waited ? `timings waited ${duration(waited)}` : "no timing waited"} ` +
        "for a quiet machine."
      : "No timing is there yet.";
  }

  function drawDrift() {
    const { drift: seen, reference } = page.study.document;
    const first = Math.min(...seen.flatMap((each) => each.at.slice(0, 1)));
    drift.label = `Time of the reference model ${reference} over the study, a share of its median.`;
    const option = {
      grid: { left: 52, right: 14, top: 30, bottom: 44 },
      legend: { top: 0, textStyle: { color: colour("quiet"), fontSize: 11 }, itemHeight: 8, itemWidth: 9 },
      tooltip: tooltip(({ seriesName, data }) => `${seriesName}: ${figure(data[2])} ms\n${clock(data[3])}`),
      xAxis: valueAxis("hours since the first timing", { min: 0, scale: false }),
      yAxis: valueAxis("% of its median", {
        nameGap: 38,
        // A drift below one in a hundred is none to speak of.
        min: ({ min }) => Math.floor(Math.min(min, 99)),
        max: ({ max }) => Math.ceil(Math.max(max, 101)),
      }),
      series: seen.map(({ workload, at, ms }, index) => {
        const middle = [...ms].sort((a, b) => a - b)[Math.floor(ms.length / 2)];
        return {
          type: "scatter",
          name: workload,
          symbol: SERIES_SHAPES[index % SERIES_SHAPES.length],
          symbolSize: ms.length > 500 ? SPECK : 6,
          large: ms.length > 500,
          largeThreshold: 500,
          itemStyle: { color: colour(SERIES[index % SERIES.length]), opacity: 0.7 },
          data: at.map((moment, step) => [(moment - first) / 3600, (100 * ms[step]) / middle, ms[step], moment]),
        };
      }),
    };
    drift.draw(option, seen.length ? null : "No timing yet");
  }

  function drawMachines() {
    const { environments } = page.study.document;
    if (environments.length === 0) {
      fill(machines, element("p", { class: "quiet" }, "Nothing has been timed on a machine yet."));
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
      "trust",
      "Trust",
      "How well the times are known, and whether the machine stayed what it was.",
      summary,
      element(
        "div",
        { class: "columns" },
        element("figure", {}, element("figcaption", {}, element("b", {}, "Half the 95 % interval"), pick), widths.element),
        element("figure", {}, element("figcaption", {}, element("b", {}, "Drift of the reference model")), drift.element),
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
      drawConfirmation(confirmation, page.study);
    },
  };
}
