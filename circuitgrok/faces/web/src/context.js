// What all views share: which runs are shown, at which checkpoint, the kernel and what it says of the networks there.

import { editsOf, sourcesOf } from "./edits.js";
import { judged } from "./scores.js";
import { stepText, timeAxis } from "./time.js";

const OPENED = 3; // networks that are kept open

/**
 * @param {{runs: object[], state: object, kernel: object, host: object}} given
 *   host: `{weights(run, step)}` asks for weights that are not here; undefined in a report
 */
export function contextOf({ runs, state, kernel, host }) {
  const opened = new Map();
  const networks = new Map();
  const asked = new Set();

  /** The runs that are drawn, each `{run, axis, at, step}`; all but the first at the same place of the axis of time. */
  function shown() {
    const { a, b, at, axis } = state.now;
    const picked = [runs[a], ...(b >= 0 && b !== a ? [runs[b]] : [])];
    const axes = picked.map((run) => timeAxis(axis, run, picked));
    const step = runs[a].steps[at];
    return picked.map((run, i) => {
      const index = i ? run.nearest(axes[i].step(axes[0].at(step))) : at;
      return { run, axis: axes[i], at: index, step: run.steps[index] };
    });
  }

  /** The step whose weights stand for the selected checkpoint; undefined if there are none. */
  const weightsStep = () => {
    const { run, step } = shown()[0];
    return run.nearestWithWeights(step);
  };
  const weights = (run = shown()[0].run, step = weightsStep()) => run.weights.get(step);

  function networkAt(run, step) {
    const key = `${run.index}@${step}`;
    if (!networks.has(key)) {
      if (networks.size >= OPENED) networks.delete(networks.keys().next().value);
      const array = (name) => run.arrays[`task/${name}`]?.data;
      const task = { p: run.p, operation: run.operation, labels: array("labels"), is_train: array("is_train") };
      for (const name of ["inputs", "features"]) if (array(name)) task[name] = array(name);
      networks.set(key, kernel.network({ model: run.model, task, weights: run.weights.get(step) }));
    }
    return networks.get(key);
  }

  /** The selected network as it is: `{pattern(), neuron(n), logits(), scores, classes, width}`; undefined without weights. */
  function network() {
    const { run } = shown()[0],
      step = weightsStep();
    if (step === undefined || !run.arrays["task/labels"]) return undefined;
    const key = `${run.index}@${step}`;
    if (!opened.has(key)) {
      if (opened.size >= OPENED) opened.delete(opened.keys().next().value);
      opened.set(key, viewOf(networkAt(run, step).run([], { keep: ["neurons", "pattern"] }), run));
    }
    return opened.get(key);
  }

  /** What the edits make of the selected network; undefined without edits or weights. */
  function edited() {
    const { run } = shown()[0],
      step = weightsStep(),
      edits = editsOf(state.now);
    if (!edits.length || step === undefined) return undefined;
    const sources = {};
    for (const [name, [from, at]] of Object.entries(sourcesOf(state.now))) {
      sources[name] = runs[from].weights.get(at);
      if (!sources[name]) throw new Error(`the weights of ${runs[from].name} at step ${at} are on their way`);
    }
    return scored(networkAt(run, step).run(edits, { sources }), run);
  }

  /** Ask for the weights of checkpoints that are not here, where someone can be asked. */
  function request(run, step) {
    const key = `${run.index}@${step}`;
    if (!host?.weights || run.weights.has(step) || asked.has(key)) return;
    asked.add(key);
    host.weights(run.index, step);
  }

  /** Weights that came. */
  function received(index, step, arrays) {
    for (const [name, array] of Object.entries(arrays)) runs[index].add(step, name, array);
    state.set({ arrived: `${index}@${step}` });
  }

  /** Select the checkpoint nearest to a place on the axis of time. */
  function pick(at) {
    const { run, axis } = shown()[0];
    let best = 0;
    for (let i = 0; i < run.steps.length; i++) {
      if (Math.abs(axis.at(run.steps[i]) - at) < Math.abs(axis.at(run.steps[best]) - at)) best = i;
    }
    state.set({ at: best });
  }

  /** Put a number into a list of the state, or take it out. */
  function toggle(name, value) {
    const list = state.now[name];
    state.set({ [name]: list.includes(value) ? list.filter((one) => one !== value) : [...list, value] });
  }

  /** A note of a view, which says whose weights are drawn if they are not the selected checkpoint's. */
  function weightsNote(text) {
    const { step } = shown()[0],
      from = weightsStep();
    return from === step ? text : `${text} (weights: step ${stepText(from)})`;
  }

  return { runs, state, shown, weights, weightsStep, network, edited, request, received, pick, toggle, weightsNote };
}

/** A result with loss and accuracy of all examples; those by side are not known where the split is not. */
function scored(result, run) {
  const labels = run.arrays["task/labels"].data,
    n = labels.length;
  let [loss, right] = [0, 0];
  for (let i = 0; i < n; i++) {
    const one = judged(result.logits, i, result.classes, labels[i]);
    loss += one.loss / n;
    right += one.margin > 0;
  }
  const unknown = run.split_is_known ? {} : { train_loss: NaN, test_loss: NaN, train_acc: NaN, test_acc: NaN };
  return { ...result, ...unknown, all_loss: loss, all_acc: right / n };
}

/** A result of the kernel as views ask for it. */
function viewOf(result, run) {
  const pairs = run.arrays["task/labels"].data.length;
  const width = result.neurons.length / pairs,
    heads = run.model.n_heads ?? 0;
  const positions = result.pattern ? result.pattern.length / pairs / heads : 0;
  let pattern;
  return {
    scores: scored(result, run),
    classes: result.classes,
    width,
    logits: () => result.logits,
    neuron: (n) => Float32Array.from({ length: pairs }, (_, pair) => result.neurons[pair * width + n]),
    pattern: () =>
      (pattern ??= Array.from({ length: heads }, (_, head) =>
        Array.from({ length: positions }, (_, position) =>
          Float32Array.from(
            { length: pairs },
            (_, pair) => result.pattern[(pair * positions + position) * heads + head],
          ),
        ),
      )),
  };
}
