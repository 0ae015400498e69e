/**
 * The forward pass of every kind of network with parts replaced, at the last position.
 *
 * The same as circuitgrok/inspection/replaced.py, where the reasons stand. All arithmetic is that of `x`, an object of
 * plain.js or wasm.js. A vector at one position is `{rows, index}`: the row of each pair, or without an index a row for
 * each pair, or one for all.
 */

/** What stands in a part's place: a row. */
function filled(x, fill, part) {
  return fill === "mean" ? x.mean(part) : x.put(1, part.cols, new Float64Array(part.cols));
}

const range = (from, n) => Int32Array.from({ length: n }, (_, i) => from + i);
const of = (parts, what) => parts.filter((part) => part.what === what);
const map = ({ rows, index }, f) => ({ rows: f(rows), index });

/** Columns of the neurons that a part names, among those that are tuned to frequencies where it names these. */
function neuronsOf(x, { what, numbers, said }, post, task) {
  if (what === "neuron") {
    if (numbers.some((i) => i >= post.cols)) throw new Error(`no ${said}: there are ${post.cols} neurons`);
    return Int32Array.from(numbers);
  }
  const { freq, purity } = x.tuning(post, task.addition);
  const inside = Array.from(freq, (k, i) => purity[i] >= 0.85 && numbers.includes(k));
  return Int32Array.from(inside.flatMap((yes, i) => (yes === (what === "cluster") ? [i] : [])));
}

/** Neurons with some replaced. */
function replacedNeurons(x, post, parts, task) {
  for (const part of parts) {
    if (!["neuron", "cluster", "no cluster"].includes(part.what)) continue;
    const columns = neuronsOf(x, part, post, task);
    if (part.fill === "polynomial") post = x.polynomial(post, columns, task.addition);
    else if (columns.length) post = x.replaced(post, columns, filled(x, part.fill, post));
  }
  return post;
}

/** Some kinds of sum waves taken out of, or left alone in, what is given by pair. */
function replacedWaves(x, written, parts, task, [out, alone]) {
  for (const part of [...of(parts, out), ...of(parts, alone)]) {
    const waves = x.waves(written, part.numbers, task.addition);
    written = part.what === out ? x.sum(written, waves, -1) : x.sum(waves, x.mean(written));
  }
  return written;
}

/** A pattern of one row in which each head attends to all positions alike, as much in sum as before. */
function levelled(x, row, positions) {
  const shares = x.read(row);
  const heads = shares.length / positions;
  const sums = new Float64Array(heads);
  shares.forEach((share, i) => (sums[i % heads] += share));
  return x.put(1, shares.length, Float64Array.from(shares, (_, i) => sums[i % heads] / positions));
}

/** One block's tensors and arithmetic. */
class Block {
  constructor(x, model, tensor, layer, parts, task) {
    Object.assign(this, { x, model, layer, task, n: task.pairs, parts: parts.filter((part) => part.layer === layer) });
    this.of = (name) => tensor(`blocks.${layer}.${name}`);
  }

  normed(rows, which) {
    if (this.model.normalization !== "LN") return rows;
    return this.x.normed(rows, this.of(`${which}.w`), this.of(`${which}.b`));
  }

  /** Queries, keys or values of a position, heads side by side. */
  heads(stream, letter) {
    return map(stream, (rows) => this.x.product(rows, this.of(`attn.W_${letter}`), this.of(`attn.b_${letter}`)));
  }

  /** What a position's attention writes to its stream, and its pattern; `seen` are the positions that it sees. */
  attention(stream, seen) {
    const { x, model, n } = this;
    const letters = (streams, letter) =>
      streams.map((one) => this.heads(map(one, (rows) => this.normed(rows, "ln1")), letter));
    const [query] = letters([stream], "Q");
    let pattern = x.attention(query, letters(seen, "K"), model.n_heads, model.attention_rate ?? 1, n);
    for (const { fill } of of(this.parts, "pattern")) {
      const mean = x.mean(pattern);
      pattern = x.repeated(fill === "mean" ? mean : levelled(x, mean, seen.length), n);
    }
    let z = x.mixture(pattern, letters(seen, "V"), model.n_heads, n);
    for (const { numbers, fill, said } of of(this.parts, "head")) {
      if (numbers[0] >= model.n_heads) throw new Error(`no ${said}: there are ${model.n_heads} heads`);
      z = x.replaced(z, range(numbers[0] * model.d_head, model.d_head), filled(x, fill, z));
    }
    let out = x.product(z, this.of("attn.W_O"), this.of("attn.b_O"));
    for (const { fill } of of(this.parts, "attention")) out = x.repeated(filled(x, fill, out), n);
    return { out, pattern };
  }

