// The arithmetic of networks on all pairs, for WebAssembly: float32 matrices row by row, sums and losses in float64.
//
// No library and no allocation: wasm.js says where everything lies, and every function writes all of what it makes.
// Vectors are of four floats (SIMD128), without the relaxed instructions, so that every browser gives the same bits.
// plain.js has the same operations in plain JavaScript, by which these are judged. build.sh compiles this file.

typedef float f4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef double d2 __attribute__((vector_size(16), aligned(8), may_alias));
typedef int i32;

#define EXPORT(name) __attribute__((export_name(#name)))
#define F4(at) (*(f4 *)(at))
#define EPS_FLOAT32 1.1920928955078125e-07

// --- functions of one number ---------------------------------------------------------------------------------------

// e^x to an ulp or two: x = k ln 2 + r with |r| <= ln 2 / 2, and Taylor's series of r.
static double exp_of(double x) {
  if (x < -708.0) return 0.0;
  if (x > 709.0) return __builtin_inf();
  double k = __builtin_floor(x * 1.4426950408889634 + 0.5);
  double r = (x - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10;  // ln 2 in two parts
  static const double over_factorial[14] = {
      1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880,
      1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};
  double series = over_factorial[13];
  for (int n = 12; n >= 0; n--) series = series * r + over_factorial[n];
  union { unsigned long long bits; double value; } power = {(unsigned long long)(1023 + (long long)k) << 52};
  return series * power.value;
}

// ln x for positive normal x: x = m 2^k with m about 1, and the series of 2 artanh((m - 1) / (m + 1)).
static double log_of(double x) {
  union { double value; unsigned long long bits; } parts = {x};
  long long k = (long long)((parts.bits >> 52) & 0x7ff) - 1023;
  parts.bits = (parts.bits & 0xfffffffffffffULL) | (1023ULL << 52);
  if (parts.value > 1.4142135623730951) {
    parts.value *= 0.5;
    k++;
  }
  double s = (parts.value - 1.0) / (parts.value + 1.0), square = s * s, series = 0.0;
  for (int n = 23; n > 0; n -= 2) series = series * square + 1.0 / n;
  return 2.0 * s * series + (double)k * 0.6931471805599453;
}

// The error function on [0, 6] between knots of a table that holds values and slopes (Hermite's cubic): to 1e-9.
#define KNOTS 64
#define TABLE (6 * KNOTS + 2)
static double erf_value[TABLE], erf_slope[TABLE];

static void make_erf_table(void) {
  for (int i = 0; i < TABLE; i++) {
    double x = (double)i / KNOTS, slope = 1.1283791670955126 * exp_of(-x * x);
    erf_slope[i] = slope / KNOTS;
    if (x < 2.5) {  // the series of e^(x^2) erf x, whose terms are all positive
      double term = x, total = x;
      for (int n = 1; n < 60; n++) {
        term *= 2.0 * x * x / (2 * n + 1);
        total += term;
      }
      erf_value[i] = slope * total;
    } else {  // the continued fraction of its complement
      double fraction = 0.0;
      for (int n = 60; n > 0; n--) fraction = 0.5 * n / (x + fraction);
      erf_value[i] = 1.0 - 0.5 * slope / (x + fraction);
    }
  }
}

static double erf_of(double x) {
  double size = __builtin_fabs(x), at = size * KNOTS;
  if (size >= 6.0) return x < 0 ? -1.0 : 1.0;
  int i = (int)at;
  double t = at - i, u = 1.0 - t;
  double y = erf_value[i] * u * u * (1.0 + 2.0 * t) + erf_value[i + 1] * t * t * (1.0 + 2.0 * u) +
             t * u * (u * erf_slope[i] - t * erf_slope[i + 1]);
  return x < 0 ? -y : y;
}

EXPORT(start) void start(void) { make_erf_table(); }

// --- products ------------------------------------------------------------------------------------------------------

// Panels of eight columns, one after the other, the last filled up with zeros.
static void pack(const float *b, i32 k, i32 m, float *panels) {
  for (i32 j = 0; j < m; j += 8) {
    i32 width = m - j < 8 ? m - j : 8;
    for (i32 i = 0; i < k; i++, panels += 8) {
      const float *row = b + (long)i * m + j;
      for (i32 c = 0; c < 8; c++) panels[c] = c < width ? row[c] : 0.0f;
    }
  }
}

// Eight columns of some rows of a product, from a panel; `plus` has a row for each, or steps by 0.
#define TILE(ROWS)                                                                                       \
  static void tile##ROWS(const float *a, i32 k, const float *panel, const float *plus, i32 step,        \
                         float *out, i32 m, i32 width) {                                                \
    f4 left[ROWS], right[ROWS];                                                                         \
    for (int r = 0; r < ROWS; r++) left[r] = right[r] = (f4){0, 0, 0, 0};                               \
    for (i32 i = 0; i < k; i++, panel += 8) {                                                           \
      f4 b0 = F4(panel), b1 = F4(panel + 4);                                                            \
      for (int r = 0; r < ROWS; r++) {                                                                  \
        float x = a[(long)r * k + i];                                                                   \
        f4 all = {x, x, x, x};                                                                          \
        left[r] += all * b0;                                                                            \
        right[r] += all * b1;                                                                           \
      }                                                                                                 \
    }                                                                                                   \
    for (int r = 0; r < ROWS; r++) {                                                                    \
      float *to = out + (long)r * m;                                                                    \
      const float *also = plus ? plus + (long)r * step : 0;                                             \
      if (width == 8) {                                                                                 \
        F4(to) = also ? left[r] + F4(also) : left[r];                                                   \
        F4(to + 4) = also ? right[r] + F4(also + 4) : right[r];                                         \
      } else {                                                                                          \
        for (i32 c = 0; c < width; c++) to[c] = (c < 4 ? left[r][c] : right[r][c - 4]) + (also ? also[c] : 0.0f); \
      }                                                                                                 \
    }                                                                                                   \
  }
