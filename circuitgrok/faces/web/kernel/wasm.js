/**
 * The arithmetic of the kernel by WebAssembly: the operations of plain.js under the same names, on float32 matrices.
 *
 * A matrix is `{rows, cols, at}`, row by row in the module's memory. Memory is handed out from one end on and given
 * back all at once by `begin`, which nothing outlives, or behind a `scoped` function. kernel.c says what is computed.
 */

import { fourierBasis, sumWaves } from "./waves.js";

const KINDS = ["relu", "gelu", "tanh", "square"];
const PAGE = 65536;

/** Operations on matrices; none changes what it is given. */
export class Wasm {
  /** @param {WebAssembly.Instance} instance of kernel.wasm */
  constructor(instance) {
    this.f = instance.exports;
    this.f.start();
    this.first = this.f.__heap_base.value;
    this.bases = new Map();
    this.begin();
  }

  /** Give all memory back. */
  begin() {
    this.next = this.first;
    this.places = new Map(); // of indices
  }

  /** A place for so many bytes, on a 16-byte boundary. */
  _room(bytes) {
    const at = (this.next + 15) & ~15;
    this.next = at + bytes;
    const missing = this.next - this.f.memory.buffer.byteLength;
    if (missing > 0) this.f.memory.grow(Math.ceil(missing / PAGE));
    return at;
  }

  /** The matrix that a function makes; all else that it makes on the way is given back. */
  scoped(make) {
    const mark = (this.next + 15) & ~15;
    const { rows, cols, at } = make();
    if (at < mark) return { rows, cols, at };
    const bytes = 4 * rows * cols;
    new Uint8Array(this.f.memory.buffer).copyWithin(mark, at, at + bytes);
    this.next = mark + bytes;
    for (const [index, place] of this.places) if (place >= mark) this.places.delete(index);
    return { rows, cols, at: mark };
  }

  _matrix(rows, cols) {
    return { rows, cols, at: this._room(4 * rows * cols) };
  }

  _floats(at, n) {
    return new Float32Array(this.f.memory.buffer, at, n);
  }

  /** Numbers of any typed array, copied into memory. */
  _placed(numbers) {
    const at = this._room(numbers.byteLength);
    new numbers.constructor(this.f.memory.buffer, at, numbers.length).set(numbers);
    return at;
  }

  /** Where an index lies; the same array is copied once. */
  _index(index) {
    if (!index) return 0;
    if (!this.places.has(index)) this.places.set(index, this._placed(index));
    return this.places.get(index);
  }

  /** The Fourier basis, in memory and in JavaScript. */
  _basis(m) {
    if (!this.bases.has(m)) this.bases.set(m, fourierBasis(m));
    return this.bases.get(m);
  }

  put(rows, cols, numbers) {
    if (numbers.length !== rows * cols) throw new Error(`${rows} x ${cols} numbers are needed; got ${numbers.length}`);
    const found = this._matrix(rows, cols);
    this._floats(found.at, rows * cols).set(numbers);
    return found;
  }

  read(a) {
    return this._floats(a.at, a.rows * a.cols).slice();
  }

  product(a, b, plus = null) {
    if (a.cols !== b.rows) throw new Error(`a product of ${a.rows} x ${a.cols} and ${b.rows} x ${b.cols}`);
    const found = this._matrix(a.rows, b.cols);
    const panels = this._room(4 * a.cols * 8 * Math.ceil(b.cols / 8));
    const step = plus && plus.rows > 1 ? b.cols : 0;
    this.f.product(a.at, b.at, plus ? plus.at : 0, step, found.at, a.rows, a.cols, b.cols, panels);
    return found;
  }

  sum(a, b, factor = 1) {
    const found = this._matrix(Math.max(a.rows, b.rows), a.cols);
    const [i, j] = [a, b].map((x) => (x.rows > 1 ? x.cols : 0));
    this.f.sum(a.at, i, b.at, j, factor, found.at, found.rows, a.cols);
    return found;
  }

  gather(table, index) {
    const found = this._matrix(index.length, table.cols);
    this.f.gather(table.at, this._index(index), found.at, index.length, table.cols);
    return found;
  }

  columns(a, from, n) {
    const found = this._matrix(a.rows, n);
    this.f.columns(a.at, a.cols, from, found.at, a.rows, n);
    return found;
  }

  repeated(row, n) {
    const found = this._matrix(n, row.cols);
    this.f.columns(row.at, 0, 0, found.at, n, row.cols);
    return found;
  }

