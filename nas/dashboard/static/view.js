// What the page shows (study, axes, budgets and selection), kept in the address of the page.

/**
 * @typedef {Object} ViewState
 * @property {string} study the name of the study
 * @property {string | null} x the score on the x axis; null for the second objective
 * @property {string | null} y the score on the y axis; null for the first objective
 * @property {{x: boolean, y: boolean} | null} log which axes are logarithmic; null to choose by the
 *   values, see `logOf`
 * @property {ReadonlySet<string>} hidden the roles that are not drawn
 * @property {Readonly<Record<string, number>>} budgets upper limits, by score
 * @property {ReadonlySet<string>} selection the names of the selected trials
 */

export class View {
  /** @param {string} study the study to show if the address names none */
  constructor(study) {
    this.defaultStudy = study;
    /** @type {ViewState} */
    this.state = readAddress(location.hash, study);
    /** @type {((before: ViewState) => void)[]} */
    this.listeners = [];
    addEventListener("hashchange", () => {
      if (location.hash !== addressOf(this.state)) this.#set(readAddress(location.hash, this.defaultStudy));
    });
  }

  /** @param {Partial<ViewState>} change */
  change(change) {
    this.#set({ ...this.state, ...change });
    history.replaceState(null, "", addressOf(this.state));
  }

  /** @param {Iterable<string>} names */
  select(names) {
    this.change({ selection: new Set(names) });
  }

  /** @param {string} name @param {boolean} keepOthers whether other trials stay selected */
  toggle(name, keepOthers) {
    const { selection } = this.state;
    const names = new Set(keepOthers ? selection : []);
    if (selection.has(name) && (keepOthers || selection.size === 1)) {
      names.delete(name);
    } else {
      names.add(name);
    }
    this.select(names);
  }

  #set(state) {
    const before = this.state;
    this.state = state;
    for (const listener of this.listeners) listener(before);
  }
}

/** @param {ViewState} state @returns {string} a fragment such as `#study=edge&trials=3,10-14` */
export function addressOf(state) {
  const fields = new URLSearchParams();
  fields.set("study", state.study);
  if (state.x !== null) fields.set("x", state.x);
  if (state.y !== null) fields.set("y", state.y);
  if (state.log !== null) {
    const logs = [state.log.x ? "x" : "", state.log.y ? "y" : ""].join("");
    fields.set("log", logs || "none");
  }
  if (state.hidden.size) fields.set("hide", [...state.hidden].join(","));
  for (const [score, limit] of Object.entries(state.budgets)) fields.set(`max.${score}`, String(limit));
  if (state.selection.size) fields.set("trials", toRanges([...state.selection]));
  return `#${fields.toString().replaceAll("%2C", ",").replaceAll("%40", "@")}`;
}

/** @param {string} hash @param {string} study the default study @returns {ViewState} */
export function readAddress(hash, study) {
  const fields = new URLSearchParams(hash.slice(1));
  const logs = fields.get("log");
  const budgets = [...fields]
    .filter(([name, value]) => name.startsWith("max.") && Number.isFinite(Number(value)))
    .map(([name, value]) => [name.slice("max.".length), Number(value)]);
  return {
    study: fields.get("study") ?? study,
    x: fields.get("x"),
    y: fields.get("y"),
    log: logs === null ? null : { x: logs.includes("x"), y: logs.includes("y") },
    hidden: new Set((fields.get("hide") ?? "").split(",").filter(Boolean)),
    budgets: Object.fromEntries(budgets),
    selection: new Set(fromRanges(fields.get("trials") ?? "")),
  };
}

const MAX_RANGE = 100_000; // anyone can write an address

/** @param {string[]} names @returns {string} such as `3,10-12` for `["3", "10", "11", "12"]` */
function toRanges(names) {
  const numbers = names.filter((name) => /^\d+$/.test(name)).map(Number);
  numbers.sort((a, b) => a - b);
  const ranges = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  const texts = ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`));
  return [...texts, ...names.filter((name) => !/^\d+$/.test(name))].join(",");
}

function fromRanges(text) {
  return text.split(",").filter(Boolean).flatMap((word) => {
    const range = /^(\d+)-(\d+)$/.exec(word);
    if (range === null) return [word];
    const [from, to] = [Number(range[1]), Number(range[2])];
    const count = Math.min(to - from + 1, MAX_RANGE);
    return Array.from({ length: Math.max(count, 0) }, (_, index) => String(from + index));
  });
}
