// A run as the page knows it: columns by checkpoint, spectra, neurons, its task, and weights of some checkpoints.

export class Run {
  constructor(content, arrays, index) {
    Object.assign(this, content);
    this.index = index;
    const prefix = `${index}/`;
    this.arrays = {};
    this.weights = new Map();
    for (const [name, array] of Object.entries(arrays)) {
      if (!name.startsWith(prefix)) continue;
      const own = name.slice(prefix.length);
      const weight = /^weights\/(\d+)\/(.+)$/.exec(own);
      if (weight) this.add(Number(weight[1]), weight[2], array);
      else this.arrays[own] = array;
    }
    this.steps = this.arrays.steps.data;
    this.last = this.steps[this.steps.length - 1];
    this.rows = new Map(this.columns.map((name, i) => [name, i]));
  }

  add(step, name, array) {
    if (!this.weights.has(step)) this.weights.set(step, {});
    this.weights.get(step)[name] = array;
  }

  /** A measured column, one number for each checkpoint; undefined where it was not measured. */
  column(name) {
    const row = this.rows.get(name);
    const n = this.steps.length;
    return row === undefined ? undefined : this.arrays.table.data.subarray(row * n, (row + 1) * n);
  }

  /** An evaluated column with its steps, `[steps, values]`. */
  history(name) {
    const found = this.arrays[`history/${name}`];
    return found && [this.arrays["history/step"].data, found.data];
  }

  /** Energy by frequency, entry k - 1 for frequency k, at a checkpoint. */
  spectrum(of, at) {
    if (of === "W_E" || of === "W_L") {
      const found = [];
      for (let k = 1; this.rows.has(`power_${of}[${k}]`); k++) found.push(this.column(`power_${of}[${k}]`)[at]);
      return found;
    }
    return this.row(`spectrum ${of}`, at);
  }

  /** A row of an array by checkpoint. */
  row(name, at) {
    const found = this.arrays[name];
    if (!found) return undefined;
    const n = found.shape[1];
    return found.data.subarray(at * n, (at + 1) * n);
  }

  /** Every neuron at a checkpoint: `{freq, purity, u, v, out}`. */
  neurons(at) {
    const raw = (name) => this.row(`neuron ${name}`, at);
    if (!raw("freq")) return undefined;
    const phase = (name) => Float32Array.from(raw(name), (one) => (one / 32767) * Math.PI);
    return {
      freq: raw("freq"),
      purity: Float32Array.from(raw("purity"), (one) => one / 65535),
      u: phase("u"),
      v: phase("v"),
      out: phase("out"),
    };
  }

  /** The index of the checkpoint nearest to a step. */
  nearest(step) {
    let best = 0;
    for (let i = 0; i < this.steps.length; i++)
      if (Math.abs(this.steps[i] - step) < Math.abs(this.steps[best] - step)) best = i;
    return best;
  }

  /** The step nearest to one among those whose weights are here; undefined if there are none. */
  nearestWithWeights(step) {
    let best;
    for (const one of this.weights.keys())
      if (best === undefined || Math.abs(one - step) < Math.abs(best - step)) best = one;
    return best;
  }

  /** The event of a name, or undefined. */
  event(name) {
    return this.events.find((one) => one.name === name);
  }
}
