// Elements, made without any parsing of text: whatever a run is called, it stays text.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "text") node.textContent = value;
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An HTML element with attributes, listeners (`onclick`) and children. */
export const h = (tag, attributes, ...children) => filled(document.createElement(tag), attributes, children);

/** The same of SVG. */
export const s = (tag, attributes, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

/** A panel: a heading, a line about what is drawn, and a body. */
export function panel(title, { wide = false, note = "", id = "" } = {}) {
  const about = h("span", { class: "note", text: note });
  const body = h("div", { class: "body" });
  const tools = h("span", { class: "tools" });
  const head = h("header", {}, h("h2", { text: title }), about, tools);
  const el = h("section", { class: wide ? "panel wide" : "panel", id, "aria-label": title }, head, body);
  return { el, body, tools, say: (text) => (about.textContent = text) };
}

/** A choice between a few words, as a row of buttons; one of them is pressed. */
export function choice(label, words, chosen, change) {
  const buttons = Object.entries(words).map(([value, text]) =>
    h("button", {
      type: "button",
      "data-value": value,
      "aria-pressed": String(value === chosen),
      text,
      onclick: () => set(value, true),
    }),
  );
  const el = h("span", { class: "choice", role: "group", "aria-label": label }, buttons);
  function set(value, told) {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.value === value));
    if (told) change(value);
  }
  return { el, set };
}

/** A number field with its label. */
export function number(label, { value, min, max, step = 1, change }) {
  const input = h("input", { type: "number", value, min, max, step, "aria-label": label });
  input.addEventListener("change", () => {
    const given = Number(input.value);
    input.value = Math.min(
      Number(input.max),
      Math.max(Number(input.min), Number.isFinite(given) ? given : Number(input.min)),
    );
    change(Number(input.value));
  });
  return { el: h("label", { class: "field" }, h("span", { text: label }), input), input };
}

/** A choice from a list. */
export function select(label, options, value, change) {
  const input = h("select", { "aria-label": label, onchange: () => change(input.value) });
  const fill = (entries, chosen) => {
    input.replaceChildren(...entries.map(([key, text]) => h("option", { value: key, text })));
    if (chosen !== undefined) input.value = chosen;
  };
  fill(options, value);
  return { el: h("label", { class: "field" }, h("span", { text: label }), input), input, fill };
}

/** Call `draw` when an element has another size, as long as it is on the page. */
export function resized(element, draw) {
  new ResizeObserver(() => element.isConnected && draw()).observe(element);
}
