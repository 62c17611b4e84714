// The front: a chart of two scores of every trial, with selection by mouse and keyboard.

import { card, HoverCard, roleName } from "./card.js";
import { Chart, scoreAxis, spansDecades } from "./chart.js";
import { HOLLOW, MARKS } from "./colours.js";
import { button, checkbox, choice, element, fill, section } from "./dom.js";
import { axisTitle, counted, PROVISIONAL_LEGEND, scoreText } from "./format.js";
import { rowsWithScores, scatter, valuesAlong } from "./scatter.js";
import { axisValue, title } from "./study.js";

/** @param {import("./draw.js").Page} page */
export function frontSection(page) {
  const controls = element("div", { class: "controls" });
  const roles = element("div", { class: "controls", role: "group", "aria-label": "Trials shown" });
  const announcement = element("p", { class: "visually-hidden", "aria-live": "polite" });
  const caption = element("p", { class: "quiet caption" });
  const hover = new HoverCard();
  const chart = new Chart("", { tall: true });
  chart.element.append(hover.element);
  chart.canvas.tabIndex = 0;
  chart.canvas.setAttribute("role", "application");
  chart.canvas.setAttribute("aria-describedby", "front-keys");
  const keys = element(
    "p",
    { id: "front-keys", class: "quiet caption" },
    "Click a point to select it; hold Shift to select several. With the keyboard: press Tab to reach the " +
      "chart, move along the front with the arrow keys, and press Enter to select.",
  );

  let position = -1;
  const members = () => {
    const { x } = axesOf(page);
    return page.study.withRole("front").sort((a, b) => (axisValue(a, x) ?? 0) - (axisValue(b, x) ?? 0));
  };
  chart.canvas.addEventListener("keydown", (event) => {
    const front = members();
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step !== undefined && front.length) {
      position = (position + step + front.length) % front.length;
      event.preventDefault();
      showCard(front[position]);
    } else if ((event.key === "Enter" || event.key === " ") && front[position]) {
      event.preventDefault();
      page.view.toggle(front[position].name, true);
      showCard(front[position]);
    } else if (event.key === "Escape") {
      hover.hide();
    }
  });
  chart.canvas.addEventListener("blur", () => hover.hide());

  /** Shows the card of a trial at its point, and announces it. @param {import("./study.js").Row} row */
  function showCard(row) {
    const { x, y } = axesOf(page);
    const at = chart.drawing.convertToPixel({ seriesIndex: 0 }, [axisValue(row, x), axisValue(row, y)]);
    hover.show(card(page.study, row, page.why), at[0], at[1]);
    const selected = page.view.state.selection.has(row.name) ? ", selected" : "";
    const scores = [x, y].map((axis) => `${axis} ${scoreText(row.scores[axis])}`).join(", ");
    announcement.textContent = `${title(row)}, ${roleName(row)}: ${scores}${selected}`;
  }

  const rowOf = (event) => page.study.byName.get(event.value?.[2]);
  chart.on("mouseover", (event) => {
    const row = rowOf(event);
    if (row) hover.show(card(page.study, row, page.why), event.event.offsetX, event.event.offsetY);
  });
  chart.on("mouseout", () => hover.hide());
  chart.on("click", (event) => {
    const row = rowOf(event);
    const { shiftKey, ctrlKey, metaKey } = event.event.event;
    if (row) page.view.toggle(row.name, shiftKey || ctrlKey || metaKey);
  });
  chart.on("brushEnd", (event) => {
    const [area] = event.areas;
    if (!area) return;
    const { x, y } = axesOf(page);
    const [[left, right], [low, high]] = area.coordRange;
    const inside = (value, from, to) => value !== null && value >= from && value <= to;
    const selected = shownRows(page).filter(
      (row) => inside(axisValue(row, x), left, right) && inside(axisValue(row, y), low, high),
    );
    page.view.select(selected.map((row) => row.name));
    brush(false);
  });
  const area = button("Select an area", () => brush(area.getAttribute("aria-pressed") !== "true"), {
    "aria-pressed": "false",
  });

  let brushing = false;
  let outdated = false;

  function brush(on) {
    brushing = on;
    area.setAttribute("aria-pressed", String(on));
    if (!on) chart.drawing.dispatchAction({ type: "brush", areas: [] });
    chart.drawing.dispatchAction({
      type: "takeGlobalCursor",
      key: "brush",
      brushOption: { brushType: on ? "rect" : false, brushMode: "single" },
    });
    if (!on && outdated) drawChart();
  }

  function drawControls() {
    const { view, study } = page;
    const { x, y } = axesOf(page);
    const log = logOf(view, rowsWithScores(shownRows(page), x, y), x, y);
    const options = study.axes.map((axis) => [axis.name, axisTitle(axis)]);
    fill(
      controls,
      choice("x axis", options, x, (score) => view.change({ x: score })),
      choice("y axis", options, y, (score) => view.change({ y: score })),
      checkbox("log x", log.x, (on) => view.change({ log: { ...log, x: on } })),
      checkbox("log y", log.y, (on) => view.change({ log: { ...log, y: on } })),
      area,
    );
  }

  function drawRoles() {
    const { view, study } = page;
    const boxes = Object.entries(MARKS).reverse().map(([role, mark]) => {
      const label = `${mark.label} ${study.withRole(role).length.toLocaleString("en-US")}`;
      const symbol = element("i", { class: `mark ${role}`, "aria-hidden": "true" });
      const choose = (show) => {
        const hidden = new Set(view.state.hidden);
        if (show) hidden.delete(role);
        else hidden.add(role);
        view.change({ hidden });
      };
      return checkbox(label, !view.state.hidden.has(role), choose, symbol);
    });
    const provisional = shownRows(page).filter((row) => row.provisional).length;
    const legend = provisional
      ? element(
          "span",
          { class: "checkbox" },
          element("i", { class: "mark provisional", "aria-hidden": "true" }),
          element("span", {}, `${HOLLOW.label} ${provisional.toLocaleString("en-US")}`),
        )
      : null;
    fill(roles, ...boxes, legend);
  }

  function drawChart() {
    outdated = false;
    const { study, view } = page;
    const { x, y } = axesOf(page);
    const shown = shownRows(page);
    const rows = rowsWithScores(shown, x, y);
    const log = logOf(view, rows, x, y);
    chart.label =
      `Scatter plot of ${y} against ${x}: ${counted(shown.length, "trial")}, ` +
      `${membersText(study)}. The table of trials contains the same values.`;
    const option = {
      grid: { left: 58, right: 18, top: 14, bottom: 46 },
      brush: { toolbox: [], xAxisIndex: 0, brushStyle: { color: "rgba(128,128,128,.2)" } },
      toolbox: { show: false },
      xAxis: scoreAxis(axisTitle(study.axis(x)), valuesAlong(rows, x), log.x),
      yAxis: scoreAxis(axisTitle(study.axis(y)), valuesAlong(rows, y), log.y, { nameGap: 42 }),
      series: scatter(page, shown, x, y, log),
    };
    // First, because the chart has the height that the caption leaves.
    caption.textContent = captionOf(shown, x, y);
    chart.draw(option, rows.length ? null : "No trial has both scores yet");
  }

  return {
    element: section(
      "front",
      "Front",
      "Smaller is better for every score: the best trade-offs are at the lower left.",
      controls,
      roles,
      chart.element,
      caption,
      keys,
      announcement,
    ),
    /** @param {import("./draw.js").Change} change */
    draw(change) {
      if (change.document || change.axes || change.hidden) drawControls();
      if (change.document || change.hidden) drawRoles();
      // Redrawing would abort an area selection, so it waits until the selection is finished.
      if (brushing) outdated = true;
      else if (Object.keys(change).some((what) => what !== "studies" && change[what])) drawChart();
    },
  };
}

