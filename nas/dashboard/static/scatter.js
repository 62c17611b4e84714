// What the front's chart draws: trials by their roles, error bars, the front line, what is selected.

import { within } from "./budget.js";
import { errorBars, SPECK } from "./chart.js";
import { colour, MARKS } from "./colours.js";
import { figure } from "./format.js";
import { place } from "./study.js";

const MOST_ERROR_BARS = 200; // more would be a hatching
const DENSE = 400; // from here on points are small squares

/**
 * The series of the chart; a trial's point has its name for a third value.
 * @param {import("./draw.js").Page} page
 * @param {import("./study.js").Row[]} drawn
 * @param {{x: boolean, y: boolean}} log
 */
export function scatter(page, drawn, x, y, log) {
  return [
    ...Object.keys(MARKS).map((role) => cloud(role, drawn, x, y, log)),
    budgetLines(page, x, y),
    frontLine(page.study, x, y),
    ...bars(page, drawn, x, y),
    rings(page, drawn, x, y),
    winnerMark(page, x, y),
  ];
}

/** The undominated among some, in two scores, by the first: what the front line goes through. */
export function staircase(rows, x, y) {
  const known = standing(rows, x, y);
  known.sort((a, b) => place(a, x) - place(b, x) || place(a, y) - place(b, y));
  let lowest = Infinity;
  return known.filter((row) => {
    const better = place(row, y) < lowest;
    if (better) lowest = place(row, y);
    return better;
  });
}

/** Those that have a place on both axes. */
export function standing(rows, x, y) {
  return rows.filter((row) => place(row, x) !== null && place(row, y) !== null);
}

/** Where they stand on an axis, and the ends of their error bars. */
export function reach(rows, axis) {
  return rows.flatMap((row) => {
    const { low = null, high = null } = row.scores[axis] ?? {};
    return [place(row, axis), low, high].filter((value) => value !== null);
  });
}

function cloud(role, drawn, x, y, log) {
  const mark = MARKS[role];
  const rows = standing(drawn, x, y).filter((row) => row.role === role);
  const small = rows.length > DENSE && role !== "front";
  const spots = rows.map((row) => [place(row, x), place(row, y), row.name]);
  return {
    type: "scatter",
    large: small,
    largeThreshold: DENSE,
    symbol: mark.shape,
    symbolSize: small ? SPECK : mark.size,
    itemStyle: {
      color: role === "infeasible" && !small ? "transparent" : colour(mark.colour),
      borderColor: role === "infeasible" ? colour(mark.colour) : colour("ground"),
      borderWidth: role === "infeasible" ? 1.5 : small ? 0 : 0.8,
      opacity: small ? 0.45 : role === "dominated" ? 0.75 : 1,
    },
    label: {
      show: role === "reference" && rows.length <= 12,
      formatter: ({ value }) => value[2],
      color: colour("ink"),
      textBorderColor: colour("card"),
      textBorderWidth: 3,
      fontSize: 12,
    },
    labelLayout: { hideOverlap: true, moveOverlap: "shiftY" },
    emphasis: { disabled: small, scale: 1.3 },
    data: role === "reference" ? spots.map((spot) => towardsMiddle(spot, drawn, x, log.x)) : spots,
    z: { front: 5, reference: 6 }[role] ?? 2,
    cursor: "pointer",
  };
}

/** A name is written to the side on which the frame does not cut it off. */
function towardsMiddle(spot, drawn, x, log) {
  const values = drawn.map((row) => place(row, x)).filter((value) => value !== null);
  const [low, high] = values.reduce(
    ([least, most], value) => [Math.min(least, value), Math.max(most, value)],
    [Infinity, -Infinity],
  );
  const middle = log ? Math.sqrt(low * high) : (low + high) / 2;
  return { value: spot, label: { position: spot[0] > middle ? "left" : "right" } };
}

function frontLine(study, x, y) {
  const steps = staircase(study.complete, x, y);
  return {
    type: "line",
    step: "end",
    silent: true,
    symbol: "none",
    data: steps.map((row) => [place(row, x), place(row, y)]),
    lineStyle: { color: colour("front"), width: 1.5, opacity: 0.7 },
    z: 3,
  };
}

function bars(page, drawn, x, y) {
  const { selection } = page.view.look;
  const rows = drawn
    .filter((row) => ["front", "reference"].includes(row.role) || selection.has(row.name))
    .slice(0, MOST_ERROR_BARS);
  const ends = (row, axis) => {
    const score = row.scores[axis];
    return score === undefined || score.low === null || score.high === null ? null : score;
  };
  const across = rows
    .filter((row) => ends(row, x) && place(row, y) !== null)
    .map((row) => [[ends(row, x).low, place(row, y)], [ends(row, x).high, place(row, y)]]);
  const up = rows
    .filter((row) => ends(row, y) && place(row, x) !== null)
    .map((row) => [[place(row, x), ends(row, y).low], [place(row, x), ends(row, y).high]]);
  return [errorBars(across), errorBars(up)];
}

function rings({ view }, drawn, x, y) {
  const rows = drawn.filter((row) => view.look.selection.has(row.name));
  return {
    type: "scatter",
    silent: true,
    symbol: "circle",
    symbolSize: rows.length > 50 ? 7 : 17,
    itemStyle: { color: "transparent", borderColor: colour("ink"), borderWidth: 2 },
    label: {
      show: rows.length <= 8,
      formatter: ({ data }) => data[2],
      position: "top",
      color: colour("ink"),
      textBorderColor: colour("card"),
      textBorderWidth: 3,
      fontWeight: "bold",
      fontSize: 11,
    },
    data: rows
      .filter((row) => place(row, x) !== null && place(row, y) !== null)
      .map((row) => [place(row, x), place(row, y), row.kind === "reference" ? "" : row.name]),
    z: 7,
  };
}

function winnerMark({ study, view }, x, y) {
  const winner = Object.keys(view.look.budgets).length ? within(study, view.look.budgets) : null;
  const at = winner === null ? [] : [[place(winner, x), place(winner, y)]];
  return {
    type: "scatter",
    silent: true,
    symbol: "pin",
    symbolSize: 34,
    symbolOffset: [0, -4],
    itemStyle: { color: colour("good"), borderColor: colour("ground"), borderWidth: 1 },
    data: at.filter((spot) => spot[0] !== null && spot[1] !== null),
    z: 6,
  };
}

function budgetLines({ study, view }, x, y) {
  const lines = [];
  for (const [axis, place] of [[x, "xAxis"], [y, "yAxis"]]) {
    const most = view.look.budgets[axis];
    if (most !== undefined) lines.push({ [place]: most, name: `${axis} ≤ ${figure(most)}` });
    const asked = study.axis(axis).max;
    if (asked !== null) lines.push({ [place]: asked, name: `study: ≤ ${figure(asked)}` });
  }
  return {
    type: "scatter",
    data: [],
    silent: true,
    markLine: {
      symbol: "none",
      silent: true,
      lineStyle: { color: colour("over"), type: "dashed", width: 1 },
      label: { formatter: ({ name }) => name, color: colour("quiet"), position: "insideEndTop" },
      data: lines,
    },
  };
}