TILE(4)
TILE(1)

// a b + plus: a is n x k, b is k x m; plus is none (0), of one row (step 0), or of n rows (step m). `panels` has room
// for k times m, rounded up to a multiple of eight.
EXPORT(product)
void product(const float *a, const float *b, const float *plus, i32 step, float *out, i32 n, i32 k, i32 m, float *panels) {
  pack(b, k, m, panels);
  for (i32 block = 0; block < n; block += 64) {  // rows that stay in the cache while all panels pass
    i32 end = block + 64 < n ? block + 64 : n;
    for (i32 j = 0; j < m; j += 8) {
      const float *panel = panels + (long)j * k;
      i32 width = m - j < 8 ? m - j : 8, i = block;
      for (; i < end; i += i + 4 <= end ? 4 : 1) {
        const float *also = plus ? plus + (long)i * step + j : 0;
        float *to = out + (long)i * m + j;
        if (i + 4 <= end) tile4(a + (long)i * k, k, panel, also, step, to, m, width);
        else tile1(a + (long)i * k, k, panel, also, step, to, m, width);
      }
    }
  }
}

// --- rows and columns ----------------------------------------------------------------------------------------------

// a + factor b; a and b have n rows (step cols) or one (step 0).
EXPORT(sum) void sum(const float *a, i32 step_a, const float *b, i32 step_b, float factor, float *out, i32 n, i32 cols) {
  for (i32 i = 0; i < n; i++, a += step_a, b += step_b, out += cols)
    for (i32 j = 0; j < cols; j++) out[j] = a[j] + factor * b[j];
}

EXPORT(gather) void gather(const float *table, const i32 *index, float *out, i32 n, i32 cols) {
  for (i32 i = 0; i < n; i++, out += cols) {
    const float *row = table + (long)index[i] * cols;
    for (i32 j = 0; j < cols; j++) out[j] = row[j];
  }
}

// Neighbouring columns of rows that are `step` apart; a step of 0 repeats one row.
EXPORT(columns) void columns(const float *a, i32 step, i32 from, float *out, i32 n, i32 cols) {
  for (i32 i = 0; i < n; i++, a += step, out += cols)
    for (i32 j = 0; j < cols; j++) out[j] = a[from + j];
}

