// The page: creates its sections, and redraws those that a change concerns.

import { budgetSection } from "./budget.js";
import { themeButton, watchTheme } from "./colours.js";
import { compareSection } from "./compare.js";
import { choice, element, fill } from "./dom.js";
import { findingsSection } from "./findings.js";
import { frontSection } from "./front.js";
import { overviewSection } from "./overview.js";
import { parallelSection } from "./parallel.js";
import { progressSection } from "./progress.js";
import { reliabilitySection } from "./reliability.js";
import { studiesSection } from "./studies.js";
import { Study } from "./study.js";
import { trialsSection } from "./trials.js";
import { View } from "./view.js";
import { whySection } from "./why.js";

/**
 * @typedef {{write: (study: string, trial: string, format: string) =>
 *   Promise<{path: string, remark: string | null, next: string[]}>}} Exporter
 *
 * @typedef {Object} Page the data that the sections draw
 * @property {Map<string, Study>} studies by name
 * @property {Study} study the study that is shown
 * @property {View} view
 * @property {boolean} live whether updates will follow
 * @property {any} why the document that says which choices matter; null until it is loaded
 * @property {() => void} requestWhy loads or refreshes `why`, if possible
 * @property {Exporter | null} exporter null if exports cannot be written from here
 * @property {Map<string, string | null>} storages the value of `--storage` for commands, by study
 *
 * @typedef {{document?: boolean, why?: boolean, selection?: boolean, budgets?: boolean,
 *   axes?: boolean, hidden?: boolean, theme?: boolean, studies?: boolean}} Change
 *   what has changed since a section was last drawn
 *
 * @typedef {{element: HTMLElement, draw: (change: Change) => void}} Section
 */

const FRAME_BUDGET_MS = 8;
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
 * Draws studies; works without a network.
 * @param {any[]} documents one whole document per study
 * @param {Object} options
 * @param {HTMLElement} options.into is filled
 * @param {boolean} options.live whether updates will follow
 * @param {Map<string, any>} [options.whys] the documents that say which choices matter, by study
 * @param {Exporter | null} [options.exporter]
 * @param {(study: Study) => void} [options.requestWhy] loads such a document and passes it to
 *   `setWhy` of the returned object
 * @param {Map<string, string | null>} [options.storages] see `Page`
 */
export function drawStudy(documents, options) {
  const { into, live, whys = new Map(), exporter = null, storages = new Map(), requestWhy = () => {} } = options;
  const studies = new Map(documents.map((document) => [document.study, new Study(document)]));
  const view = new View(documents[0].study);
  if (!studies.has(view.state.study)) view.state = { ...view.state, study: documents[0].study };
  /** @type {Page} */
  const page = {
    studies,
    view,
    live,
    exporter,
    storages,
    get study() {
      return studies.get(view.state.study);
    },
    get why() {
      return whys.get(view.state.study) ?? null;
    },
    requestWhy: () => requestWhy(page.study),
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
    reliabilitySection(page),
  ];
  const queue = new DrawQueue();
  const sections = parts.map((part) => new LazySection(part, queue));
  const split = element("div", { class: "split" }, parts[1].element, parts[2].element);
  fill(into, top, parts[0].element, split, ...parts.slice(3).map((part) => part.element));

  function drawTop() {
    const names = [...studies.keys()];
    into.querySelector("#studies").hidden = names.length < 2;
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
    const { state } = view;
    if (!studies.has(state.study)) {
      view.state = { ...state, study: before.study };
      return;
    }
    if (state.study !== before.study) {
      drawTop();
      changed(EVERYTHING);
      return;
    }
    changed({
      selection: state.selection !== before.selection,
      budgets: state.budgets !== before.budgets,
      axes: state.x !== before.x || state.y !== before.y || state.log !== before.log,
      hidden: state.hidden !== before.hidden,
    });
  });
  watchTheme(() => changed({ theme: true }));
  drawTop();
  changed(EVERYTHING);

  return {
    /** @param {any} document a whole document of any study, or an update of a study that is shown */
    update(document) {
      const known = studies.has(document.study);
      if (document.since === null) studies.set(document.study, new Study(document));
      else studies.get(document.study).merge(document);
      if (!known) drawTop();
      changed(document.study === page.study.name ? { document: true } : { studies: true });
    },
    /** @param {any} why */
    setWhy(why) {
      whys.set(why.study, why);
      changed({ why: true });
    },
    /** @param {string} text whether the page is up to date */
    setStatus(text) {
      if (status.textContent !== text) status.textContent = text;
    },
    page,
  };
}

/** Collects the changes of a section, and draws them once the section is near the screen. */
class LazySection {
  /** @param {Section} section @param {DrawQueue} queue */
  constructor(section, queue) {
    this.section = section;
    this.queue = queue;
    /** @type {Change} */
    this.pending = {};
    this.near = false;
    const watch = ([...entries]) => {
      this.near = entries.at(-1).isIntersecting;
      this.queue.add(this);
    };
    new IntersectionObserver(watch, { rootMargin: "300px" }).observe(section.element);
    // Printing shows the whole page.
    addEventListener("beforeprint", () => {
      this.near = true;
      this.draw();
    });
  }

  /** @param {Change} change */
  change(change) {
    for (const [what, changed] of Object.entries(change)) this.pending[what] ||= changed;
    this.queue.add(this);
  }

  draw() {
    if (!this.near || !Object.values(this.pending).some(Boolean)) return;
    const { pending } = this;
    this.pending = {};
    this.section.draw(pending);
  }
}

/**
 * Draws as many sections per frame as take no noticeable time, in the order in which they were
 * added. A section that has left the screen by the time of its turn is not drawn.
 */
class DrawQueue {
  constructor() {
    /** @type {Set<LazySection>} */
    this.waiting = new Set();
  }

  /** @param {LazySection} section */
  add(section) {
    if (this.waiting.size === 0) requestAnimationFrame(() => this.#drawSome());
    this.waiting.add(section);
  }

  #drawSome() {
    const start = performance.now();
    for (const section of this.waiting) {
      this.waiting.delete(section);
      section.draw();
      if (performance.now() - start > FRAME_BUDGET_MS) break;
    }
    if (this.waiting.size) requestAnimationFrame(() => this.#drawSome());
  }
}

/** Scrolls to a section; a plain link would replace the view in the address. */
function jump(event) {
  event.preventDefault();
  const target = document.querySelector(event.currentTarget.getAttribute("href"));
  target.scrollIntoView();
  target.setAttribute("tabindex", "-1");
  target.focus({ preventScroll: true });
}
