// The front: a chart of any two scores of every trial, to look at, to walk along and to select in.

import { card, HoverCard, roleName } from "./card.js";
import { Chart, scoreAxis, spansDecades } from "./chart.js";
import { MARKS } from "./colours.js";
import { button, choice, element, fill, section, tick } from "./dom.js";
import { axisTitle, counted, scoreText } from "./format.js";
import { reach, scatter, standing } from "./scatter.js";
import { place, title } from "./study.js";

/** @param {import("./draw.js").Page} page */
export function frontSection(page) {
  const controls = element("div", { class: "controls" });
  const roles = element("div", { class: "controls", role: "group", "aria-label": "Shown" });
  const spoken = element("p", { class: "visually-hidden", "aria-live": "polite" });
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
    "Click a point to select it, with Shift to select several; or Tab to the chart, walk along the " +
      "front with the arrow keys and press Enter.",
  );

  let walked = -1;
  const members = () => {
    const { x } = axesOf(page);
    return page.study.withRole("front").sort((a, b) => (place(a, x) ?? 0) - (place(b, x) ?? 0));
  };
  chart.canvas.addEventListener("keydown", (event) => {
    const front = members();
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step !== undefined && front.length) {
      walked = (walked + step + front.length) % front.length;
      event.preventDefault();
      point(front[walked]);
    } else if ((event.key === "Enter" || event.key === " ") && front[walked]) {
      event.preventDefault();
      page.view.toggle(front[walked].name, true);
      point(front[walked]);
    } else if (event.key === "Escape") {
      hover.hide();
    }
  });
  chart.canvas.addEventListener("blur", () => hover.hide());

  /** @param {import("./study.js").Row} row shows its card where it stands */
  function point(row) {
    const { x, y } = axesOf(page);
    const at = chart.drawing.convertToPixel({ seriesIndex: 0 }, [place(row, x), place(row, y)]);
    hover.show(card(page.study, row), at[0], at[1]);
    const chosen = page.view.look.selection.has(row.name) ? ", selected" : "";
    const scores = [x, y].map((axis) => `${axis} ${scoreText(row.scores[axis])}`).join(", ");
    spoken.textContent = `${title(row)}, ${roleName(row)}: ${scores}${chosen}`;
  }

  const rowOf = (event) => page.study.byName.get(event.value?.[2]);
  chart.on("mouseover", (event) => {
    const row = rowOf(event);
    if (row) hover.show(card(page.study, row), event.event.offsetX, event.event.offsetY);
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
    const chosen = shown(page).filter(
      (row) => inside(place(row, x), left, right) && inside(place(row, y), low, high),
    );
    page.view.select(chosen.map((row) => row.name));
    brush(false);
  });
  const area = button("Select an area", () => brush(area.getAttribute("aria-pressed") !== "true"), {
    "aria-pressed": "false",
  });

  let brushing = false;
  let missed = false;

  function brush(on) {
    brushing = on;
    area.setAttribute("aria-pressed", String(on));
    if (!on) chart.drawing.dispatchAction({ type: "brush", areas: [] });
    chart.drawing.dispatchAction({
      type: "takeGlobalCursor",
      key: "brush",
      brushOption: { brushType: on ? "rect" : false, brushMode: "single" },
    });
    if (!on && missed) drawChart();
  }

  function drawControls() {
    const { view, study } = page;
    const { x, y } = axesOf(page);
    const log = logOf(view, standing(shown(page), x, y), x, y);
    const options = study.axes.map((axis) => [axis.name, axisTitle(axis)]);
    fill(
      controls,
      choice("Across", options, x, (score) => view.change({ x: score })),
      choice("Up", options, y, (score) => view.change({ y: score })),
      tick("log across", log.x, (on) => view.change({ log: { ...log, x: on } })),
      tick("log up", log.y, (on) => view.change({ log: { ...log, y: on } })),
      area,
    );
  }

  function drawRoles() {
    const { view, study } = page;
    const ticks = Object.entries(MARKS).reverse().map(([role, mark]) => {
      const label = `${mark.label} ${study.withRole(role).length.toLocaleString("en-US")}`;
      const drawn = element("i", { class: `mark ${role}`, "aria-hidden": "true" });
      const choose = (show) => {
        const hidden = new Set(view.look.hidden);
        if (show) hidden.delete(role);
        else hidden.add(role);
        view.change({ hidden });
      };
      return tick(label, !view.look.hidden.has(role), choose, drawn);
    });
    fill(roles, ...ticks);
  }

  function drawChart() {
    missed = false;
    const { study, view } = page;
    const { x, y } = axesOf(page);
    const drawn = shown(page);
    const spots = standing(drawn, x, y);
    const log = logOf(view, spots, x, y);
    chart.label =
      `Scatter of ${y} against ${x}: ${counted(drawn.length, "trial")}, ` +
      `${study.withRole("front").length} on the front. The table of trials has the same figures.`;
    const option = {
      grid: { left: 58, right: 18, top: 14, bottom: 46 },
      brush: { toolbox: [], xAxisIndex: 0, brushStyle: { color: "rgba(128,128,128,.2)" } },
      toolbox: { show: false },
      xAxis: scoreAxis(axisTitle(study.axis(x)), reach(spots, x), log.x),
      yAxis: scoreAxis(axisTitle(study.axis(y)), reach(spots, y), log.y, { nameGap: 42 }),
      series: scatter(page, drawn, x, y, log),
    };
    chart.draw(option, spots.length ? null : "No trial has both scores yet");
    caption.textContent = captionOf(study, drawn, x, y);
  }

  return {
    element: section(
      "front",
      "Front",
      "Every score is better when smaller: the best trade-offs are down and to the left.",
      controls,
      roles,
      chart.element,
      caption,
      keys,
      spoken,
    ),
    /** @param {import("./draw.js").Change} change */
    draw(change) {
      if (change.document || change.axes || change.hidden) drawControls();
      if (change.document || change.hidden) drawRoles();
      // To draw anew would end what is being selected; it waits until that is done.
      if (brushing) missed = true;
      else if (Object.keys(change).some((what) => what !== "studies" && change[what])) drawChart();
    },
  };
}

/** @param {import("./draw.js").Page} page @returns {{x: string, y: string}} the scores to draw */
export function axesOf({ study, view }) {
  const known = study.axes.map((axis) => axis.name);
  const pick = (wished, usual) => (wished !== null && known.includes(wished) ? wished : usual);
  return { x: pick(view.look.x, known[1] ?? known[0]), y: pick(view.look.y, known[0]) };
}

/**
 * Which axes are logarithmic: as the reader wishes, else as what is drawn spans.
 * @param {import("./view.js").View} view
 * @param {import("./study.js").Row[]} rows with both scores
 * @returns {{x: boolean, y: boolean}}
 */
export function logOf({ look }, rows, x, y) {
  if (look.log !== null) return look.log;
  const spans = (axis) => spansDecades(rows.map((row) => place(row, axis)));
  return { x: spans(x), y: spans(y) };
}

function shown({ study, view }) {
  return study.rows.filter((row) => row.role in MARKS && !view.look.hidden.has(row.role));
}

function captionOf(study, drawn, x, y) {
  const absent = drawn.filter((row) => place(row, x) === null || place(row, y) === null).length;
  const parts = ["Bars: 95 % intervals of the front, of published models and of what is selected."];
  if (drawn.some((row) => row.role === "stopped")) {
    parts.push("A stopped trial stands at the loss that it was heading for.");
  }
  if (absent) parts.push(`${counted(absent, "trial")} without both scores ${absent === 1 ? "is" : "are"} not drawn.`);
  return parts.join(" ");
}
