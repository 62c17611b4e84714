// What the reader looks at: study, axes, budgets and selection, kept in the address.

/**
 * @typedef {Object} Look
 * @property {string} study
 * @property {string | null} x a score; null for the study's second objective
 * @property {string | null} y null for its first
 * @property {{x: boolean, y: boolean} | null} log which axes are logarithmic; null: see `logOf`
 * @property {ReadonlySet<string>} hidden roles that are not drawn
 * @property {Readonly<Record<string, number>>} budgets by score
 * @property {ReadonlySet<string>} selection names of trials
 */

export class View {
  /** @param {string} study what is shown where the address says nothing */
  constructor(study) {
    this.first = study;
    /** @type {Look} */
    this.look = readAddress(location.hash, study);
    /** @type {((before: Look) => void)[]} */
    this.listeners = [];
    addEventListener("hashchange", () => {
      if (location.hash !== addressOf(this.look)) this.#set(readAddress(location.hash, this.first));
    });
  }

  /** @param {Partial<Look>} change */
  change(change) {
    this.#set({ ...this.look, ...change });
    history.replaceState(null, "", addressOf(this.look));
  }

  /** @param {Iterable<string>} names */
  select(names) {
    this.change({ selection: new Set(names) });
  }

  /** @param {string} name @param {boolean} others whether what else is selected remains so */
  toggle(name, others) {
    const kept = new Set(others ? this.look.selection : []);
    if (this.look.selection.has(name) && (others || this.look.selection.size === 1)) {
      kept.delete(name);
    } else {
      kept.add(name);
    }
    this.select(kept);
  }

  #set(look) {
    const before = this.look;
    this.look = look;
    for (const listener of this.listeners) listener(before);
  }
}

/** @param {Look} look @returns {string} such as `#study=edge&trials=3,10-14` */
export function addressOf(look) {
  const words = new URLSearchParams();
  words.set("study", look.study);
  if (look.x !== null) words.set("x", look.x);
  if (look.y !== null) words.set("y", look.y);
  if (look.log !== null) {
    const logs = [look.log.x ? "x" : "", look.log.y ? "y" : ""].join("");
    words.set("log", logs || "none");
  }
  if (look.hidden.size) words.set("hide", [...look.hidden].join(","));
  for (const [score, most] of Object.entries(look.budgets)) words.set(`max.${score}`, String(most));
  if (look.selection.size) words.set("trials", withRanges([...look.selection]));
  return `#${words.toString().replaceAll("%2C", ",").replaceAll("%40", "@")}`;
}

/** @param {string} hash @param {string} study @returns {Look} */
export function readAddress(hash, study) {
  const words = new URLSearchParams(hash.slice(1));
  const logs = words.get("log");
  const budgets = [...words]
    .filter(([name, value]) => name.startsWith("max.") && Number.isFinite(Number(value)))
    .map(([name, value]) => [name.slice("max.".length), Number(value)]);
  return {
    study: words.get("study") ?? study,
    x: words.get("x"),
    y: words.get("y"),
    log: logs === null ? null : { x: logs.includes("x"), y: logs.includes("y") },
    hidden: new Set((words.get("hide") ?? "").split(",").filter(Boolean)),
    budgets: Object.fromEntries(budgets),
    selection: new Set(withoutRanges(words.get("trials") ?? "")),
  };
}

const MOST_IN_RANGE = 100_000; // an address is anybody's

/** @param {string[]} names `["3", "10", "11", "12"]` is `3,10-12` */
function withRanges(names) {
  const numbers = names.filter((name) => /^\d+$/.test(name)).map(Number);
  numbers.sort((a, b) => a - b);
  const ranges = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  const written = ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`));
  return [...written, ...names.filter((name) => !/^\d+$/.test(name))].join(",");
}

function withoutRanges(text) {
  return text.split(",").filter(Boolean).flatMap((word) => {
    const range = /^(\d+)-(\d+)$/.exec(word);
    if (range === null) return [word];
    const [from, to] = [Number(range[1]), Number(range[2])];
    const count = Math.min(to - from + 1, MOST_IN_RANGE);
    return Array.from({ length: Math.max(count, 0) }, (_, index) => String(from + index));
  });
}
