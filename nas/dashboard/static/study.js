// The document of a study as one row per trial; merges updates.

/**
 * @typedef {{value: number, low: number | null, high: number | null, half_width: number | null,
 *   provisional: boolean}} Score
 * @typedef {"front" | "dominated" | "infeasible" | "stopped" | "failed" | "running" |
 *   "interrupted" | "reference" | "duplicate"} Role
 *   the state of a trial, with complete trials divided into the front and the rest
 * @typedef {Object} Row
 *   a trial; nas/dashboard/form.py documents its properties
 * @property {number} id
 * @property {"candidate" | "reference"} kind
 * @property {number} number
 * @property {string} name identifies the trial in commands, in the selection and in the address
 * @property {string} state
 * @property {Role} role
 * @property {string | null} stage
 * @property {string | null} reason
 * @property {number | null} duplicate_of
 * @property {Record<string, any>} architecture
 * @property {Record<string, Score>} scores
 * @property {number | null} estimated_loss
 * @property {number | null} trained
 * @property {string[]} unsure_limits
 * @property {boolean} provisional whether any score is provisional
 * @property {boolean} provisionalMember whether it is on the front only provisionally
 * @property {number | null} disturbed
 * @property {number | null} waited
 * @property {number} seconds
 * @property {number | null} ended_at
 * @property {[number, number][] | null} curve pairs of tokens and loss
 */

export class Study {
  /** @param {any} document a whole document; nas/dashboard/form.py is its schema */
  constructor(document) {
    /** @type {Map<number, Row>} */
    this.byId = new Map();
    /** @type {Map<string, Row>} */
    this.byName = new Map();
    this.document = document;
    this.#addRows(document);
    this.#assignRoles();
  }

  /** @param {any} update an update that starts from the current revision */
  merge(update) {
    this.document = update;
    this.#addRows(update);
    this.#assignRoles();
  }

  get name() {
    return this.document.study;
  }

  /** The scores of the study, objectives first. */
  get axes() {
    return this.document.axes;
  }

  /** @returns {import("./layout.js").Mixer[]} the kinds of mixers in layouts */
  get mixers() {
    return this.document.mixers;
  }

  /** @returns {{name: string, summary: string}[]} the formats that trials can be exported in */
  get exportFormats() {
    return this.document.export_formats;
  }

  /** @param {Row} row @returns {number} the number of attention layers, full or sliding-window */
  attentionLayers(row) {
    const letters = this.mixers.filter((mixer) => mixer.attention).map((mixer) => mixer.letter);
    return [...row.architecture.layout].filter((letter) => letters.includes(letter)).length;
  }

  /** @param {string} name @returns {{name: string, unit: string, max: number | null}} */
  axis(name) {
    return this.axes.find((axis) => axis.name === name) ?? { name, unit: "", max: null };
  }

  /** @param {Role} role */
  withRole(role) {
    return this.rows.filter((row) => row.role === role);
  }

  /** The complete candidates, each architecture once. */
  get complete() {
    return this.rows.filter((row) => row.role === "front" || row.role === "dominated");
  }

  /** @param {any} document */
  #addRows({ trials, architectures, curves }) {
    const columns = Object.keys(architectures);
    const shapes = architectures.hash.map((_, index) =>
      Object.fromEntries(columns.map((column) => [column, architectures[column][index]])),
    );
    const facts = Object.keys(trials).filter((column) => column !== "scores");
    const scores = Object.entries(trials.scores);
    trials.id.forEach((id, index) => {
      const row = { curve: this.byId.get(id)?.curve ?? null, scores: {} };
      for (const fact of facts) row[fact] = trials[fact][index];
      row.name = String(row.name);
      row.architecture = shapes[row.architecture];
      for (const [name, { value, low, high, half_width: width, provisional }] of scores) {
        if (value[index] === null) continue;
        row.scores[name] = {
          value: value[index],
          low: low?.[index] ?? null,
          high: high?.[index] ?? null,
          half_width: width?.[index] ?? null,
          provisional: provisional?.[index] ?? false,
        };
      }
      row.provisional = Object.values(row.scores).some((score) => score.provisional);
      this.byId.set(id, row);
      this.byName.set(row.name, row);
    });
    for (const { tokens, trial, loss } of curves) {
      trial.forEach((id, index) => {
        const row = this.byId.get(id);
        if (row) row.curve = loss[index].map((each, step) => [tokens[step], each]);
      });
    }
  }

  #assignRoles() {
    const front = new Set(this.document.front);
    /** @type {Row[]} */
    this.rows = [...this.byId.values()];
    const provisional = new Set(this.document.provisional_front);
    for (const row of this.rows) {
      row.role = roleOf(row, front);
      row.provisionalMember = provisional.has(row.id);
    }
  }
}

/**
 * Returns the score of a trial; for a trial that was stopped early, its predicted loss.
 * @param {Row} row
 * @param {string} axis
 * @returns {number | null}
 */
export function axisValue(row, axis) {
  const score = row.scores[axis];
  if (score !== undefined) return score.value;
  return axis === "loss" && row.state === "stopped" ? row.estimated_loss : null;
}

/** @param {Row} row */
export function title(row) {
  return row.kind === "reference" ? row.name : `trial ${row.name}`;
}

function roleOf(row, front) {
  if (row.kind === "reference") return "reference";
  if (front.has(row.id)) return "front";
  if (row.duplicate_of !== null) return "duplicate";
  return row.state === "complete" ? "dominated" : row.state;
}
