// Up to four selected trials side by side, with every difference marked.

import { roleName } from "./card.js";
import { button, element, fill, section } from "./dom.js";
import { axisTitle, scoreText } from "./format.js";
import { legend, shapeFacts, strip } from "./layout.js";
import { title } from "./study.js";

const MOST = 4;

/** @param {import("./draw.js").Page} page */
export function compareSection(page) {
  const body = element("div");

  function draw() {
    const rows = [...page.view.look.selection]
      .map((name) => page.study.byName.get(name))
      .filter((row) => row !== undefined);
    if (rows.length === 0) {
      const front = page.study.withRole("front");
      const first = front.slice(0, MOST).map((row) => row.name);
      fill(
        body,
        element("p", { class: "quiet" }, "Nothing is selected. Up to four trials of any view stand here."),
        first.length > 1
          ? button(`Compare ${first.length} of the front`, () => page.view.select(first))
          : null,
      );
      return;
    }
    fill(
      body,
      table(page.study, rows.slice(0, MOST)),
      rows.length > MOST
        ? element("p", { class: "quiet" }, `The first ${MOST} of ${rows.length} selected trials.`)
        : null,
    );
  }

  return {
    element: section(
      "compare",
      "Side by side",
      "Layouts and facts of what is selected; ≠ marks what differs.",
      legend(),
      body,
    ),
    draw,
  };
}

function table(study, rows) {
  const [first] = rows;
  const heads = rows.map((row) =>
    element("th", { scope: "col" }, title(row), element("small", {}, roleName(row))),
  );
  const layouts = rows.map((row) => {
    const differs = (index) =>
      row !== first && row.architecture.layout[index] !== first.architecture.layout[index];
    return element("td", {}, strip(row.architecture.layout, differs));
  });
  const shapes = rows.map((row) => shapeFacts(row.architecture));
  const scores = study.axes
    .filter((axis) => axis.name !== "parameters" && rows.some((row) => row.scores[axis.name]))
    .map((axis) => [axisTitle(axis), rows.map((row) => scoreText(row.scores[axis.name]))]);
  const lines = shapes[0].map(([name], index) => [name, shapes.map((shape) => shape[index][1])]);
  const layoutsDiffer = new Set(rows.map((row) => row.architecture.layout)).size > 1;
  return element(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Trials side by side" },
    element(
      "table",
      { class: "compare" },
      element("thead", {}, element("tr", {}, element("td", {}), ...heads)),
      element(
        "tbody",
        {},
        element("tr", {}, name("layout", layoutsDiffer), ...layouts),
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
    name(label, differs),
    ...values.map((value) => element("td", {}, value)),
  );
}

function name(label, differs) {
  const mark = differs ? element("span", { class: "unequal", title: "differs" }, " ≠") : null;
  return element("th", { scope: "row" }, label, mark);
}
