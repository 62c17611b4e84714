// The live page: fetches the studies, draws them, and follows them while they run.

import { drawStudy } from "./draw.js";
import { element, fill } from "./dom.js";
import { studyDocument, studyList, studyWhy, writeExport } from "./server.js";
import { readAddress } from "./view.js";

const PAUSE_MS = 1500;
const WHY_PAUSE_MS = 30_000;

const into = document.getElementById("charts");
begin();

/** Waits for the first study if there is none. */
async function begin() {
  try {
    // The study that is looked at is asked for without waiting for the list of all.
    const wished = studyDocument(readAddress(location.hash, "").study).catch(() => null);
    const { studies } = await studyList();
    const study = (await wished) ?? (await firstBegun(studies));
    if (study !== null) {
      await library();
      draw(study, studies);
      return;
    }
    const [first] = studies;
    const said =
      first === undefined
        ? "There is nothing yet: the database holds no study."
        : `There is nothing yet: ${first.name} has not been begun.`;
    show(said, `nas run ${first?.name ?? "STUDY"} begins one, and this page follows it by itself.`);
  } catch (failure) {
    show("The study cannot be shown.", failure.message);
  }
  setTimeout(begin, PAUSE_MS);
}

async function firstBegun(studies) {
  for (const { name } of studies) {
    const study = await studyDocument(name);
    if (study !== null) return study;
  }
  return null;
}

/** The charts' library arrives while the study is being read. */
function library() {
  if (globalThis.echarts !== undefined) return undefined;
  const script = document.getElementById("library");
  return new Promise((arrived) => script.addEventListener("load", arrived, { once: true }));
}

function draw(first, listed) {
  const explained = new Map();
  let later;

  /** Importances keep the server busy: they are asked for when they are looked at and there is more to go by. */
  async function explain(study) {
    const complete = study.complete.length;
    const last = explained.get(study.name);
    const ended = study.document.running.length === 0;
    const enough = last === undefined || complete >= (ended ? last.complete + 1 : 1.2 * last.complete);
    if (!enough) return;
    const pause = last === undefined ? 0 : last.at + WHY_PAUSE_MS - Date.now();
    if (pause > 0) {
      clearTimeout(later);
      later = setTimeout(() => explain(study), pause);
      return;
    }
    explained.set(study.name, { complete, at: Date.now() });
    try {
      drawn.explain(await studyWhy(study.name));
    } catch {
      explained.delete(study.name);
    }
  }

  const drawn = drawStudy([first], {
    into,
    live: true,
    storages: new Map(listed.map(({ name, storage }) => [name, storage])),
    exporter: { write: writeExport },
    explain,
  });
  /** @type {Map<string, string | undefined>} */
  const revisions = new Map(listed.map(({ name }) => [name, undefined]));
  revisions.set(first.study, first.revision);

  async function follow() {
    try {
      for (const [study, revision] of document.hidden ? [] : revisions) {
        const update = await studyDocument(study, revision);
        if (update === null) continue;
        revisions.set(study, update.revision);
        drawn.update(update);
      }
      drawn.say(drawn.page.study.document.running.length ? "live" : "waiting for trials");
    } catch (failure) {
      const gone = failure instanceof TypeError;
      drawn.say(gone ? "the dashboard has ended; trying again" : failure.message);
    }
    setTimeout(follow, PAUSE_MS);
  }
  // What was just asked for is drawn before more is.
  requestAnimationFrame(() => setTimeout(follow));
}

function show(said, more) {
  fill(into, element("h1", {}, "nas"), element("p", { class: "empty" }, said), element("p", {}, more));
}
