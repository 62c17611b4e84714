// Downloads of trials: CSV for spreadsheets, JSON for programs.

import { axisValue } from "./study.js";

const SHAPE = [
  "hash",
  "layout",
  "parameters",
  "depth",
  "width",
  "feed_forward",
  "heads",
  "kv_heads",
  "head_dim",
  "kernel",
  "window",
  "vocab_size",
  "embedding_width",
  "embedding_share",
];

/** @param {import("./study.js").Study} study @param {import("./study.js").Row[]} rows */
export function asCsv(study, rows) {
  const scores = study.axes.map((axis) => axis.name).filter((name) => !SHAPE.includes(name));
  const heads = ["trial", "kind", "state", "role", "reason", "seconds", "provisional", "unsure_limits"];
  const lines = [[...heads, ...scores.flatMap((name) => [name, `${name}_low`, `${name}_high`]), ...SHAPE]];
  for (const row of rows) {
    lines.push([
      ...[row.name, row.kind, row.state, row.role, row.reason, row.seconds],
      scores.filter((name) => row.scores[name]?.provisional).join(" "),
      row.unsure_limits.join(" "),
      ...scores.flatMap((name) => {
        const score = row.scores[name];
        return [score?.value ?? null, score?.low ?? null, score?.high ?? null];
      }),
      ...SHAPE.map((fact) => row.architecture[fact]),
    ]);
  }
  const letters = study.mixers.map((mixer) => mixer.letter);
  return `${lines.map((line) => line.map((value) => cell(value, letters)).join(",")).join("\r\n")}\r\n`;
}

/** @param {import("./study.js").Study} study @param {import("./study.js").Row[]} rows */
export function asJson(study, rows) {
  const trials = rows.map((row) => ({
    trial: row.name,
    kind: row.kind,
    state: row.state,
    role: row.role,
    reason: row.reason,
    unsure_limits: row.unsure_limits,
    seconds: row.seconds,
    scores: row.scores,
    architecture: row.architecture,
    curve: row.curve,
    estimated_loss: row.scores.loss === undefined ? axisValue(row, "loss") : null,
  }));
  return `${JSON.stringify({ study: study.name, trials }, null, 1)}\n`;
}

/** @param {string} name @param {string} text @param {string} type */
export function download(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name.replaceAll(/[^\w.-]+/g, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function cell(value, letters) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  // A spreadsheet would run a text with one of these first characters as a formula. A layout may
  // start with a dash, and consists of the letters of mixers only.
  const isLayout = [...value].every((character) => letters.includes(character));
  const text = /^[=+@\t\r-]/.test(value) && !isLayout ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
