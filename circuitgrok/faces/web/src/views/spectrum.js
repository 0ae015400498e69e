// Energy by frequency: of the embedding, the neurons and the logits, at the checkpoint that is selected.

import { h, panel, resized, s } from "../dom.js";
import { short } from "../time.js";

const OF = [
  { name: "W_E", label: "embedding" },
  { name: "neurons", label: "neurons" },
  { name: "logits", label: "logits" },
];

export function spectrum(context) {
  const view = panel("Spectrum", { note: "energy by frequency, as a share of all; click: switch off" });
  const rows = OF.map((of) => {
    const svg = s("svg", { class: "bars", role: "img", "aria-label": `spectrum of the ${of.label}` });
    const value = h("b");
    view.body.append(
      h("div", { class: "legend" }, h("span", { class: "entry" }, h("span", { text: of.label }), value)),
      svg,
    );
    return { ...of, svg, value };
  });
  const draw = (now) => {
    const { run, at } = context.shown()[0];
    rows.forEach((row, i) => bars(context, row, run, at, now, i === rows.length - 1));
  };
  context.state.on(["at", "a", "off", "freq"], draw);
  resized(view.body, () => draw(context.state.now));
  return view.el;
}

function bars(context, { name, label, svg, value }, run, at, now, last) {
  const energies = Array.from(run.spectrum(name, at));
  const total = energies.reduce((sum, one) => sum + one, 0) || 1;
  const shares = energies.map((one) => (name === "neurons" ? one : one / total));
  const width = svg.getBoundingClientRect().width || 360,
    height = last ? 128 : 108,
    left = 40,
    bottom = last ? 30 : 12;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.style.height = `${height}px`;
  const top = Math.max(...shares, 1e-9);
  const each = (width - left - 4) / shares.length,
    room = height - bottom - 4;
  const keys = new Set(run.key_freqs),
    off = new Set(now.off);
  const parts = [
    s("text", { class: "tick y", x: left - 5, y: 11, text: short(top, 2) }),
    s("text", { class: "tick y", x: left - 5, y: 4 + room, text: "0" }),
    s("line", { class: "axis", x1: left, x2: width - 4, y1: 4 + room, y2: 4 + room }),
  ];
  const every = Math.ceil(shares.length / Math.floor((width - left) / 26));
  shares.forEach((share, i) => {
    const k = i + 1,
      size = Math.max(0, (share / top) * room),
      x = left + i * each;
    const kind = off.has(k) ? "off" : keys.has(k) ? "key" : "plain";
    const hit = s(
      "rect",
      { class: "hit", x, y: 0, width: each, height: height - bottom, onclick: () => context.toggle("off", k) },
      s("title", {
        text: `k = ${k}: ${short(share)} of the ${label}${keys.has(k) ? ", key" : ""}${off.has(k) ? ", switched off" : ""}`,
      }),
    );
    parts.push(
      s("rect", { class: `bar-of ${kind}`, x: x + each * 0.12, y: 4 + room - size, width: each * 0.76, height: size }),
      hit,
    );
    if (last && labelled(k, keys, each, every)) {
      parts.push(
        s("text", { class: keys.has(k) ? "tick x key" : "tick x", x: x + each / 2, y: height - bottom + 12, text: k }),
      );
    }
  });
  if (last)
    parts.push(
      s("text", {
        class: "label",
        x: left + (width - left) / 2,
        y: height - 3,
        text: "frequency k (key frequencies in orange)",
      }),
    );
  const best = shares
    .map((share, i) => [share, i + 1])
    .sort((a, b) => b[0] - a[0])
    .slice(0, 3);
  value.textContent = best.map(([share, k]) => `k ${k}: ${short(share, 2)}`).join(", ");
  svg.replaceChildren(...parts);
}

/** Whether there is room for the number of a frequency: for those that are key first, if they are few. */
function labelled(k, keys, each, every) {
  const near = Math.ceil(18 / each);
  if (keys.size > 8 || !keys.size) return k === 1 || k % every === 0;
  if (keys.has(k)) return ![...keys].some((other) => other < k && k - other < near);
  return (k === 1 || k % every === 0) && ![...keys].some((other) => Math.abs(other - k) < near);
}
