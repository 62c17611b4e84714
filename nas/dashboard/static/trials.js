// Every trial in a table: filtered, sorted, selected, downloaded.

import { roleName } from "./card.js";
import { button, choice, element, fill, section } from "./dom.js";
import { asCsv, asJson, download } from "./download.js";
import { axisTitle, counted, duration, figure, scoreText } from "./format.js";
import { strip } from "./layout.js";
import { place } from "./study.js";

const PAGE = 25;
const SHOWN = [
  ["", "all trials"],
  ["selected", "selected"],
  ["front", "on the front"],
  ["dominated", "dominated"],
  ["infeasible", "over budget"],
  ["stopped", "stopped early"],
  ["failed", "failed"],
  ["running", "running"],
  ["reference", "published models"],
];

/** @param {import("./draw.js").Page} page */
export function trialsSection(page) {
  let wanted = "";
  let text = "";
  let sorted = null;
  let falling = false;
  let length = PAGE;
  let shownScores = [];
  let headings = "";

  const count = element("p", { class: "quiet", role: "status" });
  const head = element("thead");
  const body = element("tbody");
  const more = button("Show more", () => {
    length += 8 * PAGE;
    drawRows();
  });
  const search = element("input", {
    type: "search",
    placeholder: "layout or name",
    on: {
      input: () => {
        text = search.value.trim().toLowerCase();
        length = PAGE;
        drawRows();
      },
    },
  });
  const save = (kind) => () => {
    const chosen = selected();
    const rows = chosen.length ? chosen : filtered();
    const csv = kind === "csv";
    const content = csv ? asCsv(page.study, rows) : asJson(page.study, rows);
    download(`${page.study.name}.${kind}`, content, csv ? "text/csv" : "application/json");
  };

  const selected = () =>
    page.study.rows.filter((row) => page.view.look.selection.has(row.name));

  function filtered() {
    const { selection } = page.view.look;
    const rows = page.study.rows.filter(
      (row) =>
        (wanted === "" || row.role === wanted || (wanted === "selected" && selection.has(row.name))) &&
        (text === "" || row.name.toLowerCase() === text || row.architecture.layout.includes(text) ||
          (row.kind === "reference" && row.name.includes(text))),
    );
    const key = keyOf(sorted ?? page.study.axes[0]?.name ?? "trial");
    const rank = (row) => key(row) ?? Infinity;
    return rows.sort((a, b) => {
      const [first, second] = [rank(a), rank(b)];
      if (first === second) return a.number - b.number;
      // What has no value comes last, whichever way the rest goes.
      if (first === Infinity || second === Infinity) return first === Infinity ? 1 : -1;
      return (first < second ? -1 : 1) * (falling ? -1 : 1);
    });
  }

  /** Objectives, what has a budget, and the size. */
  function scoresShown() {
    const { axes } = page.study;
    const scores = axes.filter((axis) => axis.objective || axis.max !== null);
    return [...scores, ...axes.filter((axis) => !scores.includes(axis) && axis.name === "parameters")];
  }

  function drawHead() {
    const { axes } = page.study;
    const columns = [
      ["trial", "trial"],
      [null, "outcome"],
      [null, "layout"],
      ...shownScores.map((axis) => [axis.name, axisTitle(axis)]),
      ["width", "width"],
      ["seconds", "time"],
    ];
    const cells = columns.map(([name, shown]) => {
      if (name === null) return element("th", { scope: "col" }, shown);
      const here = (sorted ?? axes[0]?.name) === name;
      const arrow = here ? (falling ? " ↓" : " ↑") : "";
      const sort = button(shown + arrow, () => {
        falling = here && !falling;
        sorted = name;
        drawHead();
        drawRows();
        head.querySelector(`[data-column="${CSS.escape(name)}"]`)?.focus();
      }, { class: "sort", "data-column": name });
      const order = here ? (falling ? "descending" : "ascending") : null;
      return element("th", { scope: "col", "aria-sort": order }, sort);
    });
    fill(head, element("tr", {}, element("td", {}), ...cells));
  }

  function drawRows() {
    const rows = filtered();
    const { selection } = page.view.look;
    fill(body, ...rows.slice(0, length).map((row) => line(row, selection.has(row.name))));
    more.hidden = rows.length <= length;
    const chosen = selected().length;
    const all = `${counted(rows.length, "trial")}${wanted || text ? " match" : ""}`;
    count.textContent = chosen ? `${all}, ${chosen.toLocaleString("en-US")} selected` : all;
  }

  function line(row, chosen) {
    const box = element("input", {
      type: "checkbox",
      checked: chosen,
      "aria-label": `Select ${row.name}`,
      on: { change: () => page.view.toggle(row.name, true) },
    });
    const scores = shownScores.map((axis) => {
      const score = row.scores[axis.name];
      const estimate = score === undefined ? place(row, axis.name) : null;
      const shown = estimate === null ? scoreText(score) : `(${figure(estimate)})`;
      return element("td", { class: "number" }, shown);
    });
    return element(
      "tr",
      { class: chosen ? "chosen" : null },
      element("td", {}, box),
      element("th", { scope: "row" }, row.name),
      element(
        "td",
        { title: row.reason },
        element("i", { class: `mark ${row.role}`, "aria-hidden": "true" }),
        ` ${roleName(row)}`,
      ),
      element("td", {}, strip(row.architecture.layout)),
      ...scores,
      element("td", { class: "number" }, figure(row.architecture.width)),
      element("td", { class: "number" }, duration(row.seconds)),
    );
  }

  return {
    element: section(
      "trials",
      "Trials",
      "One selection for all views: what is ticked here is ringed in the charts.",
      element(
        "div",
        { class: "controls" },
        choice("Show", SHOWN, wanted, (value) => {
          wanted = value;
          length = PAGE;
          drawRows();
        }),
        element("label", { class: "field" }, element("span", {}, "Find"), search),
        button("Select these", () => page.view.select(filtered().map((row) => row.name))),
        button("Clear selection", () => page.view.select([])),
        button("CSV", save("csv"), { title: "Download what is selected, else what is shown" }),
        button("JSON", save("json"), { title: "Download what is selected, else what is shown" }),
      ),
      count,
      element(
        "div",
        { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of trials" },
        element("table", { class: "trials" }, head, body),
      ),
      more,
    ),
    /** @param {import("./draw.js").Change} change */
    draw(change) {
      if (change.document) {
        shownScores = scoresShown();
        const titles = shownScores.map(axisTitle).join();
        // Drawn anew it would lose the focus.
        if (titles !== headings) drawHead();
        headings = titles;
      }
      if (change.document || change.selection) drawRows();
    },
  };
}

/** @param {string} name @returns {(row: import("./study.js").Row) => number | null | undefined} */
function keyOf(name) {
  if (name === "trial") return (row) => row.number;
  if (name === "seconds") return (row) => row.seconds;
  if (name === "width") return (row) => row.architecture.width;
  return (row) => place(row, name);
}