// Some columns of `out`, which holds a copy already, from `by`.
EXPORT(replace) void replace(const i32 *which, i32 count, const float *by, i32 step, float *out, i32 n, i32 cols) {
  for (i32 i = 0; i < n; i++, by += step, out += cols)
    for (i32 c = 0; c < count; c++) out[which[c]] = by[which[c]];
}

// The mean row, summed in float64 in `total`.
EXPORT(mean) void mean(const float *a, i32 n, i32 cols, double *total, float *out) {
  for (i32 j = 0; j < cols; j++) total[j] = 0.0;
  for (i32 i = 0; i < n; i++, a += cols)
    for (i32 j = 0; j < cols; j++) total[j] += a[j];
  for (i32 j = 0; j < cols; j++) out[j] = (float)(total[j] / n);
}

EXPORT(normed) void normed(const float *a, const float *gain, const float *bias, float *out, i32 n, i32 cols) {
  for (i32 i = 0; i < n; i++, a += cols, out += cols) {
    double total = 0.0, squares = 0.0;
    for (i32 j = 0; j < cols; j++) total += a[j];
    double middle = total / cols;
    for (i32 j = 0; j < cols; j++) squares += (a[j] - middle) * (a[j] - middle);
    double scale = 1.0 / __builtin_sqrt(squares / cols + 1e-5);
    for (i32 j = 0; j < cols; j++) out[j] = (float)((a[j] - middle) * scale) * gain[j] + bias[j];
  }
}

// kind: 0 ReLU, 1 exact GELU, 2 tanh, 3 square.
EXPORT(activation) void activation(i32 kind, const float *a, float *out, long count) {
  if (kind == 0) {
    for (long i = 0; i < count; i++) out[i] = a[i] > 0.0f ? a[i] : 0.0f;
  } else if (kind == 1) {
    for (long i = 0; i < count; i++) out[i] = (float)(0.5 * a[i] * (1.0 + erf_of(a[i] * 0.7071067811865476)));
  } else if (kind == 2) {
    for (long i = 0; i < count; i++) {
      double falls = exp_of(-2.0 * __builtin_fabs(a[i])), size = (1.0 - falls) / (1.0 + falls);
      out[i] = (float)(a[i] < 0 ? -size : size);
    }
  } else {
    for (long i = 0; i < count; i++) out[i] = a[i] * a[i];
  }
}

// --- attention -----------------------------------------------------------------------------------------------------

// Where a pair's row lies: named by an index, or the pair's own (step 1), or one for all (step 0).
static const float *row_of(const float *rows, const i32 *index, i32 step, i32 pair, i32 cols) {
  return rows + (long)(index ? index[pair] : step * pair) * cols;
}

static float inner(const float *a, const float *b, i32 n) {
  f4 total = {0, 0, 0, 0};
  i32 i = 0;
  for (; i + 4 <= n; i += 4) total += F4(a + i) * F4(b + i);
  float found = (total[0] + total[1]) + (total[2] + total[3]);
  for (; i < n; i++) found += a[i] * b[i];
  return found;
}

// The attention that a position pays, out[pair, position, head]: rate softmax + 1 - rate, of scores over sqrt(width).
// Keys are given one position after the other: three numbers each, where its rows lie, its index (0: none), its step.
EXPORT(attention)
void attention(const float *query, const i32 *query_index, i32 query_step, const i32 *keys, i32 positions, i32 heads,
               i32 width, double rate, float *out, i32 n) {
  i32 cols = heads * width;
  double weight[8], scale = 1.0 / __builtin_sqrt(width);
  for (i32 i = 0; i < n; i++, out += positions * heads) {
    const float *q = row_of(query, query_index, query_step, i, cols);
    for (i32 h = 0; h < heads; h++) {
      double highest = -__builtin_inf(), total = 0.0;
      for (i32 pos = 0; pos < positions; pos++) {
        const i32 *key = keys + 3 * pos;
        const float *k = row_of((const float *)key[0], (const i32 *)key[1], key[2], i, cols);
        weight[pos] = scale * inner(q + h * width, k + h * width, width);
        if (weight[pos] > highest) highest = weight[pos];
      }
      for (i32 pos = 0; pos < positions; pos++) total += weight[pos] = exp_of(weight[pos] - highest);
      for (i32 pos = 0; pos < positions; pos++) out[pos * heads + h] = (float)(weight[pos] / total * rate + (1.0 - rate));
    }
  }
}

