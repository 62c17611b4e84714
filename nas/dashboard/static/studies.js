// Several studies on one pair of axes: the front of each, and what is best in it.

import { Chart, scoreAxis, tooltip } from "./chart.js";
import { colour, SERIES, SERIES_SHAPES } from "./colours.js";
import { button, element, fill, section } from "./dom.js";
import { axisTitle, figure } from "./format.js";
import { axesOf, logOf } from "./front.js";
import { staircase } from "./scatter.js";
import { place, title } from "./study.js";

const MOST_LETTERS = 28;

/** @param {import("./draw.js").Page} page */
export function studiesSection(page) {
  const chart = new Chart("", { tall: true });
  const body = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Studies" });

  function draw() {
    const { x, y } = axesOf(page);
    const studies = [...page.studies.values()];
    const fronts = studies.map((study) => staircase(study.complete, x, y));
    const log = logOf(page.view, fronts.flat(), x, y);
    const along = (axis) => fronts.flat().map((row) => place(row, axis));
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
        data: fronts[index].map((row) => [place(row, x), place(row, y), title(row)]),
      })),
    });
    const lines = studies.map((study) => {
      const lowest = (axis) => {
        const values = study.complete.map((row) => row.scores[axis]?.value).filter((value) => value !== undefined);
        return values.length ? figure(values.reduce((least, value) => Math.min(least, value))) : "–";
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
    const heads = ["study", "device", "weights", "tokens", "method", "losses", "complete", "on the front", `lowest ${y}`, `lowest ${x}`];
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
      "Losses compare where budget, text and proxy are the same; times where the device is.",
      chart.element,
      body,
    ),
    draw,
  };
}

/** What a loss is that of: a training of each candidate, or of the network that all share. */
function tokensOf({ document }) {
  const { method, token_budget, shared_token_budget } = document.spec.proxy ?? {};
  return method === "shared" ? shared_token_budget : token_budget;
}

/** Whether the losses of a study compare with those of the first, in words. */
function comparison(study, first) {
  if (study === first) return "the first";
  const corpus = ({ document }) => JSON.stringify(document.spec.proxy?.corpus);
  const method = ({ document }) => document.spec.proxy?.method;
  const others = [
    method(study) === method(first) ? null : "method",
    tokensOf(study) === tokensOf(first) ? null : "budget",
    corpus(study) === corpus(first) ? null : "corpus",
  ].filter((each) => each !== null);
  return others.length ? `do not compare: other ${others.join(", ")}` : "compare with the first";
}

function shortened(name) {
  return name.length > MOST_LETTERS ? `${name.slice(0, MOST_LETTERS - 1)}…` : name;
}
