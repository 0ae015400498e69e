// Neurons by the frequency that each is tuned to, and the circles that numbers and neurons lie on.

import { h, panel, resized, s, select } from "../dom.js";
import { circle } from "../fourier.js";
import { short } from "../time.js";

const COLOURS = ["var(--blue)", "var(--red)", "var(--green)", "var(--purple)", "var(--orange)", "var(--sky)"];
const MIN_PURITY = 0.85;

export function neurons(context) {
  const view = panel("Neurons", { wide: true });
  const picker = select("circle of k", [], undefined, (k) => context.state.set({ freq: Number(k) }));
  view.tools.append(picker.el);
  const strip = s("svg", { class: "strip", role: "img", "aria-label": "neurons by frequency and purity" });
  const tokens = s("svg", { class: "ring", role: "img", "aria-label": "numbers on the circle of a frequency" });
  const phases = s("svg", { class: "ring", role: "img", "aria-label": "phases of neurons" });
  const [saidOfTokens, saidOfPhases] = [h("figcaption"), h("figcaption")];
  view.body.append(
    h(
      "div",
      { class: "neurons" },
      h(
        "figure",
        {},
        strip,
        h("figcaption", {
          text: "each neuron: share of its variance at its own frequency; click: picture, shift-click: switch off",
        }),
      ),
      h("figure", {}, tokens, saidOfTokens),
      h("figure", {}, phases, saidOfPhases),
    ),
  );

  const draw = (now) => {
    const { run, at } = context.shown()[0];
    const found = run.neurons(at);
    if (!found) return;
    const clusters = clustersOf(found);
    const freq =
      clusters.has(now.freq) || run.key_freqs.includes(now.freq)
        ? now.freq
        : (run.key_freqs[0] ?? [...clusters.keys()][0] ?? 1);
    picker.fill(
      [...new Set([...run.key_freqs, ...clusters.keys()])]
        .sort((a, b) => a - b)
        .map((k) => [String(k), `${k}${run.key_freqs.includes(k) ? " (key)" : ""}`]),
      String(freq),
    );
    const colour = (k) =>
      run.key_freqs.includes(k) ? COLOURS[run.key_freqs.indexOf(k) % COLOURS.length] : "var(--dim)";
    drawStrip(context, strip, found, colour, now);
    drawTokens(context, tokens, saidOfTokens, run, freq);
    drawPhases(context, phases, saidOfPhases, found, freq, colour(freq), now);
    const pure = found.purity.reduce((n, purity) => n + (purity >= MIN_PURITY), 0);
    view.say(
      `${pure} of ${found.purity.length} are pure (≥ ${MIN_PURITY}); clusters ${[...clusters].map(([k, n]) => `${k}: ${n}`).join(", ") || "none"}`,
    );
  };
  context.state.on(["at", "a", "opened", "freq", "neuron", "neurons"], draw);
  resized(view.body, () => draw(context.state.now));
  return view.el;
}

/** How many pure neurons each frequency has, by frequency. */
function clustersOf({ freq, purity }) {
  const sizes = new Map();
  freq.forEach((k, n) => k && purity[n] >= MIN_PURITY && sizes.set(k, (sizes.get(k) ?? 0) + 1));
  return new Map([...sizes].sort((a, b) => a[0] - b[0]));
}

function drawStrip(context, svg, { freq, purity }, colour, now) {
  const width = svg.getBoundingClientRect().width || 360,
    height = 320,
    left = 38,
    top = 6,
    bottom = 30;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const order = Array.from(freq.keys()).sort((i, j) => freq[i] - freq[j] || purity[j] - purity[i]);
  const [w, t] = [width - left - 6, height - top - bottom];
  const px = (rank) => left + ((rank + 0.5) / order.length) * w,
    py = (value) => top + (1 - value) * t;
  const parts = [];
  for (const tick of [0, 0.5, MIN_PURITY, 1]) {
    parts.push(
      s("line", { class: "grid", x1: left, x2: left + w, y1: py(tick), y2: py(tick) }),
      s("text", { class: "tick y", x: left - 5, y: py(tick) + 3.5, text: tick }),
    );
  }
  let from = 0,
    labelled = -Infinity;
  for (let rank = 1; rank <= order.length; rank++) {
    if (rank < order.length && freq[order[rank]] === freq[order[from]]) continue;
    const k = freq[order[from]],
      middle = (px(from) + px(rank - 1)) / 2;
    if (from)
      parts.push(
        s("line", {
          class: "grid",
          x1: (px(from - 1) + px(from)) / 2,
          x2: (px(from - 1) + px(from)) / 2,
          y1: top,
          y2: top + t,
        }),
      );
    if (middle - labelled > 16) {
      parts.push(s("text", { class: "tick x", x: middle, y: top + t + 13, fill: colour(k), text: k || "–" }));
      labelled = middle;
    }
    from = rank;
  }
  const off = new Set(now.neurons);
  order.forEach((n, rank) => {
    parts.push(
      s(
        "circle",
        {
          class: off.has(n) ? "dot off" : "dot",
          cx: px(rank),
          cy: py(purity[n]),
          r: n === now.neuron ? 5 : 2.4,
          fill: colour(freq[n]),
          stroke: n === now.neuron ? "var(--ink)" : undefined,
          onclick: (event) =>
            event.shiftKey
              ? context.toggle("neurons", n)
              : context.state.set({ neuron: n, picture: "neuron", freq: freq[n] || context.state.now.freq }),
        },
        s("title", {
          text: `neuron ${n}: k = ${freq[n]}, purity ${short(purity[n])}${off.has(n) ? ", switched off" : ""}`,
        }),
      ),
    );
  });
  parts.push(s("text", { class: "label", x: left + w / 2, y: height - 4, text: "neurons, by their frequency k" }));
  parts.push(
    s("text", { class: "label", x: 0, y: 0, transform: `translate(10 ${top + t / 2}) rotate(-90)`, text: "purity" }),
  );
  svg.replaceChildren(...parts);
}

