// A phase diagram: a cell for each setting, in the colour of a median, over the shares of the classes of its runs.

import { h, panel, s, select } from "../dom.js";
import { colourOf } from "../heat.js";
import { short } from "../time.js";

const CLASSES = {
  comprehension: "var(--blue)",
  grokking: "var(--orange)",
  memorisation: "var(--purple)",
  confusion: "var(--dim)",
};
const NOTE = "a cell: median over its runs, runs that grokked / runs; hatched: censored; strip: shares of the classes";
const CELL = 58; // height

export function diagram({ fields, columns, classes, cells }, state) {
  const names = fields.map((field) => field.name);
  const view = panel("Phase diagram", { note: NOTE, wide: true });
  const pairs = (words) => words.map((word) => [word, word]);
  const across = select("across", pairs(names), state.now.x, (x) => state.set({ y: swapped("y", x), x }));
  const up = select("up", pairs(names), state.now.y, (y) => state.set({ x: swapped("x", y), y }));
  const swapped = (axis, value) => (state.now[axis] === value ? state.now[axis === "x" ? "y" : "x"] : state.now[axis]);
  const words = pairs(columns.map((column) => column.name));
  const colour = select("colour", words, state.now.colour, (value) => state.set({ colour: value }));
  view.tools.append(...(names.length ? [across.el] : []), ...(names.length > 1 ? [up.el] : []), colour.el);
  const panels = h("div", { class: "diagrams" });
  const said = h("p", { class: "said" });
  const entry = (name) =>
    h(
      "span",
      { class: "entry" },
      h("i", { class: "box", style: `background:${CLASSES[name]}` }),
      h("span", { text: name }),
    );
  view.body.append(panels, said, h("div", { class: "legend" }, classes.map(entry)));

  state.on(["x", "y", "colour"], (now) => {
    across.input.value = now.x;
    up.input.value = now.y;
    const scale = scaleOf(
      cells,
      columns.find((column) => column.name === now.colour),
    );
    said.textContent = scale.said;
    const others = names.filter((name) => name !== now.x && name !== now.y);
    const groups = Map.groupBy(cells.keys(), (i) =>
      others.map((name) => `${name} = ${cells[i].setting[name]}`).join(", "),
    );
    const grid = gridOf(cells, fields, now);
    const draw = ([title, members]) => panelOf(title, members, { cells, classes, grid, scale, state });
    panels.replaceChildren(...[...groups].map(draw));
  });
  state.on(["cell"], (now) => {
    for (const cell of panels.querySelectorAll("[data-cell]")) {
      const chosen = Number(cell.dataset.cell) === now.cell;
      cell.classList.toggle("chosen", chosen);
      cell.setAttribute("aria-pressed", String(chosen));
    }
  });
  return view.el;
}

const inOrder = (values) =>
  [...new Set(values)].sort((a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)),
  );

/** Where a cell stands, and what the axes are. */
function gridOf(cells, fields, { x, y }) {
  const labelOf = (name) => fields.find((field) => field.name === name)?.label ?? "";
  const across = x ? inOrder(cells.map((cell) => cell.setting[x])) : ["all runs"];
  const up = y ? inOrder(cells.map((cell) => cell.setting[y])).reverse() : [""];
  const width = Math.max(64, Math.min(150, 620 / across.length));
  const upLabel = labelOf(y).length * 6 < up.length * CELL + 30 ? labelOf(y) : y;
  const place = ({ setting }) => [x ? across.indexOf(setting[x]) : 0, y ? up.indexOf(setting[y]) : 0];
  return { across, up, width, place, acrossLabel: labelOf(x), upLabel, hasUp: Boolean(y) };
}

/** The way from a column's values to shares of a scale of colours; logarithmic for times, losses and norms. */
function scaleOf(cells, { name, label }) {
  const all = cells.map((cell) => cell.values[name]).filter(([value, censored]) => value !== null && !censored);
  const known = all.map(([value]) => value);
  const positive = known.filter((value) => value > 0);
  const log = /_by$|_loss$|norm$|^r0$/.test(name) && positive.length > 0;
  const shares = /acc|gap/.test(name);
  const ends = log ? positive : known;
  const [low, high] = shares ? [0, 1] : [Math.min(...ends), Math.max(...ends)];
  const linear = (value) => (value - low) / (high - low);
  const logarithmic = (value) => Math.log(Math.max(value, low) / low) / Math.log(high / low);
  const share = high > low ? (log ? logarithmic : linear) : () => 0.5;
  const how = `from ${short(low)} (dark) to ${short(high)} (bright)${log ? ", logarithmic" : ""}`;
  return { name, share, said: `colour: ${label}, ${known.length ? how : "not known of any cell"}` };
}

