// The live page: loads the studies, draws them, and polls for updates.

import { drawStudy } from "./draw.js";
import { element, fill } from "./dom.js";
import { studyDocument, studyList, studyWhy, writeExport } from "./server.js";
import { readAddress } from "./view.js";

const POLL_MS = 1500;
const MIN_WHY_INTERVAL_MS = 30_000;
const WHY_GROWTH = 1.2;

const into = document.getElementById("charts");
start();

/** Draws the page, as soon as there is a study. */
async function start() {
  try {
    // The study in the address is requested without waiting for the list of all studies.
    const requested = studyDocument(readAddress(location.hash, "").study).catch(() => null);
    const { studies } = await studyList();
    const study = (await requested) ?? (await firstExisting(studies));
    if (study !== null) {
      await chartLibrary();
      draw(study, studies);
      return;
    }
    const [first] = studies;
    const text =
      first === undefined
        ? "The database contains no study yet."
        : `The study ${first.name} has not been started yet.`;
    show(text, "To start a study, run nas run with its study file. This page updates automatically.");
  } catch (error) {
    show("The study cannot be shown.", error.message);
  }
  setTimeout(start, POLL_MS);
}

async function firstExisting(studies) {
  for (const { name } of studies) {
    const study = await studyDocument(name);
    if (study !== null) return study;
  }
  return null;
}

/** Waits for the chart library, which loads while the study is being read. */
function chartLibrary() {
  if (globalThis.echarts !== undefined) return undefined;
  const script = document.getElementById("library");
  return new Promise((loaded) => script.addEventListener("load", loaded, { once: true }));
}

function draw(first, listed) {
  const requests = new Map();
  let timer;

  /**
   * Loads which choices matter and the expected losses. This keeps the server busy, so it happens
   * only while a section that shows them is on the screen, at most every 30 seconds, and once there
   * are enough new trials.
   */
  async function requestWhy(study) {
    const complete = study.complete.length;
    const last = requests.get(study.name);
    const ended = study.document.running.length === 0;
    const enough = last === undefined || complete >= (ended ? last.complete + 1 : WHY_GROWTH * last.complete);
    if (!enough) return;
    const pause = last === undefined ? 0 : last.at + MIN_WHY_INTERVAL_MS - Date.now();
    if (pause > 0) {
      clearTimeout(timer);
      timer = setTimeout(() => requestWhy(study), pause);
      return;
    }
    requests.set(study.name, { complete, at: Date.now() });
    try {
      drawn.setWhy(await studyWhy(study.name));
    } catch {
      requests.delete(study.name);
    }
  }

  const drawn = drawStudy([first], {
    into,
    live: true,
    storages: new Map(listed.map(({ name, storage }) => [name, storage])),
    exporter: { write: writeExport },
    requestWhy,
  });
  /** @type {Map<string, string | undefined>} */
  const revisions = new Map(listed.map(({ name }) => [name, undefined]));
  revisions.set(first.study, first.revision);

  async function poll() {
    try {
      for (const [study, revision] of document.hidden ? [] : revisions) {
        const update = await studyDocument(study, revision);
        if (update === null) continue;
        revisions.set(study, update.revision);
        drawn.update(update);
      }
      drawn.setStatus(drawn.page.study.document.running.length ? "live" : "up to date; nothing is running");
    } catch (error) {
      const disconnected = error instanceof TypeError;
      drawn.setStatus(disconnected ? "the dashboard is not running; reconnecting" : error.message);
    }
    setTimeout(poll, POLL_MS);
  }
  // The first study is painted before more data is requested.
  requestAnimationFrame(() => setTimeout(poll));
}

function show(text, more) {
  fill(into, element("h1", {}, "nas"), element("p", { class: "empty" }, text), element("p", {}, more));
}
