// The series of the front's chart: trials by role, error bars, the front line and the selection.

import { bestWithin } from "./budget.js";
import { errorBars, SMALL_POINT } from "./chart.js";
import { colour, HOLLOW, MARKS } from "./colours.js";
import { figure } from "./format.js";
import { axisValue } from "./study.js";

const MAX_ERROR_BARS = 200; // more would be unreadable
const MAX_LARGE_POINTS = 400; // more points are drawn as small squares

/**
 * Returns the series of the chart. The third value of a trial's point is its name.
 * @param {import("./draw.js").Page} page
 * @param {import("./study.js").Row[]} shown
 * @param {string} x the name of a score
 * @param {string} y the name of a score
 * @param {{x: boolean, y: boolean}} log which axes are logarithmic
 */
export function scatter(page, shown, x, y, log) {
  return [
    ...Object.keys(MARKS).map((role) => points(role, shown, x, y, log)),
    budgetLines(page, x, y),
    frontLine(page.study, x, y),
    ...bars(page, shown, x, y),
    rings(page, shown, x, y),
    winnerMark(page, x, y),
    hollow(shown, x, y),
  ];
}

/**
 * Returns the trials that are not dominated in two scores, sorted by the first: the front line.
 * A trial with a provisional score dominates none, so it is left out.
 */
export function staircase(rows, x, y) {
  const known = rowsWithScores(rows, x, y).filter((row) => !row.scores[x]?.provisional && !row.scores[y]?.provisional);
  known.sort((a, b) => axisValue(a, x) - axisValue(b, x) || axisValue(a, y) - axisValue(b, y));
  let lowest = Infinity;
  return known.filter((row) => {
    const better = axisValue(row, y) < lowest;
    if (better) lowest = axisValue(row, y);
    return better;
  });
}

/** Returns the trials that have a value on both axes. */
export function rowsWithScores(rows, x, y) {
  return rows.filter((row) => axisValue(row, x) !== null && axisValue(row, y) !== null);
}

/** Returns the values of trials on an axis, and the ends of their error bars. */
export function valuesAlong(rows, axis) {
  return rows.flatMap((row) => {
    const { low = null, high = null } = row.scores[axis] ?? {};
    return [axisValue(row, axis), low, high].filter((value) => value !== null);
  });
}

function points(role, shown, x, y, log) {
  const mark = MARKS[role];
  const rows = rowsWithScores(shown, x, y).filter((row) => row.role === role && !isHollow(row));
  const small = rows.length > MAX_LARGE_POINTS && role !== "front";
  const data = rows.map((row) => [axisValue(row, x), axisValue(row, y), row.name]);
  return {
    type: "scatter",
    large: small,
    largeThreshold: MAX_LARGE_POINTS,
    symbol: mark.shape,
    symbolSize: small ? SMALL_POINT : mark.size,
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
    data: role === "reference" ? data.map((point) => labelledInwards(point, shown, x, log.x)) : data,
    z: { front: 5, reference: 6 }[role] ?? 2,
    cursor: "pointer",
  };
}

/** Returns the trials with a provisional score, hollow, in the shapes and colours of their roles. */
function hollow(shown, x, y) {
  const rows = rowsWithScores(shown, x, y).filter(isHollow);
  return {
    type: "scatter",
    data: rows.map((row) => {
      const { shape, size, colour: name } = MARKS[row.role];
      return {
        value: [axisValue(row, x), axisValue(row, y), row.name],
        symbol: shape,
        symbolSize: rows.length > MAX_LARGE_POINTS ? SMALL_POINT : size,
        itemStyle: { color: colour("card"), borderColor: colour(name), borderWidth: HOLLOW.width },
        label: { show: row.role === "reference" },
      };
    }),
    label: {
      formatter: ({ value }) => value[2],
      position: "right",
      color: colour("ink"),
      textBorderColor: colour("card"),
      textBorderWidth: 3,
      fontSize: 12,
    },
    z: 5,
    cursor: "pointer",
  };
}

/** Returns whether a trial is drawn hollow; the mark of infeasible trials has no inside. */
function isHollow(row) {
  return row.provisional && row.role !== "infeasible";
}

/** Places a label on the side of the point where the frame does not cut it off. */
function labelledInwards(point, shown, x, log) {
  const values = shown.map((row) => axisValue(row, x)).filter((value) => value !== null);
  const [low, high] = values.reduce(
    ([least, most], value) => [Math.min(least, value), Math.max(most, value)],
    [Infinity, -Infinity],
  );
  const middle = log ? Math.sqrt(low * high) : (low + high) / 2;
  return { value: point, label: { position: point[0] > middle ? "left" : "right" } };
}

function frontLine(study, x, y) {
  const steps = staircase(study.complete, x, y);
  return {
    type: "line",
    step: "end",
    silent: true,
    symbol: "none",
    data: steps.map((row) => [axisValue(row, x), axisValue(row, y)]),
    lineStyle: { color: colour("front"), width: 1.5, opacity: 0.7 },
    z: 3,
  };
}

function bars(page, shown, x, y) {
  const { selection } = page.view.state;
  const rows = shown
    .filter((row) => ["front", "reference"].includes(row.role) || selection.has(row.name))
    .slice(0, MAX_ERROR_BARS);
  const ends = (row, axis) => {
    const score = row.scores[axis];
    return score === undefined || score.low === null || score.high === null ? null : score;
  };
  const horizontal = rows
    .filter((row) => ends(row, x) && axisValue(row, y) !== null)
    .map((row) => [[ends(row, x).low, axisValue(row, y)], [ends(row, x).high, axisValue(row, y)]]);
  const vertical = rows
    .filter((row) => ends(row, y) && axisValue(row, x) !== null)
    .map((row) => [[axisValue(row, x), ends(row, y).low], [axisValue(row, x), ends(row, y).high]]);
  return [errorBars(horizontal), errorBars(vertical)];
}

/** Rings around the selected trials. */
function rings({ view }, shown, x, y) {
  const rows = shown.filter((row) => view.state.selection.has(row.name));
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
    data: rowsWithScores(rows, x, y)
      .map((row) => [axisValue(row, x), axisValue(row, y), row.kind === "reference" ? "" : row.name]),
    z: 7,
  };
}

function winnerMark({ study, view }, x, y) {
  const { budgets } = view.state;
  const winner = Object.keys(budgets).length ? bestWithin(study, budgets) : null;
  return {
    type: "scatter",
    silent: true,
    symbol: "pin",
    symbolSize: 34,
    symbolOffset: [0, -4],
    itemStyle: { color: colour("good"), borderColor: colour("ground"), borderWidth: 1 },
    data: rowsWithScores(winner === null ? [] : [winner], x, y)
      .map((row) => [axisValue(row, x), axisValue(row, y)]),
    z: 6,
  };
}

function budgetLines({ study, view }, x, y) {
  const lines = [];
  for (const [axis, side] of [[x, "xAxis"], [y, "yAxis"]]) {
    const limit = view.state.budgets[axis];
    if (limit !== undefined) lines.push({ [side]: limit, name: `${axis} ≤ ${figure(limit)}` });
    const { max } = study.axis(axis);
    if (max !== null) lines.push({ [side]: max, name: `study: ≤ ${figure(max)}` });
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