// Each head's mix of values, out[pair, head * width]; the pattern steps by 0 where it is one for all pairs. Values are
// given as keys are.
EXPORT(mixture)
void mixture(const float *pattern, i32 step, const i32 *values, i32 positions, i32 heads, i32 width, float *out, i32 n) {
  i32 cols = heads * width;
  for (i32 i = 0; i < n; i++, pattern += step, out += cols) {
    for (i32 j = 0; j < cols; j++) out[j] = 0.0f;
    for (i32 pos = 0; pos < positions; pos++) {
      const i32 *value = values + 3 * pos;
      const float *v = row_of((const float *)value[0], (const i32 *)value[1], value[2], i, cols);
      for (i32 h = 0; h < heads; h++) {
        float share = pattern[pos * heads + h];
        float *to = out + h * width;
        const float *of = v + h * width;
        for (i32 e = 0; e < width; e++) to[e] += share * of[e];
      }
    }
  }
}

// --- functions of the sum of a pair --------------------------------------------------------------------------------

// table[t, col]: sum over the pairs of sum t, in float64.
EXPORT(by_sum) void by_sum(const float *a, const i32 *sums, double *table, i32 n, i32 m, i32 cols) {
  for (long i = 0; i < (long)m * cols; i++) table[i] = 0.0;
  for (i32 i = 0; i < n; i++, a += cols) {
    double *row = table + (long)sums[i] * cols;
    for (i32 j = 0; j < cols; j++) row[j] += a[j];
  }
}

// out[pair] = table[sum of the pair].
EXPORT(of_sum) void of_sum(const double *table, const i32 *sums, float *out, i32 n, i32 cols) {
  for (i32 i = 0; i < n; i++, out += cols) {
    const double *row = table + (long)sums[i] * cols;
    for (i32 j = 0; j < cols; j++) out[j] = (float)row[j];
  }
}

// --- which frequency a neuron is tuned to --------------------------------------------------------------------------

// freq and purity of each of `cols` neurons, given by pair in the order of the task; order[i m + j] is the pair that
// stands at (i, j) of the addition. `basis` is the Fourier basis [row, x]. Work: grid [m, cols], along [m, cols],
// panels as in `product`, then float64 [cols] for means and squares, and [(4 freqs + 2 m), cols] for sums.
EXPORT(tuning)
void tuning(const float *a, const i32 *order, const double *basis, const float *basis32, i32 m, i32 cols, float *grid,
            float *along, float *panels, double *means, double *squares, double *sums, i32 *freq, double *purity) {
  i32 pairs = (m - 1) / 2, freqs = m / 2;
  double *both = sums, *of_a = both + (long)4 * freqs * cols, *of_b = of_a + (long)m * cols;
  for (i32 j = 0; j < cols; j++) means[j] = squares[j] = 0.0;
  for (long i = 0; i < (long)(4 * freqs + 2 * m) * cols; i++) sums[i] = 0.0;
  for (i32 i = 0; i < m * m; i++) {
    const float *row = a + (long)order[i] * cols;
    for (i32 j = 0; j < cols; j++) means[j] += row[j];
  }
  for (i32 j = 0; j < cols; j++) means[j] /= (double)m * m;
  for (i32 x = 0; x < m; x++) {
    for (i32 y = 0; y < m; y++) {
      const float *row = a + (long)order[x * m + y] * cols;
      float *to = grid + (long)y * cols;
      for (i32 j = 0; j < cols; j++) {
        double about = row[j] - means[j];
        squares[j] += about * about;
        to[j] = (float)about;
      }
    }
    product(basis32, grid, 0, 0, along, m, m, cols, panels);
    for (i32 row = 0; row < m; row++) {
      const float *of = along + (long)row * cols;
      double *b = of_b + (long)row * cols;
      for (i32 j = 0; j < cols; j++) b[j] += of[j];
    }
    for (i32 row = 1; row < m; row++) {
      double wave = basis[(long)row * m + x];
      double *to = of_a + (long)row * cols;
      for (i32 j = 0; j < cols; j++) to[j] += wave * along[j];
    }
    for (i32 k = 0; k < freqs; k++)
      for (i32 wave = 0; wave < (k < pairs ? 2 : 1); wave++)
        for (i32 other = 0; other < (k < pairs ? 2 : 1); other++) {
          double factor = basis[(long)(2 * k + 1 + wave) * m + x];
          const float *of = along + (long)(2 * k + 1 + other) * cols;
          double *to = both + (long)(4 * k + 2 * wave + other) * cols;
          for (i32 j = 0; j < cols; j++) to[j] += factor * of[j];
        }
  }
  for (i32 j = 0; j < cols; j++) {
    double best = -1.0, rounding = m * EPS_FLOAT32;
    freq[j] = 0;
    purity[j] = 0.0;
    if (!(squares[j] > rounding * rounding * (squares[j] + (double)m * m * means[j] * means[j]))) continue;
    for (i32 k = 0; k < freqs; k++) {
      double power = 0.0;
      for (i32 wave = 0; wave < (k < pairs ? 2 : 1); wave++) {
        double one = of_a[(long)(2 * k + 1 + wave) * cols + j], other = of_b[(long)(2 * k + 1 + wave) * cols + j];
        power += one * one + other * other / m;
      }
      for (i32 i = 0; i < 4; i++) power += both[(long)(4 * k + i) * cols + j] * both[(long)(4 * k + i) * cols + j];
      if (power > best) {
        best = power;
        freq[j] = k + 1;
        purity[j] = power / squares[j];
      }
    }
  }
}

