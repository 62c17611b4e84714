// Up to four selected trials side by side, with every difference marked.

import { EXPECTED_LOSS, expectedLossText, roleName } from "./card.js";
import { button, element, fill, section } from "./dom.js";
import { axisTitle, scoreText } from "./format.js";
import { legend, shapeFacts, strip } from "./layout.js";
import { title } from "./study.js";

const MAX_TRIALS = 4;

/** @param {import("./draw.js").Page} page */
export function compareSection(page) {
  const letters = element("div");
  const body = element("div");

  function draw() {
    fill(letters, legend(page.study.mixers));
    const rows = [...page.view.state.selection]
      .map((name) => page.study.byName.get(name))
      .filter((row) => row !== undefined);
    if (rows.length === 0) {
      const front = page.study.withRole("front");
      const first = front.slice(0, MAX_TRIALS).map((row) => row.name);
      fill(
        body,
        element("p", { class: "quiet" }, `Nothing is selected. Select up to ${MAX_TRIALS} trials in a chart or in the table to compare them.`),
        first.length > 1
          ? button(`Compare ${first.length} trials of the front`, () => page.view.select(first))
          : null,
      );
      return;
    }
    page.requestWhy();
    const shown = rows.slice(0, MAX_TRIALS);
    const isExpected = shown.some((row) => expectedLossText(page.why, row) !== null);
    fill(
      body,
      table(page, shown),
      isExpected ? element("p", { class: "quiet" }, page.why.expected_losses.explanation) : null,
      rows.length > MAX_TRIALS
        ? element("p", { class: "quiet" }, `Showing the first ${MAX_TRIALS} of ${rows.length} selected trials.`)
        : null,
    );
  }

  return {
    element: section(
      "compare",
      "Side by side",
      "The selected trials in detail; ≠ marks differences.",
      letters,
      body,
    ),
    draw,
  };
}

function table({ study, why }, rows) {
  const [first] = rows;
  const heads = rows.map((row) =>
    element("th", { scope: "col" }, title(row), element("small", {}, roleName(row))),
  );
  const layouts = rows.map((row) => {
    const differs = (index) =>
      row !== first && row.architecture.layout[index] !== first.architecture.layout[index];
    return element("td", {}, strip(study.mixers, row.architecture.layout, differs));
  });
  const shapes = rows.map((row) => shapeFacts(row.architecture));
  const scores = study.axes
    .filter((axis) => axis.name !== "parameters" && rows.some((row) => row.scores[axis.name]))
    .map((axis) => [axisTitle(axis), rows.map((row) => scoreText(row.scores[axis.name]))]);
  const expected = rows.map((row) => expectedLossText(why, row));
  if (expected.some((text) => text !== null)) {
    scores.push([EXPECTED_LOSS, expected.map((text) => text ?? "–")]);
  }
  const lines = shapes[0].map(([name], index) => [name, shapes.map((shape) => shape[index][1])]);
  const layoutsDiffer = new Set(rows.map((row) => row.architecture.layout)).size > 1;
  return element(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Comparison of the selected trials" },
    element(
      "table",
      { class: "compare" },
      element("thead", {}, element("tr", {}, element("td", {}), ...heads)),
      element(
        "tbody",
        {},
        element("tr", {}, rowHeading("layout", layoutsDiffer), ...layouts),
        ...[...scores, ...lines].map(([label, values]) => line(label, values)),
      ),
    ),
  );
}

function line(label, values) {
  const differs = new Set(values).size > 1;
  return element(
    "tr",
    { class: differs ? "differs" : null },
    rowHeading(label, differs),
    ...values.map((value) => element("td", {}, value)),
  );
}

function rowHeading(label, differs) {
  const mark = differs ? element("span", { class: "unequal", title: "differs" }, " ≠") : null;
  return element("th", { scope: "row" }, label, mark);
}
