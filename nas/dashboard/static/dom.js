// Makes DOM elements. Texts from a database are inserted as text nodes, never as markup.

/**
 * @param {string} tag
 * @param {Record<string, unknown>} [properties] attributes, and `on` for listeners by event;
 *   properties that are null or false are left out
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
 * Makes a section of the page.
 * @param {string} id
 * @param {string} title the heading
 * @param {string} lead a sentence that says what the section shows
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
 * Makes a labelled selection list.
 * @param {string} label
 * @param {[string, string][]} options values and their texts
 * @param {string} value the selected value
 * @param {(value: string) => void} choose is called with the new value
 */
export function choice(label, options, value, choose) {
  const select = element("select", { on: { change: () => choose(select.value) } });
  for (const [each, shown] of options) {
    select.append(element("option", { value: each, selected: each === value }, shown));
  }
  return element("label", { class: "field" }, element("span", {}, label), select);
}

/**
 * Makes a labelled checkbox.
 * @param {string} label
 * @param {boolean} checked
 * @param {(checked: boolean) => void} choose is called with the new state
 * @param {Node | null} [mark] is shown before the label
 */
export function checkbox(label, checked, choose, mark = null) {
  const box = element("input", { type: "checkbox", checked });
  box.addEventListener("change", () => choose(box.checked));
  return element("label", { class: "checkbox" }, box, mark, element("span", {}, label));
}

/** @param {string} label @param {() => void} press @param {Record<string, unknown>} [more] */
export function button(label, press, more = {}) {
  return element("button", { type: "button", on: { click: press }, ...more }, label);
}

function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}
