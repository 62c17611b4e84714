// Makes elements; whatever comes out of a database goes in as text and is never read as markup.

/**
 * @param {string} tag
 * @param {Record<string, unknown>} [properties] `class`, `on` (listeners by event), attributes; one
 *   that is null or false is left out
 * @param {...(Node | string | number | null | undefined)} children
 * @returns {any}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    } else {
      made.setAttribute(name, value === true ? "" : String(value));
    }
  }
  made.append(...children.filter((child) => child !== null && child !== undefined).map(asNode));
  return made;
}

/**
 * A part of the page with its heading and, in a sentence, what it answers.
 * @param {string} id
 * @param {string} title
 * @param {string} lead
 * @param {...(Node | null)} children
 */
export function section(id, title, lead, ...children) {
  const heading = element("h2", { id: `${id}-title` }, title);
  return element(
    "section",
    { id, "aria-labelledby": heading.id },
    element("header", {}, heading, element("p", { class: "lead" }, lead)),
    ...children,
  );
}

/** @param {Element} parent @param {...(Node | string | null)} children */
export function fill(parent, ...children) {
  parent.replaceChildren(...children.filter((child) => child !== null).map(asNode));
}

/**
 * A labelled choice of one.
 * @param {string} label
 * @param {[string, string][]} options values and what is shown for them
 * @param {string} value
 * @param {(value: string) => void} choose
 */
export function choice(label, options, value, choose) {
  const select = element("select", { on: { change: () => choose(select.value) } });
  for (const [each, shown] of options) {
    select.append(element("option", { value: each, selected: each === value }, shown));
  }
  return element("label", { class: "field" }, element("span", {}, label), select);
}

/**
 * @param {string} label
 * @param {boolean} checked
 * @param {(checked: boolean) => void} choose
 * @param {Node | null} [mark] stands before the label
 */
export function tick(label, checked, choose, mark = null) {
  const box = element("input", { type: "checkbox", checked });
  box.addEventListener("change", () => choose(box.checked));
  return element("label", { class: "tick" }, box, mark, element("span", {}, label));
}

/** @param {string} label @param {() => void} press @param {Record<string, unknown>} [more] */
export function button(label, press, more = {}) {
  return element("button", { type: "button", on: { click: press }, ...more }, label);
}

function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}
