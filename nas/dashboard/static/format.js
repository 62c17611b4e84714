// Formats numbers, units and times for people.

// An interval is lopsided if one side is longer than the other by this factor.
const LOPSIDED = 1.2;

/** @param {number | null | undefined} value @returns {string} with four significant digits; from 1,000 on without decimals */
export function figure(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1e6) return `${trimmed((value / 1e6).toPrecision(4))} M`;
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  return trimmed(value.toPrecision(4));
}

/** @param {number | null} fraction @returns {string} such as `3.1 %` or `31 %` */
export function percent(fraction) {
  if (fraction === null || fraction === undefined) return "–";
  const value = 100 * fraction;
  if (value > 0 && value < 0.05) return "<0.1 %";
  return `${value !== 0 && Math.abs(value) < 10 ? value.toFixed(1) : Math.round(value)} %`;
}

/** @param {number | null} probability @returns {string} `97 %`, `>99 %` or `<1 %`, as in the terminal and the report */
export function probabilityText(probability) {
  if (probability === null) return "–";
  if (probability > 0.99 && probability < 1) return ">99 %";
  return probability > 0 && probability < 0.01 ? "<1 %" : `${Math.round(100 * probability)} %`;
}

/** @param {number} seconds @returns {string} such as `43 s`, `12 min` or `3 h 20 min` */
export function duration(seconds) {
  if (seconds < 10) return `${trimmed(seconds.toPrecision(2))} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 100 ? `${hours} h ${minutes % 60} min` : `${hours.toLocaleString("en-US")} h`;
}

/** @param {number} moment in seconds since 1970 @returns {string} in local time */
export function clock(moment) {
  return new Date(1000 * moment).toLocaleString("en-GB", {
    dateStyle: "medium",
    timeStyle: "short",
  });
}

/** The mark of values that are too uncertain to decide anything, and what it means. */
const PROVISIONAL = "~";
export const PROVISIONAL_LEGEND =
  "~ provisional: too uncertain to decide anything; nas run measures it again when the machine is quieter.";

/**
 * @param {import("./study.js").Score | undefined} score
 * @returns {string} the value with its mark and its 95 % confidence interval, if it has one
 */
export function scoreText(score) {
  if (score === undefined) return "–";
  return marked(valueText(score), score.provisional);
}

/** @param {string} text @param {boolean} provisional @returns {string} the text of a value, with its mark if it is provisional */
export function marked(text, provisional) {
  return `${provisional ? PROVISIONAL : ""}${text}`;
}

/**
 * @param {{value: number, low: number | null, high: number | null}} score
 * @returns {string} such as `10 ±0.020`, or `1.1 (1.02 to 1.33)` for a lopsided interval
 */
export function valueText({ value, low, high }) {
  if (low === null || high === null) return figure(value);
  const [below, above] = [value - low, high - value];
  if (Math.max(below, above) > LOPSIDED * Math.max(0, Math.min(below, above))) {
    return `${figure(value)} (${figure(low)} to ${figure(high)})`;
  }
  const half = (high - low) / 2;
  return `${figure(value)} ±${half >= 10 || half === 0 ? Math.round(half) : half.toPrecision(2)}`;
}

/** @param {{name: string, unit: string}} axis */
export function axisTitle(axis) {
  return axis.unit === "" || axis.unit === axis.name ? axis.name : `${axis.name} (${axis.unit})`;
}

/** @param {number} count @param {string} one @param {string} [many] */
export function counted(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en-US")} ${count === 1 ? one : many}`;
}

/**
 * @param {import("./draw.js").Page} page
 * @param {string[]} words
 * @returns {string} a shell command about the study that is shown, with the database that holds it
 */
export function studyCommand({ study, storages }, ...words) {
  const storage = storages.get(study.name) ?? null;
  return [...words, ...(storage === null ? [] : ["--storage", storage])].map(shellWord).join(" ");
}

/** @param {string} text @returns {string} the text quoted as one word of a POSIX shell */
function shellWord(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function trimmed(digits) {
  return digits.includes(".") && !digits.includes("e") ? digits.replace(/\.?0+$/, "") : digits;
}
