/**
 * Fourier analysis on Z_m in float64: bases, projections of functions of the sum, spectra of neurons and pictures.
 *
 * The same as circuitgrok/measures/spectra/fourier.py, sum_waves.py and tuning.py, where the reasons stand.
 */

/**
 * Real orthonormal basis of the functions on Z_m, flat [row m]: constant, cos 1, sin 1, cos 2, ... For even m the last
 * frequency is a cosine alone.
 */
export function fourierBasis(m) {
  const basis = new Float64Array(m * m).fill(1 / Math.sqrt(m));
  for (let row = 1; row < m; row++) {
    const k = (row + 1) >> 1;
    const wave = row % 2 ? Math.cos : Math.sin;
    let squares = 0;
    for (let x = 0; x < m; x++) squares += (basis[row * m + x] = wave((2 * Math.PI * ((k * x) % m)) / m)) ** 2;
    for (let x = 0; x < m; x++) basis[row * m + x] /= Math.sqrt(squares);
  }
  return basis;
}

/** The rows of the basis that belong to frequencies; they must be distinct and in 1..m / 2. */
export function waveRows(freqs, m) {
  for (const k of freqs) {
    if (!(Number.isInteger(k) && k >= 1 && k <= m >> 1)) {
      throw new Error(`frequencies must be in 1..${m >> 1}; got ${freqs}`);
    }
  }
  return freqs.flatMap((k) => (2 * k < m ? [2 * k - 1, 2 * k] : [2 * k - 1]));
}

/** The sum waves of frequencies in functions of the sum, flat [m cols]: their projection, summed over frequencies. */
export function sumWaves(table, m, cols, freqs, basis = fourierBasis(m)) {
  const found = new Float64Array(m * cols);
  for (const row of waveRows(freqs, m)) {
    for (let c = 0; c < cols; c++) {
      let inner = 0;
      for (let t = 0; t < m; t++) inner += basis[row * m + t] * table[t * cols + c];
      for (let t = 0; t < m; t++) found[t * cols + c] += basis[row * m + t] * inner;
    }
  }
  return found;
}

/**
 * The two-dimensional spectrum of a picture [m m] over the pairs.
 * @param {ArrayLike<number>} picture row by row, one number for each (a, b)
 * @param {number} m its side
 * @returns {Float64Array} amplitudes in the basis of products of waves, flat [row of a, row of b]; Parseval holds
 */
export function spectrum2d(picture, m) {
  const basis = fourierBasis(m);
  const half = new Float64Array(m * m); // [a, row of b]
  for (let a = 0; a < m; a++) {
    for (let row = 0; row < m; row++) {
      let inner = 0;
      for (let b = 0; b < m; b++) inner += basis[row * m + b] * picture[a * m + b];
      half[a * m + row] = inner;
    }
  }
  const found = new Float64Array(m * m);
  for (let row = 0; row < m; row++) {
    for (let a = 0; a < m; a++) {
      const factor = basis[row * m + a];
      for (let other = 0; other < m; other++) found[row * m + other] += factor * half[a * m + other];
    }
  }
  return found;
}