function drawTokens(context, svg, said, run, k) {
  svg.setAttribute("viewBox", "-100 -100 200 200");
  const weights = context.weights();
  if (!weights) return;
  const table = weights["embed.W_E"] ?? weights["blocks.0.mlp.W_in"];
  const width = table.shape[1],
    order = run.arrays["task/tokens"].data;
  const rows = Float64Array.from(
    { length: run.m * width },
    (_, i) => table.data[order[Math.floor(i / width)] * width + (i % width)],
  );
  const points = circle(rows, run.m, width, k);
  const size = Math.max(...points.map(([u, v]) => Math.hypot(u, v))) || 1;
  const at = points.map(([u, v]) => [(u / size) * 84, (-v / size) * 84]);
  const inverse = stepAround(k, run.m);
  const around = Array.from({ length: run.m }, (_, i) => at[(i * inverse) % run.m]);
  svg.replaceChildren(
    s("circle", { class: "grid", r: 84, fill: "none" }),
    s("polygon", { class: "around", points: around.map((p) => p.map((x) => x.toFixed(1)).join(" ")).join(" ") }),
    ...at.map(([x, y], i) =>
      s(
        "circle",
        { class: "dot", cx: x, cy: y, r: run.m > 60 ? 1.8 : 2.6, fill: "var(--blue)" },
        s("title", { text: `number ${order[i]}` }),
      ),
    ),
    ...at
      .map(
        ([x, y], i) =>
          (run.m <= 40 || i % 8 === 0) &&
          s("text", { class: "tick ring-label", x: x * 1.13, y: y * 1.13 + 3, text: order[i] }),
      )
      .filter(Boolean),
  );
  said.textContent = `numbers in the plane of cos, sin ${k} of the embedding, joined in the order of ${k}·x`;
}

/** The number by which x grows when k x grows by the least step around the circle. */
function stepAround(k, m) {
  for (let x = 1; x < m; x++) if ((k * x) % m === 1) return x;
  return 1;
}

function drawPhases(context, svg, said, found, k, colour, now) {
  svg.setAttribute("viewBox", "-100 -100 200 200");
  const wrap = (angle) => angle - 2 * Math.PI * Math.round(angle / (2 * Math.PI));
  const place = (angle) => (angle / Math.PI) * 80;
  const mine = Array.from(found.freq.keys()).filter((n) => found.freq[n] === k);
  const pure = mine.filter((n) => found.purity[n] >= MIN_PURITY);
  const ticks = [
    [-1, "−π"],
    [0, "0"],
    [1, "π"],
  ];
  svg.replaceChildren(
    s("rect", { class: "grid", x: -80, y: -80, width: 160, height: 160, fill: "none" }),
    s("line", { class: "grid diagonal", x1: -80, y1: 80, x2: 80, y2: -80 }),
    ...ticks.flatMap(([at, text]) => [
      s("text", { class: "tick ring-label", x: at * 80, y: 91, text }),
      s("text", { class: "tick y", x: -83, y: -at * 80 + 3, text }),
    ]),
    s("text", { class: "label", x: 0, y: 99, text: "u + v (read)" }),
    s("text", { class: "label", x: 0, y: 0, transform: "translate(-92 0) rotate(-90)", text: "out (written)" }),
    ...mine.map((n) =>
      s(
        "circle",
        {
          class: found.purity[n] < MIN_PURITY ? "dot pale" : "dot",
          cx: place(wrap(found.u[n] + found.v[n])),
          cy: -place(found.out[n]),
          r: n === now.neuron ? 4.5 : 2,
          fill: colour,
          stroke: n === now.neuron ? "var(--ink)" : undefined,
          onclick: () => context.state.set({ neuron: n, picture: "neuron" }),
        },
        s("title", { text: `neuron ${n}: u ${short(found.u[n])}, v ${short(found.v[n])}, out ${short(found.out[n])}` }),
      ),
    ),
  );
  let [x, y] = [0, 0];
  for (const n of pure) {
    const apart = found.out[n] - found.u[n] - found.v[n];
    x += Math.cos(apart) / pure.length;
    y += Math.sin(apart) / pure.length;
  }
  said.textContent = `phases of the ${mine.length} neurons of k = ${k}, ${pure.length} of them pure: alignment ${pure.length ? short(Math.hypot(x, y)) : "–"}`;
}
