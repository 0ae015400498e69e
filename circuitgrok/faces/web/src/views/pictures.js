// What a head, a neuron or a logit is for every pair (a, b), and in which waves.

import { choice, h, number, panel } from "../dom.js";
import { frequencyNorms } from "../fourier.js";
import { heat } from "../heat.js";
import { short } from "../time.js";

/** Values by the task's pairs, in the order of the addition that the task is. */
export function inOrder(run, values, stride = 1, from = 0) {
  const order = run.arrays["task/pairs"].data;
  return Float32Array.from(order, (pair) => values[pair * stride + from]);
}

/** Where a pair (a, b) of numbers stands in that order, and back. */
export function numbering(run) {
  const [order, inputs, m] = [run.arrays["task/pairs"].data, run.arrays["task/inputs"].data, run.m];
  const places = new Map();
  order.forEach((pair, i) => places.set(`${inputs[3 * pair]},${inputs[3 * pair + 1]}`, i));
  return {
    place: ([a, b]) => {
      const i = places.get(`${a},${b}`);
      return i === undefined ? undefined : [Math.floor(i / m), i % m];
    },
    pair: (row, column) => {
      const pair = order[row * m + column];
      return [inputs[3 * pair], inputs[3 * pair + 1]];
    },
    index: (row, column) => order[row * m + column],
  };
}

const ORDERED = { add: ["a", "b"], subtract: ["a", "−b"], multiply: ["log a", "log b"], divide: ["log a", "−log b"] };
const axisNames = (run) => ORDERED[run.operation] ?? ["a", "b"];

/** Attention of the last position by head, for every pair. */
export function attention(context) {
  const { equals } = context.shown()[0].run.model;
  const view = panel(`Attention of ‘${equals ? "=" : "b"}’`, { note: "by head, for every pair" });
  const position = choice("to", { 0: "to a", 1: "to b", ...(equals ? { 2: "to =" } : {}) }, "0", (value) =>
    context.state.set({ position: Number(value) }),
  );
  view.tools.append(position.el);
  const grid = h("div", { class: "multiples" });
  view.body.append(grid);
  let pictures = [];
  context.state.on(["opened", "position", "pair", "heads"], (now) => {
    const network = context.network();
    if (!network) return;
    const { run } = context.shown()[0],
      names = axisNames(run),
      at = numbering(run);
    const patterns = network.pattern();
    if (pictures.length !== patterns.length) {
      pictures = patterns.map((_, head) =>
        heat({
          label: `attention of head ${head}`,
          rowLabel: names[0],
          columnLabel: names[1],
          small: true,
          bar: false,
          pick: (row, column) => context.state.set({ pair: at.pair(row, column), picture: "head", head }),
        }),
      );
      grid.replaceChildren(...pictures.map((picture) => picture.el));
    }
    patterns.forEach((tables, head) => {
      const values = inOrder(run, tables[now.position]);
      const mean = values.reduce((sum, one) => sum + one, 0) / values.length;
      pictures[head].draw({
        values,
        rows: run.m,
        columns: run.m,
        limits: [0, 1],
        mark: at.place(now.pair),
        title: `head ${head}, mean ${short(mean, 2)}${now.heads.includes(head) ? " (off)" : ""}`,
        read: (row, column, value) =>
          `head ${head}, a = ${at.pair(row, column)[0]}, b = ${at.pair(row, column)[1]}: ${short(value)}`,
      });
    });
    view.say(context.weightsNote("by head, dark 0 to bright 1"));
  });
  return view.el;
}

/** One neuron, head or logit as a picture, and the norm of its waves by frequency of a and of b. */
export function picture(context) {
  const view = panel("A neuron, head or logit", { wide: true });
  const now = context.state.now;
  const kind = choice("what", { neuron: "neuron", head: "head (a − b)", logit: "logit of c" }, now.picture, (value) =>
    context.state.set({ picture: value }),
  );
  const which = number("number", {
    value: 0,
    min: 0,
    max: 0,
    change: (value) => context.state.set({ [NUMBERS[context.state.now.picture]]: value }),
  });
  view.tools.append(kind.el, which.el);
  const { run } = context.shown()[0],
    names = axisNames(run);
  const left = heat({
    label: "value for every pair",
    rowLabel: names[0],
    columnLabel: names[1],
    pick: (row, column) => context.state.set({ pair: numbering(context.shown()[0].run).pair(row, column) }),
  });
  const right = heat({
    label: "norm by frequency",
    rowLabel: `frequency in ${names[0]}`,
    columnLabel: `frequency in ${names[1]}`,
  });
  view.body.append(h("div", { class: "pair-of" }, left.el, right.el));
  context.state.on(["opened", "picture", "neuron", "head", "logit", "pair"], (now) => {
    const network = context.network();
    if (!network) return;
    const { run } = context.shown()[0],
      at = numbering(run),
      m = run.m;
    kind.set(now.picture);
    const most = { neuron: network.width, head: run.model.n_heads, logit: network.classes }[now.picture] - 1;
    const n = Math.min(now[NUMBERS[now.picture]], most);
    Object.assign(which.input, { max: most, value: n });
    const values = valuesOf(network, run, now.picture, n);
    const signed = now.picture !== "neuron";
    left.draw({
      values,
      rows: m,
      columns: m,
      signed,
      mark: at.place(now.pair),
      read: (row, column, value) => `a = ${at.pair(row, column)[0]}, b = ${at.pair(row, column)[1]}: ${short(value)}`,
    });
    const mean = values.reduce((sum, one) => sum + one, 0) / values.length;
    const { norms, n: freqs } = frequencyNorms(
      values.map((value) => value - mean),
      m,
    );
    right.draw({
      values: norms,
      rows: freqs,
      columns: freqs,
      read: (row, column, value) => `k of ${names[0]} ${row}, of ${names[1]} ${column}: ${short(value)}`,
      mark: largest(norms, freqs),
    });
    view.say(context.weightsNote(`${SAID[now.picture]}; right: its waves, constant removed`));
  });
  return view.el;
}

const NUMBERS = { neuron: "neuron", head: "head", logit: "logit" };
const SAID = {
  neuron: "after the nonlinearity",
  head: "attention to a less attention to b",
  logit: "less the pair’s mean",
};

function largest(values, columns) {
  let best = 0;
  values.forEach((value, i) => value > values[best] && (best = i));
  return [Math.floor(best / columns), best % columns];
}

function valuesOf(network, run, kind, n) {
  if (kind === "neuron") return inOrder(run, network.neuron(n));
  if (kind === "head") {
    const [to_a, to_b] = network.pattern()[n];
    return inOrder(
      run,
      to_a.map((value, i) => value - to_b[i]),
    );
  }
  const logits = network.logits(),
    C = network.classes;
  return Float32Array.from(run.arrays["task/pairs"].data, (pair) => {
    let mean = 0;
    for (let c = 0; c < C; c++) mean += logits[pair * C + c] / C;
    return logits[pair * C + n] - mean;
  });
}
