// The slider over checkpoints: phases, events, and which checkpoints have their weights on the page.

import { choice, h, resized, s, select } from "./dom.js";
import { stepText } from "./time.js";

const HEIGHT = 70,
  LEFT = 14,
  RIGHT = 14,
  LINE = 38;

/** The bar at the top: play, where we are, the axis, which runs; and the slider below. */
export function strip(context) {
  const { state, runs } = context;
  const svg = s("svg", { class: "strip-line", "aria-hidden": "true" });
  const slider = h(
    "div",
    { class: "slider", role: "slider", tabindex: 0, "aria-label": "checkpoint", "aria-valuemin": 0 },
    svg,
  );
  const play = h("button", {
    type: "button",
    class: "play",
    onclick: () => state.set({ playing: !state.now.playing }),
  });
  const where = h("output", { class: "where", "aria-live": "off" });
  const axis = choice("axis of time", { linear: "linear", log: "log", events: "by events" }, state.now.axis, (value) =>
    state.set({ axis: value }),
  );
  const pickers = [];
  if (runs.length > 1) {
    const options = runs.map((run, i) => [String(i), run.name]);
    const a = select("run", options, String(state.now.a), (value) => {
      const run = runs[Number(value)];
      state.set({ a: Number(value), at: run.nearest(context.shown()[0].step) });
    });
    const b = select("beside", [["-1", "no other"], ...options], String(state.now.b), (value) =>
      state.set({ b: Number(value) }),
    );
    state.on(["a", "b"], (now) => {
      a.input.value = String(now.a);
      b.input.value = String(now.b);
    });
    pickers.push(a.el, b.el);
  }
  const el = h(
    "div",
    { class: "time" },
    h("div", { class: "time-row controls" }, play, where, axis.el, ...pickers),
    slider,
  );

  function draw(now) {
    const { run, axis, step } = context.shown()[0];
    const width = svg.getBoundingClientRect().width || 900;
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const px = (one) => LEFT + axis.at(one) * (width - LEFT - RIGHT);
    const parts = run.phases.map((phase, tone) => {
      const [from, to] = [px(phase.from), px(phase.to ?? run.last)];
      return s(
        "g",
        {},
        s("rect", { class: `band tone${tone}`, x: from, width: Math.max(0, to - from), y: LINE - 9, height: 25 }),
        to - from > 7 * phase.name.length &&
          s("text", { class: "band-label", x: (from + to) / 2, y: LINE + 12, text: phase.name }),
      );
    });
    parts.push(s("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: LINE, y2: LINE }));
    const right = [-Infinity, -Infinity];
    for (const event of run.events) {
      const x = px(event.by),
        room = event.name.length * 5.4;
      parts.push(
        s(
          "path",
          { class: "event", d: `M${x} ${LINE - 9}l-4 -6h8z` },
          s("title", { text: `${event.name}: step ${Math.max(0, event.after)}–${event.by}` }),
        ),
      );
      const from = Math.min(Math.max(x - room / 2, 2), width - room - 2);
      const line = right.findIndex((end) => from > end);
      if (line < 0) continue;
      parts.push(s("text", { class: "event-label", x: from, y: 20 - 11 * line, text: event.name }));
      right[line] = from + room + 6;
    }
    let ended = -Infinity;
    for (const tick of axis.ticks) {
      const text = stepText(tick),
        x = px(tick),
        half = text.length * 3.2;
      if (x - half < ended) continue;
      ended = x + half + 6;
      parts.push(s("text", { class: "tick x", x: Math.min(Math.max(x, half), width - half), y: HEIGHT - 2, text }));
    }
    for (const one of run.steps)
      parts.push(s("line", { class: "checkpoint", x1: px(one), x2: px(one), y1: LINE - 6, y2: LINE }));
    if (!run.everyStep)
      for (const one of run.weights.keys())
        parts.push(
          s(
            "circle",
            { class: "kept", cx: px(one), cy: LINE, r: 3.2 },
            s("title", { text: `weights of step ${one} are on this page` }),
          ),
        );
    parts.push(
      s("line", { class: "thumb", x1: px(step), x2: px(step), y1: LINE - 15, y2: LINE + 15 }),
      s("circle", { class: "thumb", cx: px(step), cy: LINE, r: 7 }),
    );
    svg.replaceChildren(...parts.flat());
    where.replaceChildren(
      h("b", { text: `step ${stepText(step)}` }),
      ` of ${stepText(run.last)}, checkpoint ${now.at + 1} of ${run.steps.length}`,
    );
    play.textContent = now.playing ? "❚❚ pause" : "▶ play";
    play.setAttribute("aria-pressed", String(now.playing));
    axisChoice.set(now.axis);
    slider.setAttribute("aria-valuemax", run.steps.length - 1);
    slider.setAttribute("aria-valuenow", now.at);
    slider.setAttribute("aria-valuetext", `step ${step}`);
  }
  const axisChoice = axis;
  state.on(["at", "axis", "a", "b", "playing", "arrived"], draw);
  resized(svg, () => draw(state.now));

  const place = (event) => {
    const box = svg.getBoundingClientRect();
    context.pick(Math.min(1, Math.max(0, (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT))));
  };
  slider.addEventListener("pointerdown", (event) => {
    slider.setPointerCapture(event.pointerId);
    place(event);
  });
  slider.addEventListener("pointermove", (event) => event.buttons && place(event));
  return { el, slider };
}

/** The keys of the slider, for a whole page: arrows, page up and down, home, end, space. */
export function keys(context, target) {
  const { state } = context;
  const moves = {
    ArrowRight: 1,
    ArrowUp: 1,
    ArrowLeft: -1,
    ArrowDown: -1,
    PageUp: 10,
    PageDown: -10,
    Home: -1e9,
    End: 1e9,
  };
  target.addEventListener("keydown", (event) => {
    const own = event.target.closest?.("input, select, textarea, pre");
    if (own || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && !event.target.closest?.("button")) {
      state.set({ playing: !state.now.playing });
      event.preventDefault();
      event.stopPropagation();
    } else if (event.key in moves) {
      const last = context.runs[state.now.a].steps.length - 1;
      state.set({ at: Math.min(last, Math.max(0, state.now.at + moves[event.key])), playing: false });
      event.preventDefault();
      event.stopPropagation();
    }
  });
  let timer;
  state.on(["playing"], (now) => {
    clearInterval(timer);
    if (!now.playing) return;
    const last = context.runs[now.a].steps.length - 1;
    if (now.at >= last) state.set({ at: 0 });
    timer = setInterval(() => {
      const { at, a } = state.now;
      if (at >= context.runs[a].steps.length - 1) state.set({ playing: false });
      else state.set({ at: at + 1 });
    }, 140);
  });
  return () => clearInterval(timer);
}
