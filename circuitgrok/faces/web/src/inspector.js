// The inspector: all views of some runs in an element, linked by one selection.

import { contextOf } from "./context.js";
import { h } from "./dom.js";
import { ENDS, UNTOUCHED } from "./edits.js";
import { Run } from "./run.js";
import { selection } from "./state.js";
import { keys, strip } from "./strip.js";
import { python } from "./views/code.js";
import { accuracies, column, losses, polar } from "./views/curves.js";
import { hands } from "./views/hands.js";
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
  for (const run of runs) if (!run.weights.size && !host) withoutWeights(run);
  const state = selection({
    at: runs[0].steps.length - 1,
    axis: "log",
    a: 0,
    b: runs.length > 1 ? 1 : -1,
    playing: false,
    position: 0,
    read: "margin",
    result: undefined,
    arrived: "",
    opened: "",
    column: undefined,
    ...ENDS,
    ...beginning(runs[0]),
  });
  const context = contextOf({ runs, state, kernel, host });

  // A view of networks is drawn when their weights are there.
  state.on(["at", "a", "arrived"], () => {
    const { run, step } = context.shown()[0];
    context.request(run, step);
    state.set({ opened: `${run.index}@${step} by ${context.weightsStep()}` });
  });
  state.on(["from", "wayTo", "taken", "way"], (now) => {
    for (const end of [now.taken && now.from, now.way && now.wayTo]) if (end) context.request(runs[end[0]], end[1]);
  });

  const heading = h("header", { class: "about" });
  state.on(["a", "b"], () => heading.replaceChildren(...headingOf(context.shown())));
  const grid = h("main", { class: "grid-of-panels" });
  const missing = h("p", { class: "not-shown" });
  const said = `circuitgrok ${content.version}; arrows, home, end move along the run, space plays`;
  root.classList.add("cg");
  root.replaceChildren(heading, strip(context).el, grid, missing, h("footer", { class: "said", text: said }));

  // Views are those of the first run that is shown: another one may have other heads, frequencies, or none.
  let scope, shape;
  state.on(["a"], () => {
    const { run } = context.shown()[0];
    const other = JSON.stringify([run.model, run.m, run.missing]);
    if (shape !== undefined && shape !== other) state.set(beginning(run));
    shape = other;
    scope?.close();
    scope = state.scope();
    const views = VIEWS.filter(([, needs]) => !(needs && run.missing[needs]));
    grid.replaceChildren(...views.map(([view]) => view({ ...context, state: scope })));
    missing.replaceChildren(...missingOf(run));
    missing.hidden = !missing.childNodes.length;
  });
  const stop = keys(context, page ? document : root);
  return { state, context, stop };
}

/** What is selected of a run when its views are made; nothing is changed in its network. */
function beginning(run) {
  return {
    freq: run.key_freqs[0] ?? 1,
    picture: run.missing.neurons ? "logit" : "neuron",
    neuron: purest(run),
    head: 0,
    logit: 0,
    pair: firstPair(run),
    ...UNTOUCHED,
  };
}

/** Without weights there are no networks to look at. */
function withoutWeights(run) {
  for (const view of ["hands", "pictures", "attention"]) run.missing[view] ??= "no weights are on this page";
}

/** Name, facts and key frequencies of the first run, and the name of the one beside it. */
function headingOf(shown) {
  const [{ run }, other] = shown;
  const fact = ([name, text]) => h("div", {}, h("dt", { text: name }), h("dd", { text }));
  return [
    h("h1", { text: run.name }),
    other ? h("span", { class: "beside", text: `beside ${other.run.name} (pale lines)` }) : "",
    h("dl", {}, Object.entries(run.facts).map(fact)),
    h("p", { class: "said", text: keysOf(run) }),
  ];
}

/** Which views are not shown, by the reason. */
function missingOf({ missing }) {
  const names = Object.keys(missing).filter((name) => name in CALLED);
  if (!names.length) return [];
  const reasons = [...new Set(names.map((name) => missing[name]))];
  const of = (reason) => names.filter((name) => missing[name] === reason).map((name) => CALLED[name]);
  return [h("b", { text: "Not shown: " }), reasons.map((reason) => `${of(reason).join(", ")} (${reason})`).join("; ")];
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
