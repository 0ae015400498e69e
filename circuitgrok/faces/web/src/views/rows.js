// The switches of the hands on the model, a row for each kind; each row knows the state that it is about.

import { choice, h, number, select } from "../dom.js";
import { stepText } from "../time.js";

const PARTS = { mlp: "MLP", attention: "attention", pattern: "pattern → uniform", skip: "skip" };
const WHERE = { waves: "in neurons", excluded: "in logits", cluster: "their neurons" };
const MOST_NAMED = 12; // neurons

const button = (text, onclick) => h("button", { type: "button", class: "chip", text, onclick });
const upTo = (n) => Array.from({ length: n }, (_, i) => i);

/** A row for each thing that can be done to a run's network. */
export function rowsOf(context) {
  const { run } = context.shown()[0];
  const isTransformer = run.model.kind === "transformer";
  const fill = fillOf(context.state);
  const rows = [];
  if (!run.missing.spectrum) rows.push(["frequencies off", frequencies(context, run)]);
  if (isTransformer) rows.push(["heads, parts off", [...partsOf(context, run), fill]]);
  if (!run.missing.neurons) rows.push(["neurons off", [...neuronsOf(context), ...(isTransformer ? [] : [fill])]]);
  rows.push(["radius", [slider(context.state, "radius", -60, 100, "change of the radius in percent")]]);
  rows.push(...fromElsewhere(context, run));
  return rows.map(([label, content]) =>
    h(
      "div",
      { class: "hand" },
      h("span", { class: "hand-label", text: label }),
      h("div", { class: "hand-body" }, content),
    ),
  );
}

/** Buttons for some numbers or names, pressed where they are in a list of the state. */
function chips(context, name, values, text) {
  const buttons = new Map(values.map((value) => [value, button(text(value), () => context.toggle(name, value))]));
  context.state.on([name], (now) =>
    buttons.forEach((one, value) => one.setAttribute("aria-pressed", String(now[name].includes(value)))),
  );
  return buttons;
}

function fillOf(state) {
  const fill = choice("what stands in the place", { zero: "zero", mean: "mean" }, "zero", (fill) =>
    state.set({ fill }),
  );
  state.on(["fill"], (now) => fill.set(now.fill));
  return fill.el;
}

function frequencies(context, run) {
  const { state } = context;
  const buttons = chips(
    context,
    "off",
    upTo(Math.floor(run.m / 2)).map((i) => i + 1),
    String,
  );
  for (const k of run.key_freqs) buttons.get(k)?.classList.add("key");
  const all = button("all key", () => state.set({ off: run.key_freqs }));
  const where = choice("where", WHERE, "waves", (value) => state.set({ where: value }));
  state.on(["where"], (now) => where.set(now.where));
  return [h("div", { class: "chips" }, all, ...buttons.values()), where.el];
}

function partsOf(context, run) {
  const heads = chips(context, "heads", upTo(run.model.n_heads), (i) => `head ${i}`);
  const parts = chips(context, "parts", Object.keys(PARTS), (name) => PARTS[name]);
  return [heads, parts].map((buttons) => h("div", { class: "chips" }, ...buttons.values()));
}

function neuronsOf(context) {
  const { state } = context;
  const ofFreq = button("those of the circle's k", () => {
    const { run, at } = context.shown()[0];
    const { freq } = run.neurons(at);
    state.set({ neurons: Array.from(freq.keys()).filter((n) => freq[n] === state.now.freq) });
  });
  const none = button("none", () => state.set({ neurons: [] }));
  const change = (n) => n < (context.network()?.width ?? 0) && context.toggle("neurons", n);
  const one = number("one", { value: 0, min: 0, max: 1e6, change });
  const said = h("span", { class: "said" });
  state.on(["neurons"], (now) => {
    const first = [...now.neurons].sort((a, b) => a - b).slice(0, MOST_NAMED);
    const more = now.neurons.length > MOST_NAMED ? ", …" : "";
    said.textContent = now.neurons.length ? `${now.neurons.length} off: ${first.join(", ")}${more}` : "none off";
  });
  return [ofFreq, none, one.el, said];
}

/** The rows that take from another checkpoint: on the way to it, or parts of it. */
function fromElsewhere(context, run) {
  const { state, runs } = context;
  const named = (one, step) => `${runs.length > 1 ? `${one.name}, ` : ""}step ${stepText(step)}`;
  const options = runs.flatMap((one) =>
    [...(one.everyStep ? one.steps : one.weights.keys())]
      .sort((a, b) => a - b)
      .map((step) => [`${one.index}@${step}`, named(one, step)]),
  );
  if (!options.length) return [];
  const placed = (key) => key.split("@").map(Number);
  const end = (label, name) => {
    const picker = select(label, options, undefined, (key) => state.set({ [name]: placed(key) }));
    state.on([name], (now) => (picker.input.value = now[name].join("@")));
    return picker.el;
  };
  const last = options[options.length - 1][0];
  for (const name of ["wayTo", "from"]) if (!state.now[name]) state.set({ [name]: placed(last) });

  const taken = h("input", { type: "checkbox", "aria-label": "transplant" });
  taken.addEventListener("change", () => state.set({ taken: taken.checked }));
  const words = ["weights", "radius", "direction"].map((word) => [word, word]);
  const what = select("take", words, state.now.what, (value) => state.set({ what: value }));
  const which = select("of", weightsOf(run), state.now.weights, (value) => state.set({ weights: value }));
  state.on(["taken", "what", "weights"], (now) => {
    taken.checked = now.taken;
    what.input.value = now.what;
    which.input.value = now.weights;
  });
  const on = h("label", { class: "field" }, taken, h("span", { text: "on" }));
  return [
    ["along the path", [slider(state, "way", 0, 100, "share of the way in percent"), end("to", "wayTo")]],
    ["transplant", [on, what.el, which.el, end("from", "from")]],
  ];
}

/** Patterns of weights that can be transplanted, as Python's `select` knows them, and what they are called. */
function weightsOf(run) {
  const roles = [
    ["*", "all weights"],
    ["embed", "embedding"],
    ["attention", "attention"],
    ["mlp", "MLP"],
    ["unembed", "unembedding"],
  ];
  const { kind, n_layers: layers, n_heads: heads } = run.model;
  if (kind !== "transformer") {
    const lacking = kind === "embedding_mlp" ? ["attention"] : ["attention", "embed"];
    return roles.filter(([name]) => !lacking.includes(name));
  }
  const ofLayers = layers > 1 ? upTo(layers).map((i) => [`blocks.${i}`, `layer ${i}`]) : [];
  const ofHeads = upTo(layers * heads).map((i) => {
    const [layer, head] = [Math.floor(i / heads), i % heads];
    const said = layers > 1 ? `layer ${layer} head ${head}` : `head ${head}`;
    return [layer < layers - 1 ? said : `head ${head}`, said];
  });
  return [...roles, ...ofLayers, ...ofHeads];
}

/** A slider over percents. */
function slider(state, name, min, max, label) {
  const input = h("input", { type: "range", min, max, step: 1, "aria-label": label });
  const said = h("output");
  input.addEventListener("input", () => state.set({ [name]: Number(input.value) }));
  state.on([name], (now) => {
    input.value = now[name];
    said.textContent = `${min < 0 && now[name] > 0 ? "+" : ""}${now[name]} %`;
  });
  return h("label", { class: "field long" }, input, said);
}
