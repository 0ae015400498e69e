// The inspector: all views of some runs in an element, linked by one selection.

import { contextOf } from "./context.js";
import { h } from "./dom.js";
import { UNTOUCHED } from "./edits.js";
import { Run } from "./run.js";
import { selection } from "./state.js";
import { keys, strip } from "./strip.js";
import { accuracies, column, losses, polar } from "./views/curves.js";
import { hands, python } from "./views/hands.js";
import { pair, sums } from "./views/logits.js";
import { neurons } from "./views/neurons.js";
import { attention, picture } from "./views/pictures.js";
import { spectrum } from "./views/spectrum.js";

// Views in their order, with what a run must have for them: a key of `missing`, or none.
const VIEWS = [
  [losses],
  [accuracies],
  [polar],
  [column],
  [hands, "hands"],
  [python],
  [spectrum, "spectrum"],
  [attention, "attention"],
  [picture, "pictures"],
  [neurons, "neurons"],
  [sums, "pictures"],
  [pair, "pictures"],
];
const CALLED = {
  spectrum: "spectrum",
  neurons: "neurons",
  attention: "attention",
  pictures: "pictures, logits and pairs",
  hands: "hands on the model",
};

/**
 * @param {HTMLElement} root
 * @param {{content: object, arrays: object}} payload of `packing.js`
 * @param {{kernel: object, host?: object, page?: boolean}} around
 *   host: what answers requests for weights; page: whether the keys of the slider are those of the whole page
 */
export function inspector(root, { content, arrays }, { kernel, host, page }) {
  const runs = content.runs.map((run, i) => new Run(run, arrays, i));
  for (const run of runs) run.everyStep = Boolean(host?.weights);
  const first = runs[0];
  const state = selection({
    at: first.steps.length - 1,
    axis: "log",
    a: 0,
    b: runs.length > 1 ? 1 : -1,
    playing: false,
    freq: first.key_freqs[0] ?? 1,
    picture: first.missing.neurons ? "logit" : "neuron",
    neuron: purest(first),
    head: 0,
    logit: 0,
    position: 0,
    read: "margin",
    pair: firstPair(first),
    result: undefined,
    wrong: "",
    arrived: "",
    opened: "",
    column: undefined,
    ...UNTOUCHED,
  });
  const context = contextOf({ runs, state, kernel, host });
  const bar = strip(context);
  const missing = { ...first.missing };
  if (!first.weights.size && !host)
    for (const view of ["hands", "pictures", "attention"]) missing[view] ??= "no weights are on this page";
  first.missing = missing;

  // A view of networks is drawn when their weights are there and have been run.
  state.on(["at", "a", "arrived"], () => {
    const { run, step } = context.shown()[0];
    if (host?.weights) context.request(run, step);
    state.set({ opened: `${run.index}@${step} by ${context.weightsStep()}` });
  });
  state.on(["from", "wayTo", "taken", "way"], (now) => {
    for (const end of [now.taken && now.from, now.way && now.wayTo]) if (end) context.request(runs[end[0]], end[1]);
  });

  const heading = h("header", { class: "about" });
  state.on(["a", "b"], () => {
    const names = context.shown().map(({ run }) => run.name);
    heading.replaceChildren(
      h("h1", { text: names[0] }),
      names[1] ? h("span", { class: "beside", text: `beside ${names[1]} (pale lines)` }) : "",
      h(
        "dl",
        {},
        Object.entries(context.shown()[0].run.facts).map(([name, text]) =>
          h("div", {}, h("dt", { text: name }), h("dd", { text })),
        ),
      ),
      h("p", { class: "said", text: keysOf(context.shown()[0].run) }),
    );
  });
  const grid = h("main", { class: "grid-of-panels" });
  root.classList.add("cg");
  root.replaceChildren(heading, bar.el, grid);
  const left = new Map();
  for (const [view, needs] of VIEWS) {
    if (needs && missing[needs]) left.set(needs, missing[needs]);
    else grid.append(view(context));
  }
  if (left.size) {
    const reasons = [...new Set(left.values())];
    const said = reasons.map(
      (reason) =>
        `${[...left.keys()]
          .filter((name) => left.get(name) === reason)
          .map((name) => CALLED[name])
          .join(", ")} (${reason})`,
    );
    root.append(h("p", { class: "not-shown" }, h("b", { text: "Not shown: " }), said.join("; ")));
  }
  root.append(
    h("footer", {
      class: "said",
      text: `circuitgrok ${content.version}; arrows, home, end move along the run, space plays`,
    }),
  );
  const stop = keys(context, page ? document : root);
  return { state, context, stop };
}

/** A pair to begin with: the first of two different numbers that was not trained on. */
function firstPair(run) {
  const inputs = run.arrays["task/inputs"]?.data,
    trained = run.arrays["task/is_train"]?.data;
  if (!inputs) return [0, 0];
  const pair = trained.findIndex((yes, i) => !yes && inputs[3 * i] < inputs[3 * i + 1]);
  return [inputs[3 * Math.max(0, pair)], inputs[3 * Math.max(0, pair) + 1]];
}

/** The key frequencies in words; some of them, if they are many. */
function keysOf({ key_freqs: keys, key_freqs_rule: rule, sparsity }) {
  if (!keys.length) return "";
  const named = keys.length > 12 ? `${keys.slice(0, 5).join(", ")}, … (${keys.length})` : keys.join(", ");
  return `key frequencies ${named} (rule ${rule}), ${sparsity === "sparse" ? "a sparse spectrum" : sparsity}`;
}

/** The neuron to begin with: the one that is tuned most purely at the end. */
function purest(run) {
  const purity = run.neurons(run.steps.length - 1)?.purity ?? [0];
  return purity.indexOf(Math.max(...purity));
}
