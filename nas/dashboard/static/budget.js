// Budgets: sliders that select the best trial within limits, and commands that export it.

import { facts } from "./card.js";
import { button, choice, element, fill, section } from "./dom.js";
import { axisTitle, figure, scoreText, studyCommand } from "./format.js";
import { strip } from "./layout.js";
import { axisValue, title } from "./study.js";

const MAX_SLIDERS = 6;

/**
 * Returns the complete trial with the smallest first objective among those within every budget.
 * @param {import("./study.js").Study} study
 * @param {Readonly<Record<string, number>>} budgets upper limits, by score
 * @returns {import("./study.js").Row | null}
 */
export function bestWithin(study, budgets) {
  const goal = study.axes[0]?.name;
  const limits = Object.entries(budgets);
  let best = null;
  for (const row of study.complete) {
    const fits = limits.every(([score, limit]) => (row.scores[score]?.value ?? Infinity) <= limit);
    if (!fits || axisValue(row, goal) === null) continue;
    const [value, lowest] = [axisValue(row, goal), best && axisValue(best, goal)];
    if (best === null || value < lowest || (value === lowest && row.number < best.number)) best = row;
  }
  return best;
}

/** @param {import("./draw.js").Page} page */
export function budgetSection(page) {
  const sliders = element("div", { class: "sliders" });
  const winner = element("div", { class: "winner", "aria-live": "polite" });
  const status = element("p", { class: "export-status", role: "status" });
  /** @type {string | null} the selected export format; null for the default */
  let selectedFormat = null;
  /** @type {Map<string, (limit: number | undefined) => void>} */
  const setters = new Map();

  function drawSliders() {
    const scores = sliderAxes(page.study);
    // While a slider is being moved it is kept, and only its range is updated.
    const keep = sliders.contains(document.activeElement) && setters.size === scores.length;
    if (!keep) {
      setters.clear();
      fill(sliders, ...scores.map((axis) => slider(page, axis, setters)));
    }
    drawWinner();
  }

  function drawWinner() {
    const { study, view } = page;
    const { budgets } = view.state;
    for (const [score, set] of setters) set(budgets[score]);
    const limits = Object.entries(budgets).map(([score, limit]) => `${score} ≤ ${figure(limit)}`).join(", ");
    const best = bestWithin(study, budgets);
    if (best === null) {
      const none = study.complete.length
        ? `No complete trial has ${limits}.`
        : "No trial is complete yet.";
      fill(winner, element("p", {}, none));
      return;
    }
    const goal = study.axes[0].name;
    const formats = study.exportFormats.map(({ name, summary }) => [name, `${name}: ${summary}`]);
    const format = selectedFormat ?? study.exportFormats[0].name;
    const command = exportCommand(page, best, format);
    fill(
      winner,
      element(
        "p",
        {},
        element("span", { class: "quiet" }, `Lowest ${goal}${limits && ` with ${limits}`}: `),
        element("b", { class: "winner-name" }, title(best)),
      ),
      strip(study.mixers, best.architecture.layout),
      facts([study.axes[0], ...sliderAxes(study)]
        .filter((axis) => best.scores[axis.name])
        .map((axis) => [axisTitle(axis), scoreText(best.scores[axis.name])])),
      element("code", { class: "command" }, command),
      element(
        "div",
        { class: "controls" },
        choice("Format", formats, format, (value) => {
          selectedFormat = value;
          drawWinner();
        }),
        button("Copy command", async () => {
          await navigator.clipboard.writeText(command);
          status.textContent = "Copied.";
        }),
        button("Select", () => page.view.select([best.name])),
        page.exporter === null ? null : exportButton(page, best, format, status),
      ),
      status,
    );
  }

  return {
    element: section(
      "budget",
      "Within a budget",
      "Set limits to find the best trial that respects them. It is marked in the chart.",
      sliders,
      element(
        "div",
        { class: "controls" },
        button("Clear all budgets", () => page.view.change({ budgets: {} })),
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

function exportButton(page, row, format, status) {
  const made = button("Export", async () => {
    made.disabled = true;
    status.textContent = `Exporting ${title(row)} …`;
    try {
      const { path, remark, next } = await page.exporter.write(page.study.name, row.name, format);
      status.textContent = `Wrote ${path}. ${remark ?? ""} Next: ${next.join("  or  ")}`;
    } catch (error) {
      status.textContent = `Export failed. ${error.message}`;
    } finally {
      made.disabled = false;
    }
  });
  made.classList.add("strong");
  return made;
}

/** @param {import("./draw.js").Page} page */
function exportCommand(page, row, format) {
  return studyCommand(page, "nas", "export", page.study.name, row.name, "--format", format);
}

/** Returns the scores that have a slider: all objectives but the first, then other limits of a deployment. */
function sliderAxes(study) {
  const deployment = ["memory", "size", "decode", "prefill", "parameters"];
  const others = study.axes.slice(1);
  const chosen = others.filter((axis) => axis.objective || axis.max !== null);
  const more = others.filter((axis) => deployment.includes(axis.name) && !chosen.includes(axis));
  return [...chosen, ...more].slice(0, MAX_SLIDERS);
}

/** Makes a slider whose steps are the values of the trials. */
function slider(page, axis, setters) {
  const values = () =>
    page.study.complete
      .map((row) => row.scores[axis.name]?.value)
      .filter((value) => value !== undefined)
      .sort((a, b) => a - b);
  const range = element("input", { type: "range", min: 0, step: 1, "aria-label": `Maximum ${axisTitle(axis)}` });
  const number = element("input", { type: "number", min: 0, step: "any", "aria-label": `Maximum ${axisTitle(axis)}, as a number` });
  const change = (limit) => {
    const budgets = { ...page.view.state.budgets };
    if (limit === null) delete budgets[axis.name];
    else budgets[axis.name] = limit;
    page.view.change({ budgets });
  };
  range.addEventListener("input", () => {
    const steps = values();
    change(Number(range.value) >= steps.length ? null : roundedUp(steps[Number(range.value)]));
  });
  number.addEventListener("change", () => change(number.value === "" ? null : Number(number.value)));
  setters.set(axis.name, (limit) => {
    const steps = values();
    range.max = String(steps.length);
    range.disabled = steps.length === 0;
    const within = steps.filter((value) => limit === undefined || value <= limit).length;
    range.value = String(limit === undefined ? steps.length : Math.max(0, within - 1));
    range.setAttribute("aria-valuetext", limit === undefined ? "no budget" : figure(limit));
    if (document.activeElement !== number) number.value = limit === undefined ? "" : String(limit);
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

/** Rounds up, so that the trial with this value stays within the limit. */
function roundedUp(value) {
  const unit = 10 ** (Math.floor(Math.log10(Math.abs(value) || 1)) - 3);
  return Number((Math.ceil(value / unit) * unit).toPrecision(5));
}
