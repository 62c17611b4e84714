// Several studies compared: their fronts in one chart, and their best values in a table.

import { Chart, scoreAxis, tooltip } from "./chart.js";
import { colour, SERIES, SERIES_SHAPES } from "./colours.js";
import { button, element, fill, section } from "./dom.js";
import { axisTitle, figure } from "./format.js";
import { axesOf, logOf } from "./front.js";
import { staircase } from "./scatter.js";
import { axisValue, title } from "./study.js";

const MAX_NAME_LENGTH = 28;

/** @param {import("./draw.js").Page} page */
export function studiesSection(page) {
  const chart = new Chart("", { tall: true });
  const body = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Studies" });

  function draw() {
    const { x, y } = axesOf(page);
    const studies = [...page.studies.values()];
    const fronts = studies.map((study) => staircase(study.complete, x, y));
    const log = logOf(page.view, fronts.flat(), x, y);
    const along = (axis) => fronts.flat().map((row) => axisValue(row, axis));
    chart.label = `Fronts of ${studies.map((study) => study.name).join(", ")}: ${y} against ${x}.`;
    chart.draw({
      grid: { left: 58, right: 18, top: 34, bottom: 46 },
      legend: {
        type: "scroll",
        top: 0,
        formatter: shortened,
        textStyle: { color: colour("ink") },
        pageTextStyle: { color: colour("ink") },
        pageIconColor: colour("ink"),
        pageIconInactiveColor: colour("line"),
      },
      tooltip: tooltip(({ seriesName, data }) =>
        data ? `${seriesName}, ${data[2]}\n${x} ${figure(data[0])}, ${y} ${figure(data[1])}` : ""),
      xAxis: scoreAxis(axisTitle(page.study.axis(x)), along(x), log.x),
      yAxis: scoreAxis(axisTitle(page.study.axis(y)), along(y), log.y, { nameGap: 42 }),
      series: studies.map((study, index) => ({
        type: "line",
        step: "end",
        name: study.name,
        symbol: SERIES_SHAPES[index % SERIES_SHAPES.length],
        symbolSize: 9,
        itemStyle: { color: colour(SERIES[index % SERIES.length]) },
        lineStyle: { color: colour(SERIES[index % SERIES.length]), width: 1.5 },
        data: fronts[index].map((row) => [axisValue(row, x), axisValue(row, y), title(row)]),
      })),
    });
    const lines = studies.map((study) => {
      const lowest = (axis) => {
        const scores = study.complete.map((row) => row.scores[axis]).filter((score) => score && !score.provisional);
        return scores.length ? figure(scores.reduce((least, { value }) => Math.min(least, value), Infinity)) : "–";
      };
      const [machine] = study.document.environments;
      return element(
        "tr",
        {},
        element("th", { scope: "row" }, button(study.name, () => page.view.change({ study: study.name, selection: new Set() }), { class: "sort" })),
        element("td", {}, machine === undefined ? "–" : `${machine.host}, ${machine.cpu}`),
        element("td", {}, study.document.spec.target?.quantization ?? "–"),
        element("td", { class: "number" }, figure(tokensOf(study))),
        element("td", {}, study.document.spec.proxy?.method ?? "–"),
        element("td", {}, comparison(study, studies[0])),
        ...[study.complete.length, study.document.front.length].map((count) =>
          element("td", { class: "number" }, count.toLocaleString("en-US"))),
        ...[y, x].map((axis) => element("td", { class: "number" }, lowest(axis))),
      );
    });
    const heads = ["study", "machine", "weights", "training tokens", "proxy method", "comparable losses", "complete", "on the front", `lowest ${y}`, `lowest ${x}`];
    fill(
      body,
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
        element("tbody", {}, ...lines),
      ),
    );
  }

  return {
    element: section(
      "studies",
      "Studies",
      "Losses are comparable only with the same proxy method, token budget and corpus; times only on the same device.",
      chart.element,
      body,
    ),
    draw,
  };
}

/** Returns the token budget behind the losses: of each candidate, or of the shared network. */
function tokensOf({ document }) {
  const { method, token_budget, shared_token_budget } = document.spec.proxy ?? {};
  return method === "shared" ? shared_token_budget : token_budget;
}

/** Says whether the losses of a study are comparable with those of the first one. */
function comparison(study, first) {
  if (study === first) return "baseline";
  const corpus = ({ document }) => JSON.stringify(document.spec.proxy?.corpus);
  const method = ({ document }) => document.spec.proxy?.method;
  const differences = [
    method(study) === method(first) ? null : "proxy method",
    tokensOf(study) === tokensOf(first) ? null : "token budget",
    corpus(study) === corpus(first) ? null : "corpus",
  ].filter((each) => each !== null);
  return differences.length ? `no: different ${differences.join(", ")}` : "yes";
}

function shortened(name) {
  return name.length > MAX_NAME_LENGTH ? `${name.slice(0, MAX_NAME_LENGTH - 1)}…` : name;
}