/** @param {import("./draw.js").Page} page @returns {{x: string, y: string}} the names of the scores to draw */
export function axesOf({ study, view }) {
  const known = study.axes.map((axis) => axis.name);
  const pick = (requested, usual) => (requested !== null && known.includes(requested) ? requested : usual);
  return { x: pick(view.state.x, known[1] ?? known[0]), y: pick(view.state.y, known[0]) };
}

/**
 * Returns which axes are logarithmic: as the user has chosen, else depending on the values.
 * @param {import("./view.js").View} view
 * @param {import("./study.js").Row[]} rows trials with both scores
 * @returns {{x: boolean, y: boolean}}
 */
export function logOf({ state }, rows, x, y) {
  if (state.log !== null) return state.log;
  const spans = (axis) => spansDecades(rows.map((row) => axisValue(row, axis)));
  return { x: spans(x), y: spans(y) };
}

function shownRows({ study, view }) {
  return study.rows.filter((row) => row.role in MARKS && !view.state.hidden.has(row.role));
}

function membersText(study) {
  const provisional = study.document.provisional_front.length;
  return `${study.document.front.length} on the front${provisional ? `, ${provisional} of them only provisionally` : ""}`;
}

function captionOf(shown, x, y) {
  const missing = shown.length - rowsWithScores(shown, x, y).length;
  const parts = ["Bars are 95 % confidence intervals of the front, the reference models and the selected trials."];
  if (shown.some((row) => row.role === "stopped")) {
    parts.push("A trial that was stopped early is drawn at its predicted loss.");
  }
  if (shown.some((row) => row.provisional)) parts.push(PROVISIONAL_LEGEND);
  if (missing) {
    const which = counted(missing, "trial that lacks", "trials that lack");
    parts.push(`${which} one of the two scores ${missing === 1 ? "is" : "are"} not drawn.`);
  }
  return parts.join(" ");
}
