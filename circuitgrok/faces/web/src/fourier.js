// Functions on pairs of numbers modulo p, in the waves of both.

/** cos and sin of 2 pi k x / p, divided to norm 1, one row for each of constant, cos 1, sin 1, ..., `[p][p]`. */
function basis(p) {
  const rows = [new Float64Array(p).fill(1 / Math.sqrt(p))];
  for (let k = 1; k <= p / 2; k++) {
    const [cosine, sine] = [new Float64Array(p), new Float64Array(p)];
    for (let x = 0; x < p; x++) {
      const angle = (2 * Math.PI * ((k * x) % p)) / p;
      cosine[x] = Math.cos(angle) * Math.sqrt((2 * k === p ? 1 : 2) / p);
      sine[x] = Math.sin(angle) * Math.sqrt(2 / p);
    }
    rows.push(cosine);
    if (2 * k !== p) rows.push(sine);
  }
  return rows;
}

/** The norm of a table `[p p]` in the waves of frequency k of its row with those of l of its column, `[freq freq]`. */
export function frequencyNorms(values, p) {
  const rows = basis(p),
    n = Math.floor(p / 2) + 1;
  const half = new Float64Array(p * p); // [wave of the row][column]
  for (let w = 0; w < p; w++) {
    for (let a = 0; a < p; a++) {
      const wave = rows[w][a];
      for (let b = 0; b < p; b++) half[w * p + b] += wave * values[a * p + b];
    }
  }
  const energy = new Float64Array(n * n);
  for (let w = 0; w < p; w++) {
    const k = Math.ceil(w / 2);
    for (let v = 0; v < p; v++) {
      let sum = 0;
      for (let b = 0; b < p; b++) sum += half[w * p + b] * rows[v][b];
      energy[k * n + Math.ceil(v / 2)] += sum * sum;
    }
  }
  return { norms: energy.map(Math.sqrt), n };
}

/** Where the p rows of a table `[p width]` lie in the plane that its waves of frequency k span. */
export function circle(values, p, width, k) {
  const [cosine, sine] = [new Float64Array(width), new Float64Array(width)];
  for (let x = 0; x < p; x++) {
    const angle = (2 * Math.PI * ((k * x) % p)) / p;
    for (let i = 0; i < width; i++) {
      cosine[i] += Math.cos(angle) * values[x * width + i];
      sine[i] += Math.sin(angle) * values[x * width + i];
    }
  }
  const dot = (one, other) => one.reduce((sum, value, i) => sum + value * other[i], 0);
  const first = Math.sqrt(dot(cosine, cosine)) || 1;
  cosine.forEach((value, i) => (cosine[i] = value / first));
  const along = dot(cosine, sine);
  sine.forEach((value, i) => (sine[i] = value - along * cosine[i]));
  const second = Math.sqrt(dot(sine, sine)) || 1;
  sine.forEach((value, i) => (sine[i] = value / second));
  const mean = new Float64Array(width);
  for (let x = 0; x < p; x++) for (let i = 0; i < width; i++) mean[i] += values[x * width + i] / p;
  return Array.from({ length: p }, (_, x) => {
    let [u, v] = [0, 0];
    for (let i = 0; i < width; i++) {
      const value = values[x * width + i] - mean[i];
      u += value * cosine[i];
      v += value * sine[i];
    }
    return [u, v];
  });
}