/** The diagram of one setting of the fields that are not on the axes. */
function panelOf(title, members, { cells, classes, grid, scale, state }) {
  const { across, up, width: w } = grid;
  const [left, top, bottom] = [grid.hasUp ? 74 : 12, title ? 22 : 6, 40];
  const [width, height] = [left + across.length * w + 8, top + up.length * CELL + bottom];
  const look = { class: "diagram", viewBox: `0 0 ${width} ${height}`, style: `width:${width}px` };
  const svg = s("svg", { ...look, role: "group", "aria-label": `phase diagram ${title}` }, hatch());
  if (title) svg.append(s("text", { x: left, y: 14, text: title }));
  for (const i of members) {
    const [column, row] = grid.place(cells[i]);
    const box = { x: left + column * w, y: top + row * CELL, w };
    svg.append(cellOf(cells[i], i, box, { classes, scale, state }));
  }
  const foot = top + up.length * CELL;
  const tick = (value, i) => s("text", { class: "tick x", x: left + (i + 0.5) * w, y: foot + 14, text: String(value) });
  svg.append(...across.map(tick));
  svg.append(s("text", { class: "label", x: left + (across.length * w) / 2, y: height - 8, text: grid.acrossLabel }));
  if (!grid.hasUp) return svg;
  const side = (value, i) =>
    s("text", { class: "tick y", x: left - 6, y: top + (i + 0.5) * CELL + 4, text: String(value) });
  const turned = `translate(12 ${(top + foot) / 2}) rotate(-90)`;
  svg.append(...up.map(side), s("text", { class: "label", x: 0, y: 0, transform: turned, text: grid.upLabel }));
  return svg;
}

function hatch() {
  const line = s("line", { x1: 0, y1: 0, x2: 0, y2: 7, stroke: "var(--dim)", "stroke-width": 1.2 });
  const look = { id: "hatch", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" };
  return s("defs", {}, s("pattern", look, s("rect", { width: 7, height: 7, fill: "var(--faint)" }), line));
}

/** A cell: median and number of runs on its colour, a strip of classes below. */
function cellOf(cell, i, { x, y, w }, { classes, scale, state }) {
  const [value, censored] = cell.values[scale.name];
  const known = value !== null && !censored;
  const colour = known ? colourOf(scale.share(value)) : { css: "url(#hatch)", ink: "var(--ink)" };
  const first = value === null ? "no record" : `${censored ? "> " : ""}${short(value)}`;
  const lines = [first, `${cell.n_grokked}/${cell.n}${cell.n_missing ? `, ${cell.n_missing} not done` : ""}`];
  const setting = Object.entries(cell.setting).map(([field, given]) => `${field} ${given}`);
  const chosen = i === state.now.cell;
  const text = (line, n) =>
    s("text", {
      class: known ? "cell-text" : "cell-text boxed",
      x: x + w / 2,
      y: y + 21 + 14 * n,
      fill: colour.ink,
      text: line,
    });
  const look = { class: "cell-box", x: x + 1.5, y: y + 1.5, width: w - 3, height: CELL - 3, fill: colour.css };
  const choose = (event) => {
    if (event.key && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    state.set({ cell: i });
  };
  return s(
    "g",
    {
      class: chosen ? "cell chosen" : "cell",
      tabindex: 0,
      role: "button",
      "aria-label": `${setting.join(", ")}: ${lines.join("; ")}`,
      "aria-pressed": String(chosen),
      "data-cell": i,
      onclick: choose,
      onkeydown: choose,
    },
    s("rect", look),
    lines.map(text),
    stripOf(cell, classes, { x: x + 1.5, y: y + CELL - 9, w: w - 3 }),
  );
}

/** The classes side by side, each as wide as its share of the runs that have one. */
function stripOf(cell, classes, { x, y, w }) {
  const total = classes.reduce((sum, name) => sum + cell[name], 0);
  let from = x;
  return classes
    .filter((name) => cell[name])
    .map((name) => {
      const size = (w * cell[name]) / total;
      const title = s("title", { text: `${name}: ${cell[name]} of ${total}` });
      from += size;
      return s("rect", { x: from - size, y, width: size, height: 7.5, style: `fill:${CLASSES[name]}` }, title);
    });
}
