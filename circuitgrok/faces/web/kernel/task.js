/**
 * A task of pairs: inputs, labels, split, and where the pairs stand in the addition that hides in the operation.
 *
 * The same as circuitgrok/tasks/modular.py and circuitgrok/tasks/operations.py, where the reasons stand.
 */

const gcdFree = (p) => {
  for (let d = 2; d * d <= p; d++) if (p % d === 0) return false;
  return true;
};

/** g^0, g^1, ..., g^(p - 2) modulo p. */
function powers(g, p) {
  const found = [1];
  while (found.length < p - 1) found.push((found.at(-1) * g) % p);
  return found;
}

/** The powers of the smallest primitive root of the prime p: the nonzero residues in the order of their logarithms. */
export function residuesByLogarithm(p) {
  if (!gcdFree(p)) throw new Error(`p must be prime to have a discrete logarithm; got ${p}`);
  for (let g = 2; g < p || p === 3; g++) {
    const found = powers(g, p);
    if (new Set(found).size === p - 1) return found;
  }
  throw new Error(`no primitive root of ${p}`);
}

const inverse = (b, p) => {
  for (let x = 1; x < p; x++) if ((b * x) % p === 1) return x;
  return 0;
};

const ANSWERS = {
  add: (a, b, p) => (a + b) % p,
  subtract: (a, b, p) => (((a - b) % p) + p) % p,
  multiply: (a, b, p) => (a * b) % p,
  divide: (a, b, p) => (a * inverse(b, p)) % p,
  quadratic: (a, b, p) => (a * a + a * b + b * b) % p,
  times_square: (a, b, p) => (a * ((b * b) % p)) % p,
};

/** Numbers from bytes of a mask, eight pairs in a byte, the first in the lowest bit; base64 or an array of bytes. */
export function unpacked(mask, n) {
  const bytes = typeof mask === "string" ? Uint8Array.from(atob(mask), (c) => c.charCodeAt(0)) : mask;
  return Uint8Array.from({ length: n }, (_, i) => (bytes[i >> 3] >> (i & 7)) & 1);
}

/** All pairs of a task, row by row, and the order in which they are those of an addition; or examples with features. */
export class Task {
  /**
   * @param {object} given
   *   p: the modulus, and operation, "add" by default, of a task on numbers; a task without p has no frequencies;
   *   inputs: rows (a, b, '='), nested or flat; by default all pairs of the operation's domain;
   *   features: instead of pairs the numbers that a dense network reads, a row for each example, flat;
   *   labels: the right class of each pair; by default what the operation gives;
   *   is_train: booleans or 0 and 1, or train_mask: the same packed as in `unpacked`.
   */
  constructor(given) {
    this.p = given.p ?? null;
    this.operation = this.p === null ? null : (given.operation ?? "add");
    this.grouped = this.operation === "multiply" || this.operation === "divide";
    const first = this.grouped ? 1 : 0;
    const side = this.p - first;
    const inputs = given.inputs && !given.features ? Array.from(given.inputs).flat() : null;
    this.features = given.features ? Float32Array.from(given.features) : null;
    const n = this.features ? given.labels.length : inputs ? inputs.length / 3 : side * side;
    this.pairs = n;
    if (this.features) this.p = null;
    this.a = Int32Array.from({ length: this.features ? 0 : n }, (_, i) => (inputs ? inputs[3 * i] : Math.floor(i / side) + first));
    this.b = Int32Array.from({ length: this.features ? 0 : n }, (_, i) => (inputs ? inputs[3 * i + 1] : (i % side) + first));
    if (!Number.isInteger(n) || n < 1) throw new Error("a task needs p, or inputs of three numbers a pair, or features");
    if (!given.labels && !ANSWERS[this.operation]) throw new Error(`labels of '${this.operation}' must be given`);
    this.labels = Int32Array.from(
      given.labels ?? Array.from(this.a, (a, i) => ANSWERS[this.operation](a, this.b[i], this.p)),
    );
    this.isTrain = given.is_train
      ? Uint8Array.from(given.is_train, Number)
      : given.train_mask
        ? unpacked(given.train_mask, n)
        : null;
    if (!this.isTrain) throw new Error("a task needs is_train or train_mask");
    for (const [name, found] of [["labels", this.labels], ["is_train", this.isTrain]]) {
      if (found.length !== n) throw new Error(`${name} must be of ${n} pairs; got ${found.length}`);
    }
    this.square = this.p !== null && n === side * side;
  }

  /**
   * The pairs in the order of addition modulo m.
   * @returns {{m: number, order: Int32Array, sums: Int32Array}} order[i * m + j] is the task's pair that stands there;
   *   sums: of each of the task's pairs, (i + j) mod m
   */
  get addition() {
    if (this.hidden) return this.hidden;
    if (!this.square) throw new Error("frequencies are of tasks on all pairs of numbers modulo p; this is none");
    const p = this.p;
    const names = this.grouped ? residuesByLogarithm(p) : Array.from({ length: p }, (_, i) => i);
    const m = names.length;
    const first = this.grouped ? 1 : 0;
    const backwards = this.operation === "subtract" || this.operation === "divide";
    const order = new Int32Array(m * m);
    const sums = new Int32Array(m * m);
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < m; j++) {
        const second = names[backwards ? (m - j) % m : j];
        const pair = (names[i] - first) * m + second - first;
        order[i * m + j] = pair;
        sums[pair] = (i + j) % m;
      }
    }
    this.hidden = { m, order, sums };
    return this.hidden;
  }
}
