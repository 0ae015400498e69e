/**
 * Networks in the browser, with the edits of Python: change weights and parts, and see the losses at once.
 *
 *   const k = await Kernel.load(bytes);                      // bytes of kernel.wasm; without: plain JavaScript, slow
 *   const net = k.network({ model, task, weights });         // model as config.json has it, task as in task.js
 *   const out = net.run([{ kind: "ablate", part: "head 0" }], { sources: { other } });
 *   out.train_loss; out.test_acc; out.logits;                // [pair, c], the task's pairs in their order
 *
 * Losses are mean cross-entropies in nats over the p numbers as classes, from float64, as in Python's `cg.edited`.
 * Arrays are of float32; of float64 in plain JavaScript, if the weights are.
 * No dependencies, no build: import it from a page or from node.
 */

import { mlp, transformer } from "./forward.js";
import { ablations } from "./parts.js";
import { Plain } from "./plain.js";
import { Task } from "./task.js";
import { Wasm } from "./wasm.js";
import { edited } from "./weights.js";

export { parsePart } from "./parts.js";
export { Task } from "./task.js";
export { fourierBasis, spectrum2d } from "./waves.js";

const FORWARD = { transformer, embedding_mlp: mlp, quadratic_mlp: mlp, dense: mlp };

/** The arithmetic that networks are computed with. */
export class Kernel {
  /** @param {object} arithmetic an object of plain.js or wasm.js */
  constructor(arithmetic) {
    this.arithmetic = arithmetic;
  }

  /**
   * @param {BufferSource} [bytes] content of kernel.wasm; without them everything is computed in plain JavaScript
   * @returns {Promise<Kernel>}
   */
  static async load(bytes) {
    if (!bytes) return new Kernel(new Plain());
    const { instance } = await WebAssembly.instantiate(bytes, {});
    return new Kernel(new Wasm(instance));
  }

  /**
   * A network with its task.
   * @param {object} given
   *   model: as in Python's JSON, with `kind`; task: see `Task`, or one;
   *   weights: a Map, or an object, from names to `{shape, data}` with the numbers in a typed array
   */
  network({ model, task, weights }) {
    return new Network(this.arithmetic, model, task instanceof Task ? task : new Task(task), weights);
  }
}

/** A Map from names to `{shape, data}`, whatever the container. */
function mapped(weights) {
  return weights instanceof Map ? weights : new Map(Object.entries(weights));
}

/** One network on all pairs of its task. */
class Network {
  constructor(arithmetic, model, task, weights) {
    if (!FORWARD[model.kind]) throw new Error(`no network of kind '${model.kind}'; got ${Object.keys(FORWARD)}`);
    Object.assign(this, { x: arithmetic, model, task, weights: mapped(weights) });
    this.layers = model.n_layers ?? model.depth ?? 1;
  }

  /**
   * The network after edits.
   * @param {object[]} edits as in Python's JSON; weights first, then ablations on one forward pass
   * @param {object} [options]
   *   sources: other checkpoints by name, in the form of `weights`, for patch and move;
   *   keep: which activations to return, of "neurons", "reads" (the same before the nonlinearity) and "pattern"
   * @returns {{train_loss: number, test_loss: number, train_acc: number, test_acc: number, logits: Float32Array,
   *   classes: number, neurons?: Float32Array, reads?: Float32Array, pattern?: Float32Array}}
   *   [pair, class], [pair, neuron] of the last block or hidden layer, [pair, position, head] of the last position
   */
  run(edits = [], { sources = {}, keep = [] } = {}) {
    const given = Object.fromEntries(Object.entries(sources).map(([name, other]) => [name, mapped(other)]));
    const weights = edited(this.weights, edits, given);
    this.x.begin();
    const parts = ablations(edits, this.layers - 1);
    for (const { layer, said } of parts) {
      if (layer >= this.layers) throw new Error(`no ${said}: there are ${this.layers} layers, from 0`);
    }
    const found = FORWARD[this.model.kind](this.x, this.model, (name) => this._matrix(weights, name), parts, this.task);
    const numbers = (matrix) => this.x.read(matrix);
    const kept = { neurons: found.post, reads: found.pre, pattern: found.pattern };
    return {
      ...this.x.scores(found.logits, this.task),
      logits: numbers(found.logits),
      classes: found.logits.cols,
      ...Object.fromEntries(keep.filter((name) => kept[name]).map((name) => [name, numbers(kept[name])])),
    };
  }

  /** A tensor as a matrix: heads side by side, [d_model, head * d_head] or [head * d_head, d_model]; biases a row. */
  _matrix(weights, name) {
    const { shape, data } = weights.get(name) ?? {};
    if (!data) throw new Error(`the network has no tensor ${name}`);
    if (shape.length === 1 || /\.b_[QKV]$/.test(name)) return this.x.put(1, data.length, data);
    if (shape.length === 2) return this.x.put(...shape, data);
    const [heads, rows, cols] = shape;
    if (name.endsWith("W_O")) return this.x.put(heads * rows, cols, data);
    const beside = new data.constructor(data.length);
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < cols; j++) beside[i * heads * cols + h * cols + j] = data[(h * rows + i) * cols + j];
      }
    }
    return this.x.put(rows, heads * cols, beside);
  }
}

/**
 * One number for each pair as a picture over a and b: a neuron's activation, a class's logit, a head's attention.
 * @param {ArrayLike<number>} numbers [pair, col], such as `out.logits`; a pattern is [pair, position * heads + head]
 * @param {number} cols
 * @param {number} j which column
 * @param {Int32Array} [order] by default the task's own; `task.addition.order` for that of the hidden addition
 * @returns {Float32Array} row by row, to be drawn or given to `spectrum2d`
 */
export function picture(numbers, cols, j, order = null) {
  return Float32Array.from({ length: numbers.length / cols }, (_, i) => numbers[(order ? order[i] : i) * cols + j]);
}
