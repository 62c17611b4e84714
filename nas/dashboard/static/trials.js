// The table of trials, with filters, sorting, selection and downloads.

import { roleName, unsureText } from "./card.js";
import { button, choice, element, fill, section } from "./dom.js";
import { asCsv, asJson, download } from "./download.js";
import { axisTitle, counted, duration, figure, PROVISIONAL_LEGEND, scoreText } from "./format.js";
import { strip } from "./layout.js";
import { axisValue } from "./study.js";

const PAGE_LENGTH = 25;
const FILTERS = [
  ["", "all trials"],
  ["selected", "selected"],
  ["front", "on the front"],
  ["dominated", "dominated"],
  ["infeasible", "infeasible"],
  ["stopped", "stopped early"],
  ["failed", "failed"],
  ["running", "running"],
  ["reference", "reference models"],
];

/** @param {import("./draw.js").Page} page */
export function trialsSection(page) {
  let filter = "";
  let text = "";
  let sortColumn = null;
  let descending = false;
  let length = PAGE_LENGTH;
  let scoreAxes = [];
  let headings = "";

  const count = element("p", { class: "quiet", role: "status" });
  const signs = element("p", { class: "quiet" });
  const head = element("thead");
  const body = element("tbody");
  const more = button("Show more", () => {
    length += 8 * PAGE_LENGTH;
    drawRows();
  });
  const search = element("input", {
    type: "search",
    placeholder: "layout or name",
    on: {
      input: () => {
        text = search.value.trim().toLowerCase();
        length = PAGE_LENGTH;
        drawRows();
      },
    },
  });
  const save = (kind) => () => {
    const selection = selected();
    const rows = selection.length ? selection : filtered();
    const csv = kind === "csv";
    const content = csv ? asCsv(page.study, rows) : asJson(page.study, rows);
    download(`${page.study.name}.${kind}`, content, csv ? "text/csv" : "application/json");
  };

  const selected = () =>
    page.study.rows.filter((row) => page.view.state.selection.has(row.name));

  function filtered() {
    const { selection } = page.view.state;
    const rows = page.study.rows.filter(
      (row) =>
        (filter === "" || row.role === filter || (filter === "selected" && selection.has(row.name))) &&
        (text === "" || row.name.toLowerCase() === text || row.architecture.layout.includes(text) ||
          (row.kind === "reference" && row.name.includes(text))),
    );
    const key = sortKey(sortColumn ?? page.study.axes[0]?.name ?? "trial");
    const rank = (row) => key(row) ?? Infinity;
    return rows.sort((a, b) => {
      const [first, second] = [rank(a), rank(b)];
      if (first === second) return a.number - b.number;
      // Trials without a value come last in either direction.
      if (first === Infinity || second === Infinity) return first === Infinity ? 1 : -1;
      return (first < second ? -1 : 1) * (descending ? -1 : 1);
    });
  }

  /** Returns the scores with a column: objectives, scores with a limit, and the parameters. */
  function tableAxes() {
    const { axes } = page.study;
    const scores = axes.filter((axis) => axis.objective || axis.max !== null);
    return [...scores, ...axes.filter((axis) => !scores.includes(axis) && axis.name === "parameters")];
  }

  function drawHead() {
    const { axes } = page.study;
    const columns = [
      ["trial", "trial"],
      [null, "state"],
      [null, "layout"],
      ...scoreAxes.map((axis) => [axis.name, axisTitle(axis)]),
      ["width", "width"],
      ["seconds", "time"],
    ];
    const cells = columns.map(([name, label]) => {
      if (name === null) return element("th", { scope: "col" }, label);
      const active = (sortColumn ?? axes[0]?.name) === name;
      const arrow = active ? (descending ? " ↓" : " ↑") : "";
      const sort = button(label + arrow, () => {
        descending = active && !descending;
        sortColumn = name;
        drawHead();
        drawRows();
        head.querySelector(`[data-column="${CSS.escape(name)}"]`)?.focus();
      }, { class: "sort", "data-column": name });
      const order = active ? (descending ? "descending" : "ascending") : null;
      return element("th", { scope: "col", "aria-sort": order }, sort);
    });
    fill(head, element("tr", {}, element("td", {}), ...cells));
  }

  function drawRows() {
    const rows = filtered();
    const { selection } = page.view.state;
    fill(body, ...rows.slice(0, length).map((row) => line(row, selection.has(row.name))));
    more.hidden = rows.length <= length;
    signs.textContent = [
      rows.some((row) => row.provisional) ? PROVISIONAL_LEGEND : "",
      rows.some((row) => row.unsure_limits.length) ? "? may exceed the limit; kept, because that is not certain." : "",
    ].filter(Boolean).join(" ");
    const selectedCount = selected().length;
    const verb = filter || text ? (rows.length === 1 ? " matches" : " match") : "";
    const all = `${counted(rows.length, "trial")}${verb}`;
    count.textContent = selectedCount ? `${all}, ${selectedCount.toLocaleString("en-US")} selected` : all;
  }

  function line(row, isSelected) {
    const box = element("input", {
      type: "checkbox",
      checked: isSelected,
      "aria-label": `Select ${row.name}`,
      on: { change: () => page.view.toggle(row.name, true) },
    });
    const scores = scoreAxes.map((axis) => {
      const score = row.scores[axis.name];
      const estimate = score === undefined ? axisValue(row, axis.name) : null;
      const shown = estimate === null ? scoreText(score) : `(${figure(estimate)})`;
      const unsure = row.unsure_limits.includes(axis.name);
      const tooltip = estimate !== null
        ? "predicted; the training was stopped early"
        : unsure ? `may exceed the limit of ${figure(axis.max)}` : score?.provisional ? PROVISIONAL_LEGEND : null;
      return element("td", { class: "number", title: tooltip }, unsure ? `${shown} ?` : shown);
    });
    return element(
      "tr",
      { class: isSelected ? "selected" : null },
      element("td", {}, box),
      element("th", { scope: "row" }, row.name),
      element(
        "td",
        { title: row.reason ?? unsureText(row) },
        element("i", { class: `mark ${row.role}${row.provisional ? " provisional" : ""}`, "aria-hidden": "true" }),
        ` ${roleName(row)}`,
      ),
      element("td", {}, strip(page.study.mixers, row.architecture.layout)),
      ...scores,
      element("td", { class: "number" }, figure(row.architecture.width)),
      element("td", { class: "number" }, duration(row.seconds)),
    );
  }

  return {
    element: section(
      "trials",
      "Trials",
      "The selection applies to all views: trials selected here are circled in the chart of the front.",
      element(
        "div",
        { class: "controls" },
        choice("Show", FILTERS, filter, (value) => {
          filter = value;
          length = PAGE_LENGTH;
          drawRows();
        }),
        element("label", { class: "field" }, element("span", {}, "Find"), search),
        button("Select matching", () => page.view.select(filtered().map((row) => row.name))),
        button("Clear selection", () => page.view.select([])),
        button("CSV", save("csv"), { title: "Download the selected trials, or all matching trials if none is selected" }),
        button("JSON", save("json"), { title: "Download the selected trials, or all matching trials if none is selected" }),
      ),
      count,
      signs,
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
        scoreAxes = tableAxes();
        const titles = scoreAxes.map(axisTitle).join();
        // Redrawing the head would lose the keyboard focus.
        if (titles !== headings) drawHead();
        headings = titles;
      }
      if (change.document || change.selection) drawRows();
    },
  };
}

/** @param {string} name @returns {(row: import("./study.js").Row) => number | null | undefined} */
function sortKey(name) {
  if (name === "trial") return (row) => row.number;
  if (name === "seconds") return (row) => row.seconds;
  if (name === "width") return (row) => row.architecture.width;
  return (row) => axisValue(row, name);
}
