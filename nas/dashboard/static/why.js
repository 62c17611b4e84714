// Which choices matter: their importance, where good layouts use each mixer, and how many attention layers help.

import { Chart, errorBars, tooltip, valueAxis } from "./chart.js";
import { colour } from "./colours.js";
import { element, fill, section } from "./dom.js";
import { counted, figure, percent } from "./format.js";
import { setMixerColour } from "./layout.js";

const MAX_CHOICES = 8;

/** @param {import("./draw.js").Page} page */
export function whySection(page) {
  const body = element("div", { class: "columns" });
  const chart = new Chart("");
  const lead = element("p", { class: "quiet" });
  const findings = element("ul", { class: "findings" });

  function drawLead() {
    const { why, study } = page;
    if (why === null) {
      lead.textContent = "Computing …";
      return;
    }
    const now = study.complete.length;
    const outdated = why.trials < now ? ` Updating: ${counted(now, "trial")} are complete now.` : "";
    const basis =
      `Based on ${counted(why.trials, "complete trial")}.${outdated} ${why.method}`;
    lead.textContent = why.note === null ? basis : `${why.note}${outdated}`;
  }

  function draw() {
    const { why, study } = page;
    drawLead();
    if (why === null) {
      fill(body);
      fill(findings);
      return;
    }
    fill(findings, ...why.findings.map((finding) => element("li", {}, finding)));
    const parts = why.effects?.effects.length ? [effectsFigure(why.effects)] : [];
    parts.push(...why.importances.map(importances));
    if (why.placement !== null) parts.push(placement(why.placement, study.mixers));
    if (why.attention.length) parts.push(attentionFigure(why));
    fill(body, ...parts);
    if (why.attention.length) drawAttention(chart, why, study.mixers);
  }

  function attentionFigure(why) {
    const [goal, other] = why.objectives;
    return element(
      "figure",
      {},
      element(
        "figcaption",
        {},
        element("b", {}, "Number of attention layers"),
        ` and ${goal} at equal ${other}, with 95 % confidence intervals`,
      ),
      chart.element,
    );
  }

  return {
    element: section(
      "why",
      "Which choices matter",
      "How the choices of the search space affect the objectives.",
      lead,
      findings,
      body,
    ),
    /** @param {import("./draw.js").Change} change */
    draw(change) {
      if (change.document) {
        page.requestWhy();
        drawLead();
      }
      if (change.why || change.theme) draw();
    },
  };
}

function importances({ objective, explained, choices }) {
  const longest = Math.max(...choices.map((each) => each.high), 0.01);
  const lines = choices.slice(0, MAX_CHOICES).map(({ choice, share, low, high }) => {
    const bar = element("span", { class: "bar" });
    bar.style.width = `${(100 * share) / longest}%`;
    const spread = element("span", { class: "spread" });
    spread.style.left = `${(100 * low) / longest}%`;
    spread.style.width = `${(100 * (high - low)) / longest}%`;
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, choice),
      element("td", { class: "bars" }, element("span", { class: "track" }, bar, spread)),
      element("td", { class: "number", title: `95 % interval over the random splits: ${percent(low)} to ${percent(high)}` }, percent(share)),
    );
  });
  return element(
    "figure",
    {},
    element(
      "figcaption",
      {},
      element("b", {}, `Importance for ${objective}`),
      ` (the choices explain ${percent(explained)} of its variance)`,
    ),
    element("table", { class: "plain" }, element("tbody", {}, ...lines)),
  );
}