  /** The neurons, before and after the nonlinearity. */
  neurons(mid) {
    const pre = this.x.product(this.normed(mid, "ln2"), this.of("mlp.W_in"), this.of("mlp.b_in"));
    return { pre, post: replacedNeurons(this.x, this.x.activation(pre, this.model.act), this.parts, this.task) };
  }

  /** The rows of a position that sees itself alone, after the block: its attention is to itself. */
  alone(rows) {
    const { x } = this;
    const values = this.heads({ rows: this.normed(rows, "ln1"), index: null }, "V").rows;
    const mid = x.sum(x.product(values, this.of("attn.W_O"), this.of("attn.b_O")), rows);
    return x.sum(mid, x.product(this.neurons(mid).post, this.of("mlp.W_out"), this.of("mlp.b_out")));
  }

  /** A position's stream after the block. */
  after(stream, seen) {
    const { x } = this;
    if (seen.length === 1 && !this.parts.length) return map(stream, (rows) => this.alone(rows));
    const { out } = this.attention(stream, seen);
    const before = stream.index ? x.gather(stream.rows, stream.index) : stream.rows;
    const mid = x.sum(out, before);
    let written = x.product(this.neurons(mid).post, this.of("mlp.W_out"), this.of("mlp.b_out"));
    for (const { fill } of of(this.parts, "mlp")) written = x.repeated(filled(x, fill, written), this.n);
    for (const { fill } of of(this.parts, "layer")) {
      return { rows: x.sum(before, x.repeated(filled(x, fill, x.sum(out, written)), this.n)), index: null };
    }
    return { rows: x.sum(mid, written), index: null };
  }
}

/**
 * A transformer.
 * @param {object} x arithmetic
 * @param {object} model as in Python
 * @param {(name: string) => object} tensor a weight as a matrix: heads side by side, biases of one row
 * @param {object[]} parts of `ablations`
 * @param {import("./task.js").Task} task
 * @returns {{logits: object, pre: object, post: object, pattern: object}} matrices, a row for each pair
 */
export function transformer(x, model, tensor, parts, task) {
  const { p } = model;
  const equals = model.equals ?? true;
  const W_E = tensor("embed.W_E");
  const W_pos = tensor("pos_embed.W_pos");
  const rows = (from, n) => x.gather(W_E, range(from, n));
  const at = (table, position) => x.sum(table, x.gather(W_pos, range(position, 1)));
  const first = rows(0, p);
  const second = model.own_tokens ? rows(p, p) : first;
  let streams = [
    { rows: at(first, 0), index: task.a },
    { rows: at(second, 1), index: task.b },
  ];
  if (equals) streams.push({ rows: at(rows(W_E.rows - 1, 1), 2), index: null });
  const last = model.n_layers - 1;
  for (let layer = 0; layer < last; layer++) {
    const block = new Block(x, model, tensor, layer, parts, task);
    const seen = (i) => ((model.causal ?? true) ? streams.slice(0, i + 1) : streams);
    streams = streams.map((stream, i) => {
      let index = null;
      const rows = x.scoped(() => {
        const after = block.after(stream, seen(i));
        index = after.index;
        return after.rows;
      });
      return { rows, index };
    });
  }
  const block = new Block(x, model, tensor, last, parts, task);
  const stream = streams.at(-1);
  const { out, pattern } = block.attention(stream, streams);
  const before = stream.index ? x.gather(stream.rows, stream.index) : stream.rows;
  const mid = x.sum(out, before);
  const { pre, post } = block.neurons(mid);
  const W_U = x.columns(tensor("unembed.W_U"), 0, p);
  const b_U = x.columns(tensor("unembed.b_U"), 0, p);
  const linear = model.normalization !== "LN"; // then both are held as logits, else as streams
  const read = (rows, plus) => (linear ? x.product(rows, W_U, plus) : plus ? x.sum(rows, plus) : rows);
  let written = linear
    ? x.product(post, x.product(block.of("mlp.W_out"), W_U), x.product(block.of("mlp.b_out"), W_U))
    : x.product(post, block.of("mlp.W_out"), block.of("mlp.b_out"));
  written = replacedWaves(x, written, block.parts, task, ["waves", "only waves"]);
  let skip = read(mid);
  for (const { fill } of of(block.parts, "layer")) {
    const all = x.sum(read(out), written);
    written = x.repeated(filled(x, fill, all), task.pairs);
    skip = read(before);
  }
  for (const { fill } of of(block.parts, "mlp")) written = x.repeated(filled(x, fill, written), task.pairs);
  for (const { fill } of of(block.parts, "skip")) skip = filled(x, fill, skip);
  let logits = x.sum(written, skip);
  logits = linear
    ? x.sum(logits, b_U)
    : x.product(x.normed(logits, tensor("ln_final.w"), tensor("ln_final.b")), W_U, b_U);
  return { logits: replacedWaves(x, logits, block.parts, task, ["excluded", "restricted"]), pre, post, pattern };
}

