// Hands on the model: parts switched off, radius, path, transplants; losses and accuracies at once, and as Python.

import { choice, h, number, panel, select } from "../dom.js";
import { UNTOUCHED, editsOf, sourcesOf } from "../edits.js";
import { pythonOf } from "../python.js";
import { short, stepText } from "../time.js";

const SCORES = [
  ["train_loss", "train loss (nats)"],
  ["test_loss", "test loss (nats)"],
  ["all_loss", "loss of all (nats)"],
  ["train_acc", "train accuracy"],
  ["test_acc", "test accuracy"],
  ["all_acc", "accuracy of all"],
];
const PARTS = { mlp: "MLP", attention: "attention", pattern: "pattern → uniform", skip: "skip" };
const WHERE = { waves: "in neurons", excluded: "in logits", cluster: "their neurons" };
const TOUCHED = Object.keys(UNTOUCHED);

/** What is switched off and moved, and what that does. */
export function hands(context) {
  const view = panel("Hands on the model", { wide: true });
  const { state } = context;
  const { run } = context.shown()[0];
  const has = (view) => !run.missing[view];
  const reset = h("button", { type: "button", text: "undo all", onclick: () => state.set(UNTOUCHED) });
  view.tools.append(reset);
  const rows = h("div", { class: "hands controls" });
  const row = (label, ...content) =>
    rows.append(
      h(
        "div",
        { class: "hand" },
        h("span", { class: "hand-label", text: label }),
        h("div", { class: "hand-body" }, ...content),
      ),
    );

  const chips = (name, values, text) => {
    const buttons = new Map(
      values.map((value) => [
        value,
        h("button", { type: "button", class: "chip", text: text(value), onclick: () => context.toggle(name, value) }),
      ]),
    );
    state.on([name], (now) =>
      buttons.forEach((button, value) => button.setAttribute("aria-pressed", String(now[name].includes(value)))),
    );
    return h("div", { class: "chips" }, ...buttons.values());
  };
  if (has("spectrum")) {
    const freqs = Array.from({ length: Math.floor(run.m / 2) }, (_, i) => i + 1);
    const where = choice("where", WHERE, "waves", (value) => state.set({ where: value }));
    const all = h("button", {
      type: "button",
      class: "chip",
      text: "all key",
      onclick: () => state.set({ off: run.key_freqs }),
    });
    const chosen = chips("off", freqs, String);
    freqs.forEach((k, i) => run.key_freqs.includes(k) && chosen.children[i].classList.add("key"));
    chosen.prepend(all);
    row("frequencies off", chosen, where.el);
    state.on(["where"], (now) => where.set(now.where));
  }
  const fill = choice("what stands in the place", { zero: "zero", mean: "mean" }, "zero", (value) =>
    state.set({ fill: value }),
  );
  state.on(["fill"], (now) => fill.set(now.fill));
  if (run.model.kind === "transformer") {
    row(
      "heads, parts off",
      chips(
        "heads",
        Array.from({ length: run.model.n_heads }, (_, i) => i),
        (i) => `head ${i}`,
      ),
      chips("parts", Object.keys(PARTS), (name) => PARTS[name]),
      fill.el,
    );
  }
  if (has("neurons")) {
    const said = h("span", { class: "said" });
    const ofFreq = h("button", {
      type: "button",
      class: "chip",
      text: "those of the circle's k",
      onclick: () => {
        const { run, at } = context.shown()[0],
          found = run.neurons(at);
        state.set({ neurons: Array.from(found.freq.keys()).filter((n) => found.freq[n] === state.now.freq) });
      },
    });
    const none = h("button", {
      type: "button",
      class: "chip",
      text: "none",
      onclick: () => state.set({ neurons: [] }),
    });
    const one = number("one", {
      value: 0,
      min: 0,
      max: 1e6,
      change: (n) => context.network() && n < context.network().width && context.toggle("neurons", n),
    });
    state.on(
      ["neurons"],
      (now) =>
        (said.textContent = now.neurons.length
          ? `${now.neurons.length} off: ${[...now.neurons]
              .sort((a, b) => a - b)
              .slice(0, 12)
              .join(", ")}${now.neurons.length > 12 ? ", …" : ""}`
          : "none off"),
    );
    row("neurons off", ofFreq, none, one.el, said, ...(run.model.kind === "transformer" ? [] : [fill.el]));
  }
  row(
    "radius",
    slider(state, "radius", -60, 100, (value) => `${value > 0 ? "+" : ""}${value} %`),
  );
  const ends = () =>
    context.runs.flatMap((one) =>
      [...(one.everyStep ? one.steps : one.weights.keys())]
        .sort((a, b) => a - b)
        .map((step) => [
          `${one.index}@${step}`,
          `${context.runs.length > 1 ? `${one.name}, ` : ""}step ${stepText(step)}`,
        ]),
    );
  const chosen = (key, name) => {
    const [index, step] = key.split("@").map(Number);
    context.request(context.runs[index], step);
    state.set({ [name]: [index, step] });
  };
  const options = ends();
  const firstEnd = options[options.length - 1]?.[0];
  const wayTo = select("to", options, firstEnd, (key) => chosen(key, "wayTo"));
  const from = select("from", options, firstEnd, (key) => chosen(key, "from"));
  if (firstEnd) {
    const [index, step] = firstEnd.split("@").map(Number);
    state.set({ wayTo: [index, step], from: [index, step] });
  }
  row(
    "along the path",
    slider(state, "way", 0, 100, (value) => `${value} %`),
    wayTo.el,
  );
  const taken = h("input", {
    type: "checkbox",
    "aria-label": "transplant",
    onchange: () => state.set({ taken: taken.checked }),
  });
  const what = select(
    "take",
    [
      ["weights", "weights"],
      ["radius", "radius"],
      ["direction", "direction"],
    ],
    "weights",
    (value) => state.set({ what: value }),
  );
  const which = select("of", weightsOf(run), "*", (value) => state.set({ weights: value }));
  state.on(["taken", "what", "weights"], (now) => {
    taken.checked = now.taken;
    what.input.value = now.what;
    which.input.value = now.weights;
  });
  row("transplant", h("label", { class: "field" }, taken, h("span", { text: "on" })), what.el, which.el, from.el);

  const table = h("table", { class: "scores" });
  const said = h("p", { class: "said", role: "status" });
  view.body.append(h("div", { class: "hands-grid" }, rows, h("div", {}, table, said)));

  state.on([...TOUCHED, "opened", "arrived"], (now) => {
    const plain = context.network()?.scores;
    if (!plain) return;
    let found,
      wrong = "";
    const began = performance.now();
    try {
      found = context.edited();
    } catch (error) {
      wrong = error.message;
    }
    const took = performance.now() - began;
    state.set({ result: found, wrong });
    const edits = editsOf(now);
    said.textContent =
      wrong ||
      (edits.length
        ? `${edits.length} edit${edits.length > 1 ? "s" : ""}, computed in this page in ${Math.max(1, Math.round(took))} ms`
        : "nothing is changed");
    table.replaceChildren(
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ["", "as it is", "edited"].map((text) => h("th", { scope: "col", text })),
        ),
      ),
      h(
        "tbody",
        {},
        SCORES.map(([name, text]) =>
          h(
            "tr",
            { "data-score": name },
            h("th", { scope: "row", text }),
            h("td", { text: short(plain[name], 5), "data-value": plain[name] }),
            h("td", { text: found ? short(found[name], 5) : "–", "data-value": found ? found[name] : "" }),
          ),
        ),
      ),
    );
    const { run } = context.shown()[0];
    view.say(
      `at step ${stepText(context.weightsStep())}${run.temperature === 1 ? "" : `; losses of the logits as they are, not divided by ${run.temperature}`}`,
    );
  });
  return view.el;
}

