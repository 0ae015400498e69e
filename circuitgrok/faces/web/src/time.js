// The axis of time: steps to 0..1 and back; linear, logarithmic, or with what happened at equal distances.

const LINEAR_BELOW = 10; // steps: a logarithm has no room for the first

const log = (step) => (step <= LINEAR_BELOW ? step / LINEAR_BELOW : 1 + Math.log10(step / LINEAR_BELOW));
const unlog = (value) => (value <= 1 ? value * LINEAR_BELOW : LINEAR_BELOW * 10 ** (value - 1));

/** Steps of a run that are laid at equal distances: its ends, and those events that all runs have. */
function knots(run, runs) {
  const shared = run.events.filter((event) => runs.every((other) => other.event(event.name)));
  const steps = [0, ...shared.map((event) => event.by), run.last];
  return [...new Set(steps)].filter((step) => step <= run.last).sort((a, b) => a - b);
}

/** `{at(step), step(at)}` of a run, beside those that it is compared with. */
export function timeAxis(kind, run, runs) {
  if (kind === "events") {
    const ends = knots(run, runs);
    const n = ends.length - 1;
    return {
      at(step) {
        let i = 0;
        while (i < n - 1 && step > ends[i + 1]) i++;
        return (i + (step - ends[i]) / (ends[i + 1] - ends[i])) / n;
      },
      step(at) {
        const i = Math.min(n - 1, Math.max(0, Math.floor(at * n)));
        return ends[i] + (at * n - i) * (ends[i + 1] - ends[i]);
      },
      ticks: ends,
    };
  }
  const last = Math.max(1, ...runs.map((one) => one.last));
  if (kind === "log") {
    const ticks = [0, 10, 100, 1000, 10000, 100000, 1000000].filter((step) => step <= last);
    return { at: (step) => log(step) / log(last), step: (at) => unlog(at * log(last)), ticks };
  }
  return { at: (step) => step / last, step: (at) => at * last, ticks: niceTicks(0, last, 5) };
}

/** Round numbers between two. */
export function niceTicks(low, high, about) {
  if (!(high > low)) return [low];
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((one) => one * power >= rough) * power;
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++)
    ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

/** A number in few characters. */
export function short(value, digits = 3) {
  if (value === undefined || value === null || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3)
    return value
      .toExponential(Math.max(0, digits - 1))
      .replace("e+", "e")
      .replace("-", "−");
  if (Number.isInteger(value)) return String(value).replace("-", "−");
  return value.toPrecision(digits).replace("-", "−");
}

/** A step with its thousands apart. */
export const stepText = (step) => String(Math.round(step)).replace(/\B(?=(\d{3})+$)/g, "\u2009");