/** What the neurons of an MLP's first layer read, from features, or from tables of what a and what b add to each. */
function firstLayer(x, model, tensor, task) {
  if (!task.features) {
    const [ofA, ofB] = pairTables(x, model, tensor);
    return x.sum(x.gather(ofA, task.a), x.gather(ofB, task.b));
  }
  if (model.kind !== "dense") throw new Error(`a network of kind ${model.kind} reads pairs of numbers, not features`);
  const features = x.put(task.pairs, model.n_in, task.features);
  return x.product(features, tensor("blocks.0.mlp.W_in"), tensor("blocks.0.mlp.b_in"));
}

function pairTables(x, model, tensor) {
  const W_in = tensor("blocks.0.mlp.W_in");
  const half = (from, n) => x.gather(W_in, range(from, n));
  if (model.kind === "quadratic_mlp") return [half(0, model.p), half(model.p, model.p)];
  const bias = tensor("blocks.0.mlp.b_in");
  if (model.kind === "dense") {
    const p = model.n_in / 2;
    return [x.sum(half(0, p), bias), half(p, p)];
  }
  const { p, d_embed } = model;
  const W_E = tensor("embed.W_E");
  const ofA = x.gather(W_E, range(0, p));
  const ofB = x.gather(W_E, range(W_E.rows - p, p));
  return [
    x.product(ofA, half(0, d_embed), bias),
    x.product(ofB, half(W_in.rows - d_embed, d_embed)),
  ];
}

/** An MLP on pairs, of the kinds embedding_mlp, quadratic_mlp and dense; arguments as of `transformer`. */
export function mlp(x, model, tensor, parts, task) {
  for (const { what, said } of parts) {
    if (!["neuron", "cluster", "no cluster", "waves", "only waves", "excluded", "restricted"].includes(what)) {
      throw new Error(`no ${said}: a network of kind ${model.kind} has neurons alone`);
    }
  }
  const act = model.kind === "quadratic_mlp" ? "square" : model.act;
  const depth = model.kind === "quadratic_mlp" ? 1 : model.depth;
  const within = (layer) => parts.filter((part) => part.layer === layer);
  let pre = firstLayer(x, model, tensor, task);
  let post = replacedNeurons(x, x.activation(pre, act), within(0), task);
  for (let layer = 1; layer < depth; layer++) {
    pre = x.product(post, tensor(`blocks.${layer}.mlp.W_in`), tensor(`blocks.${layer}.mlp.b_in`));
    post = replacedNeurons(x, x.activation(pre, act), within(layer), task);
  }
  const own = within(depth - 1);
  let written = x.product(post, tensor("unembed.W_U"));
  written = replacedWaves(x, written, own, task, ["waves", "only waves"]);
  const logits = model.kind === "quadratic_mlp" ? written : x.sum(written, tensor("unembed.b_U"));
  return { logits: replacedWaves(x, logits, own, task, ["excluded", "restricted"]), pre, post, pattern: null };
}
