// The page of some studies: makes its sections, and redraws those that a change concerns.

import { budgetSection } from "./budget.js";
import { themeButton, watchTheme } from "./colours.js";
import { compareSection } from "./compare.js";
import { choice, element, fill } from "./dom.js";
import { findingsSection } from "./findings.js";
import { frontSection } from "./front.js";
import { overviewSection } from "./overview.js";
import { parallelSection } from "./parallel.js";
import { progressSection } from "./progress.js";
import { studiesSection } from "./studies.js";
import { Study } from "./study.js";
import { trialsSection } from "./trials.js";
import { trustSection } from "./trust.js";
import { View } from "./view.js";
import { whySection } from "./why.js";

/**
 * @typedef {{write: (study: string, trial: string, format: string) =>
 *   Promise<{path: string, remark: string | null, next: string[]}>}} Exporter
 *
 * @typedef {Object} Page what the sections draw from
 * @property {Map<string, Study>} studies
 * @property {Study} study the one that is looked at
 * @property {View} view
 * @property {boolean} live whether more will come
 * @property {any} why null until it is there
 * @property {() => void} askWhy has it brought, or brought anew, where it can be
 * @property {Exporter | null} exporter null where nothing can be written
 * @property {Map<string, string | null>} storages what `--storage` has to be, by study
 *
 * @typedef {{document?: boolean, why?: boolean, selection?: boolean, budgets?: boolean,
 *   axes?: boolean, hidden?: boolean, theme?: boolean, studies?: boolean}} Change
 *   what is new since a section was drawn
 *
 * @typedef {{element: HTMLElement, draw: (change: Change) => void}} Section
 */

const FRAME_MS = 8;
const EVERYTHING = {
  document: true,
  why: true,
  selection: true,
  budgets: true,
  axes: true,
  hidden: true,
  theme: true,
  studies: true,
};

/**
 * Draws whole documents, and needs no network.
 * @param {any[]} documents one a study, whole
 * @param {Object} options
 * @param {HTMLElement} options.into is filled
 * @param {boolean} options.live whether more will come
 * @param {Map<string, any>} [options.whys] by study
 * @param {Exporter | null} [options.exporter]
 * @param {(study: Study) => void} [options.explain] has `explain` of what is returned called
 * @param {Map<string, string | null>} [options.storages]
 */
export function drawStudy(documents, options) {
  const { into, live, whys = new Map(), exporter = null, storages = new Map(), explain = () => {} } = options;
  const studies = new Map(documents.map((document) => [document.study, new Study(document)]));
  const view = new View(documents[0].study);
  if (!studies.has(view.look.study)) view.look = { ...view.look, study: documents[0].study };
  /** @type {Page} */
  const page = {
    studies,
    view,
    live,
    exporter,
    storages,
    get study() {
      return studies.get(view.look.study);
    },
    get why() {
      return whys.get(view.look.study) ?? null;
    },
    askWhy: () => explain(page.study),
  };

  const status = element("span", { class: "status", role: "status" });
  const top = element("header", { class: "top" });
  const parts = [
    overviewSection(page),
    frontSection(page),
    budgetSection(page),
    compareSection(page),
    findingsSection(page),
    studiesSection(page),
    trialsSection(page),
    parallelSection(page),
    whySection(page),
    progressSection(page),
    trustSection(page),
  ];
  const turns = new Turns();
  const sections = parts.map((part) => new LazySection(part, turns));
  const split = element("div", { class: "split" }, parts[1].element, parts[2].element);
  fill(into, top, parts[0].element, split, ...parts.slice(3).map((part) => part.element));

  function drawTop() {
    const names = [...studies.keys()];
    const together = into.querySelector("#studies");
    together.hidden = names.length < 2;
    const links = [...into.querySelectorAll("section:not([hidden]) h2")].map((heading) =>
      element("a", { href: `#${heading.parentElement.parentElement.id}`, on: { click: jump } }, heading.textContent),
    );
    fill(
      top,
      element("h1", {}, page.study.name),
      names.length > 1
        ? choice("Study", names.map((name) => [name, name]), page.study.name, (study) =>
            view.change({ study, selection: new Set(), budgets: {} }))
        : null,
      status,
      themeButton(),
      element("nav", { "aria-label": "Sections" }, ...links),
    );
    if (live) document.title = `${page.study.name} · nas`;
  }

  /** @param {Change} change */
  function changed(change) {
    for (const section of sections) section.change(change);
  }

  view.listeners.push((before) => {
    const { look } = view;
    if (!studies.has(look.study)) {
      view.look = { ...look, study: before.study };
      return;
    }
    if (look.study !== before.study) {
      drawTop();
      changed(EVERYTHING);
      return;
    }
    changed({
      selection: look.selection !== before.selection,
      budgets: look.budgets !== before.budgets,
      axes: look.x !== before.x || look.y !== before.y || look.log !== before.log,
      hidden: look.hidden !== before.hidden,
    });
  });
  watchTheme(() => changed({ theme: true }));
  drawTop();
  changed(EVERYTHING);

  return {
    /** @param {any} document whole, of a study that is drawn or not; or an update of one that is */
    update(document) {
      const known = studies.has(document.study);
      if (document.since === null) studies.set(document.study, new Study(document));
      else studies.get(document.study).merge(document);
      if (!known) drawTop();
      changed(document.study === page.study.name ? { document: true } : { studies: true });
    },
    /** @param {any} why */
    explain(why) {
      whys.set(why.study, why);
      changed({ why: true });
    },
    /** @param {string} text how the study is followed */
    say(text) {
      if (status.textContent !== text) status.textContent = text;
    },
    page,
  };
}

/** Draws a section only while it is near the screen, in its turn, and then all that it has missed. */
class LazySection {
  /** @param {Section} section @param {Turns} turns */
  constructor(section, turns) {
    this.section = section;
    this.turns = turns;
    /** @type {Change} */
    this.missed = {};
    this.near = false;
    const watch = ([...entries]) => {
      this.near = entries.at(-1).isIntersecting;
      this.turns.ask(this);
    };
    new IntersectionObserver(watch, { rootMargin: "300px" }).observe(section.element);
    // A page that is printed is seen as a whole.
    addEventListener("beforeprint", () => {
      this.near = true;
      this.draw();
    });
  }

  /** @param {Change} change */
  change(change) {
    for (const [what, is] of Object.entries(change)) this.missed[what] ||= is;
    this.turns.ask(this);
  }

  draw() {
    if (!this.near || !Object.values(this.missed).some(Boolean)) return;
    const { missed } = this;
    this.missed = {};
    this.section.draw(missed);
  }
}

/**
 * As many sections a frame as take no time that is felt: what stands above is seen before what is
 * below is drawn, which may by then not be near the screen any more.
 */
class Turns {
  constructor() {
    /** @type {Set<LazySection>} */
    this.waiting = new Set();
  }

  /** @param {LazySection} section */
  ask(section) {
    if (this.waiting.size === 0) requestAnimationFrame(() => this.#take());
    this.waiting.add(section);
  }

  #take() {
    const begun = performance.now();
    for (const section of this.waiting) {
      this.waiting.delete(section);
      section.draw();
      if (performance.now() - begun > FRAME_MS) break;
    }
    if (this.waiting.size) requestAnimationFrame(() => this.#take());
  }
}

/** Goes to a section without losing what the address says. */
function jump(event) {
  event.preventDefault();
  const target = document.querySelector(event.currentTarget.getAttribute("href"));
  target.scrollIntoView();
  target.setAttribute("tabindex", "-1");
  target.focus({ preventScroll: true });
}
