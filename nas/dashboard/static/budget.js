// Budgets: sliders that name the best trial within them, the command that exports it, and a button.

import { facts } from "./card.js";
import { button, choice, element, fill, section } from "./dom.js";
import { axisTitle, figure, scoreText, shellWord } from "./format.js";
import { strip } from "./layout.js";
import { place, title } from "./study.js";

const MOST_SLIDERS = 6;
const FORMATS = [
  ["json", "json: the architecture"],
  ["torch", "torch: one Python file"],
  ["hf", "hf: transformers"],
  ["onnx", "onnx: onnxruntime"],
  ["gguf", "gguf: llama.cpp"],
];

/**
 * The complete trial with the smallest first objective that is within every budget.
 * @param {import("./study.js").Study} study
 * @param {Readonly<Record<string, number>>} budgets
 * @returns {import("./study.js").Row | null}
 */
export function within(study, budgets) {
  const goal = study.axes[0]?.name;
  const limits = Object.entries(budgets);
  let best = null;
  for (const row of study.complete) {
    const fits = limits.every(([score, most]) => (row.scores[score]?.value ?? Infinity) <= most);
    if (!fits || place(row, goal) === null) continue;
    const better = best === null || place(row, goal) < place(best, goal);
    if (better || (place(row, goal) === place(best, goal) && row.number < best.number)) best = row;
  }
  return best;
}

/** @param {import("./draw.js").Page} page */
export function budgetSection(page) {
  const sliders = element("div", { class: "sliders" });
  const winner = element("div", { class: "winner", "aria-live": "polite" });
  const written = element("p", { class: "export-said", role: "status" });
  let format = "json";
  /** @type {Map<string, (most: number | undefined) => void>} */
  const shows = new Map();

  function drawSliders() {
    const scores = slid(page.study);
    // A slider that is being moved stays: only its range follows the study.
    const kept = sliders.contains(document.activeElement) && shows.size === scores.length;
    if (!kept) {
      shows.clear();
      fill(sliders, ...scores.map((axis) => slider(page, axis, shows)));
    }
    drawWinner();
  }

  function drawWinner() {
    const { study, view } = page;
    const { budgets } = view.look;
    for (const [score, show] of shows) show(budgets[score]);
    const asked = Object.entries(budgets);
    const said = asked.map(([score, most]) => `${score} ≤ ${figure(most)}`).join(", ");
    const best = within(study, budgets);
    if (best === null) {
      const none = study.complete.length
        ? `No complete trial has ${said}.`
        : "No trial is complete yet, so there is no winner.";
      fill(winner, element("p", {}, none));
      return;
    }
    const goal = study.axes[0].name;
    const command = exportCommand(page, best, format);
    fill(
      winner,
      element(
        "p",
        {},
        element("span", { class: "quiet" }, `Lowest ${goal}${said && ` with ${said}`}: `),
        element("b", { class: "winner-name" }, title(best)),
      ),
      strip(best.architecture.layout),
      facts([study.axes[0], ...slid(study)]
        .filter((axis) => best.scores[axis.name])
        .map((axis) => [axisTitle(axis), scoreText(best.scores[axis.name])])),
      element("code", { class: "command" }, command),
      element(
        "div",
        { class: "controls" },
        choice("Format", FORMATS, format, (value) => {
          format = value;
          drawWinner();
        }),
        button("Copy command", async () => {
          await navigator.clipboard.writeText(command);
          written.textContent = "Copied.";
        }),
        button("Select it", () => page.view.select([best.name])),
        page.exporter === null ? null : exportButton(page, best, () => format, written),
      ),
      written,
    );
  }

  return {
    element: section(
      "budget",
      "Within a budget",
      "Move a slider: the best trial that stays below it is named and marked in the chart.",
      sliders,
      element(
        "div",
        { class: "controls" },
        button("Lift all budgets", () => page.view.change({ budgets: {} })),
      ),
      winner,
    ),
    /** @param {import("./draw.js").Change} change */
    draw(change) {
      if (change.document) drawSliders();
      else if (change.budgets) drawWinner();
    },
  };
}

function exportButton(page, row, format, said) {
  const made = button("Export", async () => {
    made.disabled = true;
    said.textContent = `Writing ${title(row)} …`;
    try {
      const { path, remark, next } = await page.exporter.write(page.study.name, row.name, format());
      said.textContent = `Wrote ${path}. ${remark ?? ""} Next: ${next.join("  or  ")}`;
    } catch (mistake) {
      said.textContent = `Not written. ${mistake.message}`;
    } finally {
      made.disabled = false;
    }
  });
  made.classList.add("strong");
  return made;
}

/** @param {import("./draw.js").Page} page */
function exportCommand({ study, storages }, row, format) {
  const words = ["nas", "export", study.name, row.name, "--format", format];
  const storage = storages.get(study.name) ?? null;
  if (storage !== null) words.push("--storage", storage);
  return words.map(shellWord).join(" ");
}

/** The scores worth a slider: objectives but the first, then what else bounds a deployment. */
function slid(study) {
  const wanted = ["memory", "size", "decode", "prefill", "parameters"];
  const others = study.axes.slice(1);
  const chosen = others.filter((axis) => axis.objective || axis.max !== null);
  const more = others.filter((axis) => wanted.includes(axis.name) && !chosen.includes(axis));
  return [...chosen, ...more].slice(0, MOST_SLIDERS);
}

/** Each step of a slider goes to the next value that some trial has. */
function slider(page, axis, shows) {
  const values = () =>
    page.study.complete
      .map((row) => row.scores[axis.name]?.value)
      .filter((value) => value !== undefined)
      .sort((a, b) => a - b);
  const range = element("input", { type: "range", min: 0, step: 1, "aria-label": `Most ${axisTitle(axis)}` });
  const number = element("input", { type: "number", min: 0, step: "any", "aria-label": `Most ${axisTitle(axis)}, as a number` });
  const set = (most) => {
    const budgets = { ...page.view.look.budgets };
    if (most === null) delete budgets[axis.name];
    else budgets[axis.name] = most;
    page.view.change({ budgets });
  };
  range.addEventListener("input", () => {
    const steps = values();
    set(Number(range.value) >= steps.length ? null : rounded(steps[Number(range.value)]));
  });
  number.addEventListener("change", () => set(number.value === "" ? null : Number(number.value)));
  shows.set(axis.name, (most) => {
    const steps = values();
    range.max = String(steps.length);
    range.disabled = steps.length === 0;
    const under = steps.filter((value) => most === undefined || value <= most).length;
    range.value = String(most === undefined ? steps.length : Math.max(0, under - 1));
    range.setAttribute("aria-valuetext", most === undefined ? "no budget" : figure(most));
    if (document.activeElement !== number) number.value = most === undefined ? "" : String(most);
    number.placeholder = "any";
  });
  return element(
    "div",
    { class: "slider" },
    element("span", { class: "slider-name" }, axisTitle(axis)),
    range,
    number,
  );
}

/** Upwards, so that the trial it comes from stays within. */
function rounded(value) {
  const unit = 10 ** (Math.floor(Math.log10(Math.abs(value) || 1)) - 3);
  return Number((Math.ceil(value / unit) * unit).toPrecision(5));
}