// Some neurons of `out`, which holds a copy already, as their best polynomials in {1, cos, sin} of a times the same of b
// at their own frequency. Work: waves [3, m].
EXPORT(polynomial)
void polynomial(const i32 *which, i32 count, const i32 *freq, const i32 *order, const double *basis, double *waves,
                float *out, i32 m, i32 cols) {
  for (i32 c = 0; c < count; c++) {
    i32 j = which[c], k = freq[j];
    if (k == 0) continue;
    double fit[3][3] = {{0}};
    for (i32 x = 0; x < m; x++) {
      waves[x] = basis[x];
      waves[m + x] = basis[(long)(2 * k - 1) * m + x];
      waves[2 * m + x] = 2 * k < m ? basis[(long)2 * k * m + x] : 0.0;
    }
    for (i32 x = 0; x < m; x++)
      for (i32 y = 0; y < m; y++) {
        double value = out[(long)order[x * m + y] * cols + j];
        for (i32 s = 0; s < 3; s++)
          for (i32 t = 0; t < 3; t++) fit[s][t] += waves[s * m + x] * waves[t * m + y] * value;
      }
    for (i32 x = 0; x < m; x++)
      for (i32 y = 0; y < m; y++) {
        double value = 0.0;
        for (i32 s = 0; s < 3; s++)
          for (i32 t = 0; t < 3; t++) value += waves[s * m + x] * waves[t * m + y] * fit[s][t];
        out[(long)order[x * m + y] * cols + j] = (float)value;
      }
  }
}

// --- scores --------------------------------------------------------------------------------------------------------

// found: summed cross-entropy in nats on the training and on the test side, right answers on both, pairs on both. Of
// equal logits the first is the answer.
EXPORT(scores)
void scores(const float *logits, const i32 *labels, const unsigned char *is_train, i32 n, i32 cols, double *found) {
  for (i32 i = 0; i < 6; i++) found[i] = 0.0;
  for (i32 i = 0; i < n; i++, logits += cols) {
    i32 side = is_train[i] ? 0 : 1, answer = 0;
    for (i32 j = 1; j < cols; j++)
      if (logits[j] > logits[answer]) answer = j;
    double highest = logits[answer], total = 0.0;
    for (i32 j = 0; j < cols; j++) total += exp_of(logits[j] - highest);
    found[side] += log_of(total) + (highest - logits[labels[i]]);
    found[2 + side] += answer == labels[i];
    found[4 + side] += 1.0;
  }
}