function slider(state, name, min, max, text) {
  const input = h("input", {
    type: "range",
    min,
    max,
    step: 1,
    value: 0,
    "aria-label": name === "radius" ? "change of the radius in percent" : "share of the way in percent",
  });
  const said = h("output", { text: text(0) });
  input.addEventListener("input", () => state.set({ [name]: Number(input.value) }));
  state.on([name], (now) => {
    input.value = now[name];
    said.textContent = text(now[name]);
  });
  return h("label", { class: "field long" }, input, said);
}

/** Patterns of weights that can be transplanted. */
function weightsOf(run) {
  if (run.model.kind !== "transformer")
    return [
      ["*", "all weights"],
      ["embed", "embedding"],
      ["mlp", "MLP"],
      ["unembed", "unembedding"],
    ].filter(([name]) => name !== "embed" || run.model.kind === "embedding_mlp");
  const { n_layers: layers, n_heads: heads } = run.model;
  const many = layers > 1;
  return [
    ["*", "all weights"],
    ["embed", "embedding"],
    ["attention", "attention"],
    ["mlp", "MLP"],
    ["unembed", "unembedding"],
    ...Array.from({ length: many ? layers : 0 }, (_, i) => [`blocks.${i}`, `layer ${i}`]),
    ...Array.from({ length: layers * heads }, (_, i) => {
      const [layer, head] = [Math.floor(i / heads), i % heads];
      const name = many && layer < layers - 1 ? `layer ${layer} head ${head}` : `head ${head}`;
      return [name, many ? `layer ${layer} head ${head}` : name];
    }),
  ];
}

/** The lines that give the same numbers in Python. */
export function python(context) {
  const view = panel("As Python", { note: "gives the numbers above", wide: true });
  const code = h("pre", { tabindex: 0, "aria-label": "Python lines" });
  const copy = h("button", {
    type: "button",
    text: "copy as Python",
    onclick: async () => {
      let done = true;
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch {
        getSelection().selectAllChildren(code);
        done = document.execCommand("copy");
      }
      copy.textContent = done ? "copied" : "select and copy";
      setTimeout(() => (copy.textContent = "copy as Python"), 1500);
    },
  });
  view.tools.append(copy);
  view.body.append(code);
  context.state.on([...TOUCHED, "opened", "result"], (now) => {
    const { run } = context.shown()[0];
    code.textContent = pythonOf(
      context.runs,
      run,
      context.weightsStep() ?? context.shown()[0].step,
      editsOf(now),
      sourcesOf(now),
      now.result ?? context.network()?.scores,
    );
  });
  return view.el;
}
