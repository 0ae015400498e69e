// The logits: on the grid of sum and difference, and of one pair over all classes; as they are and as edited.

import { verticalAxis } from "../chart.js";
import { choice, h, number, panel, resized, s } from "../dom.js";
import { heat } from "../heat.js";
import { judged } from "../scores.js";
import { numbering } from "./pictures.js";
import { niceTicks, short } from "../time.js";

const READS = {
  margin: "right logit less the largest other",
  loss: "cross-entropy (nats)",
  right: "right logit less the mean of all",
};

/** Edited logits if there are edits, else those of the network as it is. */
function logitsOf(context) {
  const edited = context.state.now.result;
  if (edited?.logits) return { logits: edited.logits, classes: edited.classes, edited: true };
  const network = context.network();
  return network && { logits: network.logits(), classes: network.classes, edited: false };
}

/** A number of every pair on the grid of its sum and its difference. */
export function sums(context) {
  const view = panel("Logits by sum and difference", {});
  const kind = choice("what", { margin: "margin", loss: "loss", right: "right logit" }, "margin", (value) =>
    context.state.set({ read: value }),
  );
  view.tools.append(kind.el);
  const picture = heat({
    label: "by sum and difference",
    rowLabel: "a + b mod p",
    columnLabel: "a − b mod p",
    pick: (row, column) => {
      const { run } = context.shown()[0],
        m = run.m;
      for (let i = 0; i < m; i++)
        if ((2 * i) % m === (row + column) % m)
          return context.state.set({ pair: numbering(run).pair(i, (row - i + m) % m) });
    },
  });
  view.body.append(picture.el);
  context.state.on(["opened", "result", "read", "pair"], (now) => {
    const found = logitsOf(context);
    if (!found) return;
    const { run } = context.shown()[0],
      m = run.m;
    const [order, labels] = [run.arrays["task/pairs"].data, run.arrays["task/labels"].data];
    const [total, n] = [new Float64Array(m * m), new Float64Array(m * m)];
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < m; j++) {
        const pair = order[i * m + j],
          cell = ((i + j) % m) * m + ((i - j + m) % m);
        total[cell] += judged(found.logits, pair, found.classes, labels[pair])[now.read];
        n[cell] += 1;
      }
    }
    const place = numbering(run).place(now.pair);
    const values = total.map((value, i) => value / n[i]);
    picture.draw({
      values,
      rows: m,
      columns: m,
      signed: values.some((value) => value < 0),
      mark: place && [(place[0] + place[1]) % m, (place[0] - place[1] + m) % m],
      read: (row, column, value) => `sum ${row}, difference ${column}: ${short(value)}`,
    });
    view.say(context.weightsNote(`${READS[now.read]}${found.edited ? ", edited" : ""}`));
  });
  return view.el;
}

/** The logits of one pair over the classes. */
export function pair(context) {
  const view = panel("One pair", {});
  const { run } = context.shown()[0],
    at = run.arrays["task/inputs"].data;
  const [low, high] = [Math.min(at[0], at[1]), run.p - 1];
  const fields = ["a", "b"].map((name, i) =>
    number(name, {
      value: context.state.now.pair[i],
      min: low,
      max: high,
      change: (value) => context.state.set({ pair: context.state.now.pair.map((old, j) => (i === j ? value : old)) }),
    }),
  );
  view.tools.append(...fields.map((field) => field.el));
  const svg = s("svg", { class: "chart short", role: "img", "aria-label": "logits of the pair by class" });
  const said = h("p", { class: "said" });
  view.body.append(said, svg);
  const draw = (now) => {
    const found = logitsOf(context);
    if (!found) return;
    const { run } = context.shown()[0];
    fields.forEach((field, i) => (field.input.value = now.pair[i]));
    const place = numbering(run).place(now.pair);
    if (!place) return;
    const index = numbering(run).index(...place),
      label = run.arrays["task/labels"].data[index],
      C = found.classes;
    const plain = context.network()?.logits();
    const values = Array.from(found.logits.subarray(index * C, index * C + C));
    const before = found.edited && plain ? Array.from(plain.subarray(index * C, index * C + C)) : null;
    bars(svg, values, before, label);
    const { loss, probability } = judged(found.logits, index, C, label);
    const best = values.indexOf(Math.max(...values));
    const trained = run.arrays["task/is_train"].data;
    const mirror = numbering(run).place([now.pair[1], now.pair[0]]);
    const seen = mirror && trained[numbering(run).index(...mirror)];
    const side = !run.split_is_known
      ? "split not known"
      : trained[index]
        ? "trained on"
        : seen
          ? "test, its mirror (b, a) trained on"
          : "test, its mirror not trained on";
    said.textContent = `(${now.pair.join(", ")}) → ${label}: ${side}. Answer ${best}, ${best === label ? "right" : "wrong"}; probability of ${label} ${short(probability)}, loss ${short(loss)} nats`;
    view.say(context.weightsNote(found.edited ? "edited; outlines: as it was" : "logits by class"));
  };
  context.state.on(["opened", "result", "pair"], draw);
  resized(svg, () => draw(context.state.now));
  return view.el;
}

function bars(svg, values, before, label) {
  const box = svg.getBoundingClientRect();
  const [width, height, left, top, bottom] = [box.width || 360, box.height || 190, 46, 6, 32];
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const y = verticalAxis([values, before ?? [], [0]], false);
  const [w, t] = [width - left - 6, height - top - bottom],
    each = w / values.length;
  const py = (value) => top + (1 - y.at(value)) * t;
  const parts = [];
  for (const tick of y.ticks) {
    parts.push(
      s("line", { class: "grid", x1: left, x2: left + w, y1: py(tick), y2: py(tick) }),
      s("text", { class: "tick y", x: left - 5, y: py(tick) + 3.5, text: short(tick) }),
    );
  }
  const bar = (value, c, kind) =>
    s(
      "rect",
      {
        class: kind,
        x: left + c * each + each * 0.12,
        width: each * 0.76,
        y: Math.min(py(value), py(0)),
        height: Math.abs(py(value) - py(0)),
      },
      s("title", { text: `class ${c}: ${short(value)}` }),
    );
  values.forEach((value, c) => parts.push(bar(value, c, c === label ? "bar-of key" : "bar-of plain")));
  before?.forEach((value, c) => parts.push(bar(value, c, "outline")));
  for (const c of [...niceTicks(0, values.length - 1, 6)].filter((c) => Math.abs(c - label) * each > 16)) {
    parts.push(s("text", { class: "tick x", x: left + (c + 0.5) * each, y: top + t + 13, text: c }));
  }
  parts.push(s("text", { class: "tick x key", x: left + (label + 0.5) * each, y: top + t + 13, text: label }));
  parts.push(s("line", { class: "axis", x1: left, x2: left + w, y1: py(0), y2: py(0) }));
  parts.push(s("text", { class: "label", x: left + w / 2, y: height - 4, text: "class c (right answer in orange)" }));
  parts.push(
    s("text", { class: "label", x: 0, y: 0, transform: `translate(10 ${top + t / 2}) rotate(-90)`, text: "logit" }),
  );
  svg.replaceChildren(...parts);
}
