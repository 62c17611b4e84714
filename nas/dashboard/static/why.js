// Why: which choices matter, where attention sits in good layouts, and what its number is worth.

import { Chart, errorBars, tooltip, valueAxis } from "./chart.js";
import { colour } from "./colours.js";
import { element, fill, section } from "./dom.js";
import { counted, figure, percent } from "./format.js";
import { LETTERS } from "./layout.js";

const MOST_CHOICES = 8;

/** @param {import("./draw.js").Page} page */
export function whySection(page) {
  const body = element("div", { class: "columns" });
  const chart = new Chart("");
  const lead = element("p", { class: "quiet" });
  const said = element("ul", { class: "findings" });

  function drawLead() {
    const { why, study } = page;
    if (why === null) {
      lead.textContent = "Being worked out …";
      return;
    }
    const now = study.complete.length;
    const old = why.trials < now ? ` Updating: ${counted(now, "trial")} are complete by now.` : "";
    const from = `From ${counted(why.trials, "complete trial")}.${old} The figure of a choice is its ${why.method}.`;
    lead.textContent = why.said === null ? from : `${why.said}${old}`;
  }

  function draw() {
    const { why } = page;
    drawLead();
    if (why === null) {
      fill(body);
      fill(said);
      return;
    }
    fill(said, ...why.findings.map((finding) => element("li", {}, finding)));
    const parts = why.importances.map(importances);
    if (why.places !== null) parts.push(places(why.places));
    if (why.attention.length) parts.push(attention(why));
    fill(body, ...parts);
    if (why.attention.length) drawAttention(chart, why);
  }

  function attention(why) {
    const [goal, speed] = why.equal;
    return element(
      "figure",
      {},
      element(
        "figcaption",
        {},
        element("b", {}, "Number of attention layers"),
        ` and ${goal}, against others of the same ${speed}`,
      ),
      chart.element,
    );
  }

  return {
    element: section("why", "Why", "What the trials say about the choices.", lead, said, body),
    /** @param {import("./draw.js").Change} change */
    draw(change) {
      if (change.document) {
        page.askWhy();
        drawLead();
      }
      if (change.why || change.theme) draw();
    },
  };
}

function importances({ objective, explained, choices }) {
  const longest = Math.max(...choices.map((each) => each.high), 0.01);
  const lines = choices.slice(0, MOST_CHOICES).map(({ choice, share, low, high }) => {
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
      element("td", { class: "number", title: `${percent(low)} to ${percent(high)}` }, percent(share)),
    );
  });
  return element(
    "figure",
    {},
    element(
      "figcaption",
      {},
      element("b", {}, `What ${objective} hangs on`),
      ` (the choices foretell ${percent(explained)} of it)`,
    ),
    element("table", { class: "plain" }, element("tbody", {}, ...lines)),
  );
}

/** Good layouts above the others, a column each tenth of the depth. */
function places({ letters, best, rest, best_trials, rest_trials }) {
  const bodies = [
    [`best ${best_trials}`, best],
    [`other ${rest_trials}`, rest],
  ].map(([title, shares]) =>
    element(
      "tbody",
      {},
      element("tr", {}, element("th", { colspan: 11, scope: "rowgroup" }, title)),
      ...letters.map((letter, index) => heatLine(letter, shares[index])),
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
      element("b", {}, "Where each mixer sits"),
      "in % of the layers in each tenth of the depth",
    ),
    element(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Mixers over the depth" },
      element(
        "table",
        { class: "heat" },
        element("thead", {}, element("tr", {}, element("td", {}), ...tenths)),
        ...bodies,
      ),
    ),
  );
}

function heatLine(letter, shares) {
  const { name, kind } = LETTERS[letter] ?? { name: letter, kind: "none" };
  const cells = shares.map((share) => {
    const cell = element("td", { class: kind }, element("span", {}, Math.round(100 * share)));
    cell.style.setProperty("--share", `${Math.round(100 * share)}%`);
    return cell;
  });
  return element("tr", {}, element("th", { scope: "row" }, name), ...cells);
}

function drawAttention(chart, { attention, equal }) {
  const [goal] = equal;
  const known = attention.filter((each) => each.low !== null && each.high !== null);
  chart.label = attention
    .map((each) => `${counted(each.layers, "attention layer")}: ${figure(each.difference)}`)
    .join("; ");
  chart.draw({
    grid: { left: 58, right: 12, top: 12, bottom: 44 },
    tooltip: tooltip(({ data }) =>
      data ? `${counted(data[0], "layer")}: ${figure(data[1])}\n${counted(data[2], "trial")}` : ""),
    xAxis: valueAxis("attention layers", { minInterval: 1 }),
    yAxis: valueAxis(`${goal}, above (+) or below usual`, { nameGap: 44 }),
    series: [
      errorBars(known.map(({ layers, low, high }) => [[layers, low], [layers, high]])),
      {
        type: "line",
        symbolSize: 9,
        data: attention.map(({ layers, difference, trials }) => [layers, difference, trials]),
        lineStyle: { color: colour("attention"), width: 1 },
        itemStyle: { color: colour("attention") },
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