  activation(a, kind) {
    if (!KINDS.includes(kind)) throw new Error(`no activation '${kind}'; there are ${KINDS.join(", ")}`);
    const found = this._matrix(a.rows, a.cols);
    this.f.activation(KINDS.indexOf(kind), a.at, found.at, a.rows * a.cols);
    return found;
  }

  normed(a, gain, bias) {
    const found = this._matrix(a.rows, a.cols);
    this.f.normed(a.at, gain.at, bias.at, found.at, a.rows, a.cols);
    return found;
  }

  /** Where the rows of positions lie, as kernel.c reads it. */
  _positions(rows) {
    const list = rows.flatMap(({ rows: table, index }) => [table.at, this._index(index), table.rows > 1 ? 1 : 0]);
    return this._placed(Int32Array.from(list));
  }

  attention(query, keys, heads, rate, n) {
    const found = this._matrix(n, keys.length * heads);
    const { rows, index } = query;
    const [step, width] = [rows.rows > 1 ? 1 : 0, rows.cols / heads];
    const [own, seen] = [this._index(index), this._positions(keys)];
    this.f.attention(rows.at, own, step, seen, keys.length, heads, width, rate, found.at, n);
    return found;
  }

  mixture(pattern, values, heads, n) {
    const { cols } = values[0].rows;
    const found = this._matrix(n, cols);
    const step = pattern.rows > 1 ? pattern.cols : 0;
    this.f.mixture(pattern.at, step, this._positions(values), values.length, heads, cols / heads, found.at, n);
    return found;
  }

  mean(a) {
    const found = this._matrix(1, a.cols);
    this.f.mean(a.at, a.rows, a.cols, this._room(8 * a.cols), found.at);
    return found;
  }

  _copy(a) {
    return this.columns(a, 0, a.cols);
  }

  replaced(a, columns, by) {
    const found = this._copy(a);
    const which = this._placed(Int32Array.from(columns));
    this.f.replace(which, columns.length, by.at, by.rows > 1 ? by.cols : 0, found.at, a.rows, a.cols);
    return found;
  }

  waves(a, freqs, { m, sums }) {
    const table = this._room(8 * m * a.cols);
    const index = this._index(sums);
    this.f.by_sum(a.at, index, table, a.rows, m, a.cols);
    const inside = new Float64Array(this.f.memory.buffer, table, m * a.cols);
    const mean = inside.map((x) => x / m);
    inside.set(sumWaves(mean, m, a.cols, freqs, this._basis(m)));
    const found = this._matrix(a.rows, a.cols);
    this.f.of_sum(table, index, found.at, a.rows, a.cols);
    return found;
  }

  tuning(a, { m, order }) {
    const { at, purity } = this._tuned(a, { m, order });
    const buffer = this.f.memory.buffer;
    return { freq: new Int32Array(buffer, at, a.cols).slice(), purity: new Float64Array(buffer, purity, a.cols).slice() };
  }

  /** Where each neuron's frequency and purity lie. */
  _tuned(a, { m, order }) {
    const basis = this._basis(m);
    const { cols } = a;
    const wide = 8 * Math.ceil(cols / 8);
    const places = [this._index(order), this._placed(basis), this._placed(Float32Array.from(basis))];
    const work = [4 * m * cols, 4 * m * cols, 4 * m * wide, 8 * cols, 8 * cols, 8 * (4 * (m >> 1) + 2 * m) * cols];
    const rooms = work.map((bytes) => this._room(bytes));
    const [at, purity] = [this._room(4 * cols), this._room(8 * cols)];
    this.f.tuning(a.at, ...places, m, cols, ...rooms, at, purity);
    return { at, purity };
  }

  polynomial(a, columns, { m, order }) {
    const { at } = this._tuned(a, { m, order });
    const found = this._copy(a);
    const places = [this._placed(columns), columns.length, at, this._index(order), this._placed(this._basis(m))];
    this.f.polynomial(...places, this._room(8 * 3 * m), found.at, m, a.cols);
    return found;
  }

  scores(logits, { labels, isTrain }) {
    const found = this._room(8 * 6);
    this.f.scores(logits.at, this._index(labels), this._index(isTrain), logits.rows, logits.cols, found);
    const [trainLoss, testLoss, trainRight, testRight, train, test] = new Float64Array(this.f.memory.buffer, found, 6);
    return {
      train_loss: trainLoss / train,
      test_loss: testLoss / test,
      train_acc: trainRight / train,
      test_acc: testRight / test,
    };
  }
}