/** Makes a chart with one line per choice: its largest effect as a dot, with the interval. */
function effectsFigure({ objective, unit, effects, method }) {
  const shown = effects.map(({ choice, summary, distinguishable, comparisons }) => ({
    choice,
    distinct: distinguishable,
    ...comparisons[summary],
  }));
  const least = Math.min(0, ...shown.map((each) => each.low));
  const range = Math.max(0, ...shown.map((each) => each.high)) - least || 1;
  const place = (value) => `${(100 * (value - least)) / range}%`;
  const lines = shown.map(({ choice, distinct, change, text, difference, low, high, architectures }) => {
    const zero = element("span", { class: "zero" });
    const spread = element("span", { class: "spread" });
    const dot = element("span", { class: "dot" });
    zero.style.left = place(0);
    spread.style.left = place(low);
    spread.style.width = `${(100 * (high - low)) / range}%`;
    dot.style.left = place(difference);
    const title = `${change}: ${text} ${unit}, averaged over ${counted(architectures, "architecture")}`;
    return element(
      "tr",
      { class: distinct ? "" : "indistinct", title },
      element("th", { scope: "row" }, choice, element("small", {}, change)),
      element("td", { class: "bars" }, element("span", { class: "interval" }, zero, spread, dot)),
      element("td", {}, distinct ? text : "not distinguishable"),
    );
  });
  return element(
    "figure",
    { class: "wide" },
    element(
      "figcaption",
      {},
      element("b", {}, `Effect on ${objective}`),
      ` in ${unit}, with 95 % intervals; left of the line is better. ${method}`,
    ),
    element("table", { class: "plain effects" }, element("tbody", {}, ...lines)),
  );
}

/** Makes a heat map: the best layouts above the others, with one column per tenth of the depth. */
function placement({ letters, best, rest, best_trials, rest_trials }, mixers) {
  const bodies = [
    [`best ${counted(best_trials, "layout")}`, best],
    [`other ${counted(rest_trials, "layout")}`, rest],
  ].map(([title, shares]) =>
    element(
      "tbody",
      {},
      element("tr", {}, element("th", { colspan: 11, scope: "rowgroup" }, title)),
      ...letters.map((letter, index) =>
        heatLine(mixers.find((mixer) => mixer.letter === letter), shares[index])),
    ),
  );
  const tenths = Array.from({ length: 10 }, (_, tenth) =>
    element("th", { scope: "col" }, tenth === 0 ? "first" : tenth === 9 ? "last" : ""),
  );
  return element(
    "figure",
    { class: "wide" },
    element(
      "figcaption",
      {},
      element("b", {}, "Where each mixer is used"),
      " in % of the layers in each tenth of the depth",
    ),
    element(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Mixers by depth" },
      element(
        "table",
        { class: "heat" },
        element("thead", {}, element("tr", {}, element("td", {}), ...tenths)),
        ...bodies,
      ),
    ),
  );
}

function heatLine(mixer, shares) {
  const cells = shares.map((share) => {
    const cell = element("td", {}, element("span", {}, Math.round(100 * share)));
    setMixerColour(cell, mixer);
    cell.style.setProperty("--share", `${Math.round(100 * share)}%`);
    return cell;
  });
  return element("tr", {}, element("th", { scope: "row" }, mixer.name), ...cells);
}

function drawAttention(chart, { attention, objectives }, mixers) {
  const [goal] = objectives;
  const hue = mixers.find((mixer) => mixer.attention)?.colour ?? colour("quiet");
  const known = attention.filter((each) => each.low !== null && each.high !== null);
  chart.label = attention
    .map((each) => `${counted(each.layers, "attention layer")}: ${figure(each.difference)}`)
    .join("; ");
  chart.draw({
    grid: { left: 58, right: 12, top: 12, bottom: 44 },
    tooltip: tooltip(({ data }) =>
      data ? `${counted(data[0], "layer")}: ${figure(data[1])}\n${counted(data[2], "trial")}` : ""),
    xAxis: valueAxis("attention layers", { minInterval: 1 }),
    yAxis: valueAxis(`${goal} relative to typical`, { nameGap: 44 }),
    series: [
      errorBars(known.map(({ layers, low, high }) => [[layers, low], [layers, high]])),
      {
        type: "line",
        symbolSize: 9,
        data: attention.map(({ layers, difference, trials }) => [layers, difference, trials]),
        lineStyle: { color: hue, width: 1 },
        itemStyle: { color: hue },
        markLine: {
          symbol: "none",
          silent: true,
          label: { show: false },
          lineStyle: { color: colour("quiet"), type: "dashed" },
          data: [{ yAxis: 0 }],
        },
      },
    ],
  });
}
