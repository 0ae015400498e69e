/**
 * The arithmetic of the kernel in plain JavaScript, float64 throughout: slow, and what the compiled one is judged by.
 *
 * A matrix is `{rows, cols, data}`, row by row. `wasm.js` has the same operations under the same names.
 */

import { fourierBasis, sumWaves } from "./waves.js";

const EPS_FLOAT32 = 2 ** -23;

/** The error function, to rounding: its series where that converges fast, else its continued fraction. */
export function erf(x) {
  const size = Math.abs(x);
  if (size < 2.5) {
    let term = x;
    let total = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(total); n++) {
      term *= (-x * x) / n;
      total += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * total;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (size + fraction);
  return Math.sign(x) * (1 - Math.exp(-x * x) / (Math.sqrt(Math.PI) * (size + fraction)));
}

export const ACTIVATIONS = {
  relu: (x) => (x > 0 ? x : 0),
  gelu: (x) => (x * (1 + erf(x / Math.SQRT2))) / 2,
  tanh: Math.tanh,
  square: (x) => x * x,
};

/** Operations on matrices; none changes what it is given. */
export class Plain {
  /** A matrix with these numbers, row by row. */
  put(rows, cols, numbers) {
    if (numbers.length !== rows * cols) throw new Error(`${rows} x ${cols} numbers are needed; got ${numbers.length}`);
    return { rows, cols, data: Float64Array.from(numbers) };
  }

  /** The numbers of a matrix, row by row. */
  read(a) {
    return Float64Array.from(a.data);
  }

  /** What was made since the last call may be forgotten. */
  begin() {}

  /** The matrix that a function makes; all else that it makes on the way may be forgotten. */
  scoped(make) {
    return make();
  }

  _made(rows, cols, f) {
    const data = new Float64Array(rows * cols);
    for (let i = 0, at = 0; i < rows; i++) for (let j = 0; j < cols; j++, at++) data[at] = f(i, j, at);
    return { rows, cols, data };
  }

  /** a b, and a third matrix of as many rows, or of one, added. */
  product(a, b, plus = null) {
    if (a.cols !== b.rows) throw new Error(`a product of ${a.rows} x ${a.cols} and ${b.rows} x ${b.cols}`);
    const found = this._made(a.rows, b.cols, (i, j) => (plus ? plus.data[(plus.rows > 1 ? i * b.cols : 0) + j] : 0));
    for (let i = 0; i < a.rows; i++) {
      for (let k = 0; k < a.cols; k++) {
        const factor = a.data[i * a.cols + k];
        if (factor === 0) continue;
        for (let j = 0; j < b.cols; j++) found.data[i * b.cols + j] += factor * b.data[k * b.cols + j];
      }
    }
    return found;
  }

  /** a + factor b; where one has a single row, that is of all rows. */
  sum(a, b, factor = 1) {
    const [i1, i2] = [a, b].map((x) => (x.rows > 1 ? x.cols : 0));
    return this._made(Math.max(a.rows, b.rows), a.cols, (i, j) => a.data[i * i1 + j] + factor * b.data[i * i2 + j]);
  }

  /** The rows that an index names. */
  gather(table, index) {
    return this._made(index.length, table.cols, (i, j) => table.data[index[i] * table.cols + j]);
  }

  /** Some neighbouring columns. */
  columns(a, from, n) {
    return this._made(a.rows, n, (i, j) => a.data[i * a.cols + from + j]);
  }

  /** The activation function of every number. */
  activation(a, kind) {
    return this._made(a.rows, a.cols, (i, j, at) => ACTIVATIONS[kind](a.data[at]));
  }

  /** LayerNorm of every row, eps 1e-5, with gains and biases of one row. */
  normed(a, gain, bias) {
    const found = this._made(a.rows, a.cols, () => 0);
    for (let i = 0; i < a.rows; i++) {
      const row = a.data.subarray(i * a.cols, (i + 1) * a.cols);
      const mean = row.reduce((x, y) => x + y, 0) / a.cols;
      const scale = Math.sqrt(row.reduce((x, y) => x + (y - mean) ** 2, 0) / a.cols + 1e-5);
      row.forEach((x, j) => (found.data[i * a.cols + j] = ((x - mean) / scale) * gain.data[j] + bias.data[j]));
    }
    return found;
  }

  /**
   * Attention that a position pays: rate times the softmax over positions of scores over sqrt(d_head), plus 1 - rate.
   * @param {{rows: object, index: Int32Array | null}} query heads side by side
   * @param {{rows: object, index: Int32Array | null}[]} keys of each position that is seen
   * @param {number} n pairs
   * @returns {object} [pair, position * heads + head]
   */
  attention(query, keys, heads, rate, n) {
    const width = query.rows.cols / heads;
    const place = (x, i) => (x.index ? x.index[i] : x.rows.rows === 1 ? 0 : i) * x.rows.cols;
    const found = this._made(n, keys.length * heads, () => 0);
    for (let i = 0; i < n; i++) {
      for (let h = 0; h < heads; h++) {
        const scores = keys.map((key) => {
          let inner = 0;
          for (let e = h * width; e < (h + 1) * width; e++) {
            inner += query.rows.data[place(query, i) + e] * key.rows.data[place(key, i) + e];
          }
          return inner / Math.sqrt(width);
        });
        const highest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - highest));
        const total = weights.reduce((x, y) => x + y, 0);
        weights.forEach((w, pos) => (found.data[(i * keys.length + pos) * heads + h] = (w / total) * rate + 1 - rate));
      }
    }
    return found;
  }

  /** Each head's mix of the values under a pattern, [pair, head * d_head]; a pattern of one row is that of all pairs. */
  mixture(pattern, values, heads, n) {
    const cols = values[0].rows.cols;
    const width = cols / heads;
    const found = this._made(n, cols, () => 0);
    for (let i = 0; i < n; i++) {
      values.forEach(({ rows, index }, pos) => {
        const at = (index ? index[i] : rows.rows === 1 ? 0 : i) * cols;
        const of = ((pattern.rows === 1 ? 0 : i) * values.length + pos) * heads;
        for (let e = 0; e < cols; e++) {
          found.data[i * cols + e] += pattern.data[of + Math.floor(e / width)] * rows.data[at + e];
        }
      });
    }
    return found;
  }

  /** The mean row. */
  mean(a) {
    const found = this._made(1, a.cols, () => 0);
    for (let at = 0; at < a.data.length; at++) found.data[at % a.cols] += a.data[at] / a.rows;
    return found;
  }

  /** Every row the same. */
  repeated(row, n) {
    return this._made(n, row.cols, (i, j) => row.data[j]);
  }

  /** The matrix with some columns taken from a matrix of one row, or of as many. */
  replaced(a, columns, by) {
    const found = this._made(a.rows, a.cols, (i, j, at) => a.data[at]);
    for (let i = 0; i < a.rows; i++) {
      for (const j of columns) found.data[i * a.cols + j] = by.data[(by.rows > 1 ? i * a.cols : 0) + j];
    }
    return found;
  }

  /** The sum waves of frequencies in every column of what is given by pair, to be added or taken out. */
  waves(a, freqs, { m, sums }) {
    const table = new Float64Array(m * a.cols);
    for (let i = 0; i < a.rows; i++) {
      for (let j = 0; j < a.cols; j++) table[sums[i] * a.cols + j] += a.data[i * a.cols + j] / m;
    }
    const found = sumWaves(table, m, a.cols, freqs);
    return this._made(a.rows, a.cols, (i, j) => found[sums[i] * a.cols + j]);
  }

  /** Which frequency each neuron is tuned to, 0 for none, and the share of its variance that this explains. */
  tuning(a, { m, order }) {
    const basis = fourierBasis(m);
    const freqs = m >> 1;
    const freq = new Int32Array(a.cols);
    const purity = new Float64Array(a.cols);
    const grid = new Float64Array(m * m);
    const alongB = new Float64Array(m * m); // [a, row of b]
    for (let j = 0; j < a.cols; j++) {
      let mean = 0;
      for (let i = 0; i < m * m; i++) mean += (grid[i] = a.data[order[i] * a.cols + j]) / (m * m);
      const squares = grid.reduce((total, x) => total + (x - mean) ** 2, 0);
      if (!(squares > (m * EPS_FLOAT32) ** 2 * (squares + m * m * mean * mean))) continue;
      for (let x = 0; x < m; x++) {
        for (let row = 0; row < m; row++) {
          let inner = 0;
          for (let b = 0; b < m; b++) inner += basis[row * m + b] * (grid[x * m + b] - mean);
          alongB[x * m + row] = inner;
        }
      }
      const both = (row, other) => {
        let inner = 0;
        for (let x = 0; x < m; x++) inner += basis[row * m + x] * alongB[x * m + other];
        return inner;
      };
      let best = -1;
      for (let k = 1; k <= freqs; k++) {
        const rows = 2 * k < m ? [2 * k - 1, 2 * k] : [2 * k - 1];
        let power = 0;
        for (const row of rows) power += both(row, 0) ** 2 + both(0, row) ** 2;
        for (const row of rows) for (const other of rows) power += both(row, other) ** 2;
        if (power > best) {
          best = power;
          freq[j] = k;
          purity[j] = power / squares;
        }
      }
    }
    return { freq, purity };
  }

  /** Some neurons as their best polynomials in {1, cos, sin} of a times the same of b, at their own frequency. */
  polynomial(a, columns, { m, order }) {
    const { freq } = this.tuning(a, { m, order });
    const basis = fourierBasis(m);
    const found = this._made(a.rows, a.cols, (i, j, at) => a.data[at]);
    for (const j of columns) {
      if (!freq[j]) continue;
      const rows = [0, 2 * freq[j] - 1, ...(2 * freq[j] < m ? [2 * freq[j]] : [])];
      const fit = new Float64Array(m * m);
      for (const row of rows) {
        for (const other of rows) {
          const wave = (i) => basis[row * m + Math.floor(i / m)] * basis[other * m + (i % m)];
          const inner = order.reduce((total, pair, i) => total + wave(i) * a.data[pair * a.cols + j], 0);
          for (let i = 0; i < m * m; i++) fit[i] += inner * wave(i);
        }
      }
      fit.forEach((value, i) => (found.data[order[i] * a.cols + j] = value));
    }
    return found;
  }

  /** Mean cross-entropy in nats and share of right answers on both sides of the split. */
  scores(logits, { labels, isTrain }) {
    const loss = [0, 0];
    const right = [0, 0];
    const n = [0, 0];
    for (let i = 0; i < logits.rows; i++) {
      const row = logits.data.subarray(i * logits.cols, (i + 1) * logits.cols);
      const highest = row.reduce((x, y) => Math.max(x, y), -Infinity);
      const total = row.reduce((x, y) => x + Math.exp(y - highest), 0);
      const side = isTrain[i] ? 0 : 1;
      n[side] += 1;
      loss[side] += Math.log(total) + highest - row[labels[i]];
      right[side] += row.indexOf(highest) === labels[i] ? 1 : 0;
    }
    const [train, test] = [0, 1].map((side) => ({ loss: loss[side] / n[side], acc: right[side] / n[side] }));
    return { train_loss: train.loss, test_loss: test.loss, train_acc: train.acc, test_acc: test.acc };
  }
}
