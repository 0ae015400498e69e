// Lines on two axes, as SVG: sharp in print, in the colours of the page, without a library.

import { h, resized, s } from "./dom.js";
import { niceTicks, short } from "./time.js";

const LEFT = 52,
  RIGHT = 10,
  TOP = 8,
  BOTTOM = 34;

/** Ticks and the way to 0..1 of a vertical axis over some values. */
export function verticalAxis(values, logarithmic) {
  let low = Infinity,
    high = -Infinity;
  for (const list of values) {
    for (const value of list) {
      if (!Number.isFinite(value) || (logarithmic && value <= 0)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (!(high >= low)) [low, high] = logarithmic ? [0.1, 1] : [0, 1];
  if (logarithmic) {
    const [a, b] = [
      Math.floor(Math.log10(low) + 1e-9),
      Math.max(Math.ceil(Math.log10(high) - 1e-9), Math.floor(Math.log10(low)) + 1),
    ];
    const every = Math.max(1, Math.ceil((b - a) / 6));
    const ticks = [];
    for (let power = b; power >= a; power -= every) ticks.push(10 ** power);
    return {
      at: (value) => (Math.log10(Math.max(value, 10 ** a)) - a) / (b - a),
      ticks,
      format: (tick) => power(tick),
    };
  }
  if (high === low) [low, high] = [low - 0.5, high + 0.5];
  const room = (high - low) * 0.04;
  const [a, b] = [low - room, high + room];
  return { at: (value) => (value - a) / (b - a), ticks: niceTicks(a, b, 5), format: plain };
}

const plain = (tick) =>
  tick && (Math.abs(tick) >= 1e5 || Math.abs(tick) < 1e-3) ? short(tick) : String(tick).replace("-", "−");

const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";
function power(tick) {
  const exponent = Math.round(Math.log10(tick));
  if (exponent >= -1 && exponent <= 3) return String(tick);
  return `10${exponent < 0 ? "⁻" : ""}${[...String(Math.abs(exponent))].map((digit) => RAISED[digit]).join("")}`;
}

/**
 * An empty chart. `draw` takes `{x, y, series, bands, marks, now}`: axes as `{at, ticks, format}`, series as
 * `{label, colour, dash, x, y, value}`, bands as `{from, to, tone}`, and `now` as a list of `{x, y?}`.
 */
export function chart({ xLabel, yLabel, pick, label }) {
  const legend = h("div", { class: "legend" });
  const svg = s("svg", { class: "chart", role: "img", "aria-label": label });
  const el = h("div", { class: "plot" }, legend, svg);
  let last,
    width = 0,
    height = 0;

  function draw(given) {
    last = given;
    const box = svg.getBoundingClientRect();
    width = Math.max(160, box.width || 360);
    height = Math.max(120, box.height || 210);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const { x, y, series, bands = [], now = [] } = given;
    const [w, t] = [width - LEFT - RIGHT, height - TOP - BOTTOM];
    const px = (value) => LEFT + x.at(value) * w;
    const py = (value) => TOP + (1 - Math.min(1.02, Math.max(-0.02, y.at(value)))) * t;
    const parts = [];
    for (const band of bands) {
      const [from, to] = [px(band.from), px(band.to)];
      parts.push(
        s("rect", { class: `band tone${band.tone}`, x: from, y: TOP, width: Math.max(0, to - from), height: t }),
      );
    }
    for (const tick of y.ticks) {
      const at = py(tick);
      if (y.at(tick) < -0.001 || y.at(tick) > 1.001) continue;
      parts.push(s("line", { class: "grid", x1: LEFT, x2: LEFT + w, y1: at, y2: at }));
      parts.push(s("text", { class: "tick y", x: LEFT - 6, y: at + 3.5, text: y.format(tick) }));
    }
    let right = -Infinity;
    for (const tick of x.ticks) {
      const at = px(tick),
        text = x.format(tick);
      parts.push(s("line", { class: "grid", x1: at, x2: at, y1: TOP, y2: TOP + t }));
      const half = text.length * 3;
      if (at - half < right + 4) continue;
      right = at + half;
      parts.push(s("text", { class: "tick x", x: Math.min(at, LEFT + w - half + RIGHT), y: TOP + t + 13, text }));
    }
    parts.push(s("line", { class: "axis", x1: LEFT, x2: LEFT, y1: TOP, y2: TOP + t }));
    parts.push(s("line", { class: "axis", x1: LEFT, x2: LEFT + w, y1: TOP + t, y2: TOP + t }));
    parts.push(s("text", { class: "label", x: LEFT + w / 2, y: height - 5, text: given.xLabel ?? xLabel }));
    parts.push(
      s("text", {
        class: "label",
        x: 0,
        y: 0,
        transform: `translate(11 ${TOP + t / 2}) rotate(-90)`,
        text: given.yLabel ?? yLabel,
      }),
    );
    for (const one of series)
      if (one.x.length === 1 && Number.isFinite(one.y[0]))
        parts.push(s("circle", { class: "single", cx: px(one.x[0]), cy: py(one.y[0]), r: 3, fill: one.colour }));
    for (const one of series)
      parts.push(
        s("path", {
          class: one.pale ? "line pale" : "line",
          d: path(one, px, py),
          stroke: one.colour,
          "stroke-dasharray": one.dash,
        }),
      );
    for (const point of now) {
      const at = px(point.x);
      if (point.y === undefined)
        parts.push(s("line", { class: "now", x1: at, x2: at, y1: TOP, y2: TOP + t, stroke: point.colour }));
      else parts.push(s("circle", { class: "now", cx: at, cy: py(point.y), r: 5, fill: point.colour }));
    }
    svg.replaceChildren(...parts);
    legend.replaceChildren(...series.filter((one) => one.label).map((one) => entry(one)));
  }

  if (pick) {
    svg.classList.add("picked");
    const at = (event) => {
      const box = svg.getBoundingClientRect();
      pick(
        Math.min(1, Math.max(0, ((event.clientX - box.left) * (width / box.width) - LEFT) / (width - LEFT - RIGHT))),
        last,
      );
    };
    svg.addEventListener("pointerdown", (event) => {
      svg.setPointerCapture(event.pointerId);
      at(event);
    });
    svg.addEventListener("pointermove", (event) => event.buttons && at(event));
  }
  resized(svg, () => last && draw(last));
  return { el, draw };
}

function path({ x, y }, px, py) {
  let d = "",
    pen = false;
  for (let i = 0; i < x.length; i++) {
    const value = y[i];
    if (!Number.isFinite(value)) {
      pen = false;
      continue;
    }
    d += `${pen ? "L" : "M"}${px(x[i]).toFixed(1)} ${py(value).toFixed(1)}`;
    pen = true;
  }
  return d;
}

function entry({ label, colour, dash, value }) {
  const line = s(
    "svg",
    { class: "swatch", viewBox: "0 0 22 8", "aria-hidden": "true" },
    s("line", { x1: 0, x2: 22, y1: 4, y2: 4, stroke: colour, "stroke-dasharray": dash, "stroke-width": 2 }),
  );
  return h(
    "span",
    { class: "entry" },
    line,
    h("span", { text: label }),
    value === undefined ? null : h("b", { text: value }),
  );
}
