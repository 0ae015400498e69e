// The page of a sweep: cells over two fields in the colour of a median, and the curves of the runs of a cell.

import { chart, verticalAxis } from "./chart.js";
import { h, panel, s, select } from "./dom.js";
import { colourOf } from "./heat.js";
import { short, stepText, timeAxis } from "./time.js";

const CLASS_COLOURS = {
  comprehension: "var(--blue)",
  grokking: "var(--orange)",
  memorisation: "var(--purple)",
  confusion: "var(--dim)",
};
const RUN_COLOURS = ["var(--blue)", "var(--red)", "var(--green)", "var(--purple)", "var(--orange)", "var(--sky)"];

const inOrder = (values) =>
  [...new Set(values)].sort((a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)),
  );
const isLog = (column) => /_by$|_loss$|norm$|^r0$/.test(column);

export function sweep(root, { content, arrays }) {
  const { name, said, fields, columns, classes, cells, runs } = content.sweep;
  root.classList.add("cg");
  const names = fields.map((field) => field.name);
  const now = {
    x: names[0],
    y: names[1],
    colour: columns.some((one) => one.name === "grokked_by") ? "grokked_by" : columns[0].name,
    cell: 0,
  };
  const labelOf = (field) => fields.find((one) => one.name === field)?.label ?? "";

  const diagram = panel("Phase diagram", {
    note: "a cell: median over its runs, runs that grokked / runs; hatched: censored; strip: shares of the classes",
    wide: true,
  });
  const chosen = panel("Runs of the cell", { wide: true });
  const pickers = [
    fields.length &&
      select(
        "across",
        names.map((one) => [one, one]),
        now.x,
        (value) => draw({ x: value, y: now.y === value ? now.x : now.y }),
      ),
    fields.length > 1 &&
      select(
        "up",
        names.map((one) => [one, one]),
        now.y,
        (value) => draw({ y: value, x: now.x === value ? now.y : now.x }),
      ),
    select(
      "colour",
      columns.map((one) => [one.name, one.name]),
      now.colour,
      (value) => draw({ colour: value }),
    ),
  ];
  diagram.tools.append(...pickers.filter(Boolean).map((one) => one.el));
  const legend = h(
    "div",
    { class: "legend" },
    classes.map((one) =>
      h(
        "span",
        { class: "entry" },
        h("i", { class: "box", style: `background:${CLASS_COLOURS[one]}` }),
        h("span", { text: one }),
      ),
    ),
  );
  const panels = h("div", { class: "diagrams" });
  const scale = h("p", { class: "said" });
  diagram.body.append(panels, scale, legend);
  const curves = ["acc", "loss"].map((what) =>
    chart({
      xLabel: "optimizer step",
      yLabel: what === "acc" ? "accuracy" : "loss",
      label: `${what} of the cell's runs`,
    }),
  );
  const table = h("table", { class: "scores runs" });
  chosen.body.append(
    h(
      "div",
      { class: "pair-of" },
      curves.map((one) => one.el),
    ),
    h("div", { class: "scroll" }, table),
  );
  root.replaceChildren(
    h("header", { class: "about" }, h("h1", { text: name }), h("p", { class: "said", text: said })),
    h("main", { class: "grid-of-panels" }, diagram.el, chosen.el),
    h("footer", { class: "said", text: `circuitgrok ${content.version}; a cell opens by click or enter` }),
  );

  function draw(values) {
    Object.assign(now, values);
    pickers[0] && (pickers[0].input.value = now.x);
    pickers[1] && (pickers[1].input.value = now.y);
    drawDiagram();
    drawCell();
  }

  function drawDiagram() {
    const others = names.filter((one) => one !== now.x && one !== now.y);
    const known = cells
      .map((cell) => cell.values[now.colour])
      .filter(([value, censored]) => value !== null && !censored)
      .map(([value]) => value);
    const positive = known.filter((value) => value > 0);
    const log = isLog(now.colour) && positive.length > 0;
    const [low, high] = log
      ? [Math.min(...positive), Math.max(...positive)]
      : now.colour.match(/acc|gap/)
        ? [0, 1]
        : [Math.min(...known), Math.max(...known)];
    const share = (value) =>
      high > low
        ? log
          ? Math.log(Math.max(value, low) / low) / Math.log(high / low)
          : (value - low) / (high - low)
        : 0.5;
    const label = columns.find((one) => one.name === now.colour).label;
    scale.textContent = known.length
      ? `colour: ${label}, from ${short(low)} (dark) to ${short(high)} (bright)${log ? ", logarithmic" : ""}`
      : `colour: ${label}, not known of any cell`;
    const groups = new Map();
    cells.forEach((cell, i) => {
      const key = others.map((one) => `${one} = ${cell.setting[one]}`).join(", ");
      groups.set(key, [...(groups.get(key) ?? []), i]);
    });
    const across = now.x ? inOrder(cells.map((cell) => cell.setting[now.x])) : ["all runs"];
    const up = now.y ? inOrder(cells.map((cell) => cell.setting[now.y])).reverse() : [""];
    panels.replaceChildren(...[...groups].map(([title, members]) => drawPanel(title, members, across, up, share)));
  }

  function drawPanel(title, members, across, up, share) {
    const [w, t, left, top, bottom] = [
      Math.max(64, Math.min(150, 620 / across.length)),
      58,
      now.y ? 74 : 12,
      title ? 22 : 6,
      40,
    ];
    const [width, height] = [left + across.length * w + 8, top + up.length * t + bottom];
    const svg = s(
      "svg",
      {
        class: "diagram",
        viewBox: `0 0 ${width} ${height}`,
        style: `width:${width}px`,
        role: "group",
        "aria-label": `phase diagram ${title}`,
      },
      s(
        "defs",
        {},
        s(
          "pattern",
          { id: "hatch", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
          s("rect", { width: 7, height: 7, fill: "var(--faint)" }),
          s("line", { x1: 0, y1: 0, x2: 0, y2: 7, stroke: "var(--dim)", "stroke-width": 1.2 }),
        ),
      ),
    );
    if (title) svg.append(s("text", { x: left, y: 14, text: title }));
    for (const i of members) {
      const cell = cells[i],
        [value, censored] = cell.values[now.colour];
      const x = left + (now.x ? across.indexOf(cell.setting[now.x]) : 0) * w,
        y = top + (now.y ? up.indexOf(cell.setting[now.y]) : 0) * t;
      const colour = value === null ? undefined : colourOf(share(value));
      const text = value === null ? "no record" : `${censored ? "> " : ""}${short(value)}`;
      const lines = [text, `${cell.n_grokked}/${cell.n}${cell.n_missing ? `, ${cell.n_missing} not done` : ""}`];
      const said = Object.entries(cell.setting)
        .map(([field, given]) => `${field} ${given}`)
        .join(", ");
      const box = s(
        "g",
        {
          class: i === now.cell ? "cell chosen" : "cell",
          tabindex: 0,
          role: "button",
          "aria-label": `${said}: ${lines.join("; ")}`,
          "aria-pressed": String(i === now.cell),
          "data-cell": i,
        },
        s("rect", {
          class: "cell-box",
          x: x + 1.5,
          y: y + 1.5,
          width: w - 3,
          height: t - 3,
          fill: censored || !colour ? "url(#hatch)" : colour.css,
        }),
        ...lines.map((line, n) =>
          s("text", {
            class: censored || !colour ? "cell-text boxed" : "cell-text",
            x: x + w / 2,
            y: y + 21 + 14 * n,
            fill: censored || !colour ? "var(--ink)" : colour.ink,
            text: line,
          }),
        ),
      );
      const total = classes.reduce((sum, one) => sum + cell[one], 0);
      let from = x + 1.5;
      for (const one of classes) {
        const size = total ? ((w - 3) * cell[one]) / total : 0;
        if (size)
          box.append(
            s(
              "rect",
              { x: from, y: y + t - 9, width: size, height: 7.5, style: `fill:${CLASS_COLOURS[one]}` },
              s("title", { text: `${one}: ${cell[one]} of ${total}` }),
            ),
          );
        from += size;
      }
      const choose = () => {
        draw({ cell: i });
        panels.querySelector(`[data-cell="${i}"]`)?.focus();
      };
      box.addEventListener("click", choose);
      box.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        choose();
      });
      svg.append(box);
    }
    across.forEach((value, i) =>
      svg.append(
        s("text", { class: "tick x", x: left + (i + 0.5) * w, y: top + up.length * t + 14, text: String(value) }),
      ),
    );
    if (now.y)
      up.forEach((value, i) =>
        svg.append(s("text", { class: "tick y", x: left - 6, y: top + (i + 0.5) * t + 4, text: String(value) })),
      );
    if (now.x)
      svg.append(s("text", { class: "label", x: left + (across.length * w) / 2, y: height - 8, text: labelOf(now.x) }));
    if (now.y)
      svg.append(
        s("text", {
          class: "label",
          x: 0,
          y: 0,
          transform: `translate(12 ${top + (up.length * t) / 2}) rotate(-90)`,
          text: labelOf(now.y).length * 6 < up.length * t + 30 ? labelOf(now.y) : now.y,
        }),
      );
    return svg;
  }

  function drawCell() {
    const cell = cells[now.cell];
    const mine = cell.runs.filter((i) => arrays[`${i}/step`]);
    const setting = Object.entries(cell.setting)
      .map(([field, value]) => `${field} = ${value}`)
      .join(", ");
    chosen.say(setting || "all runs");
    const spans = mine.map((i) => ({ last: arrays[`${i}/step`].data.at(-1), events: [] }));
    if (mine.length) {
      const axis = timeAxis("log", spans[0], spans);
      const x = { at: (value) => value, ticks: axis.ticks.map(axis.at), format: (at) => stepText(axis.step(at)) };
      curves.forEach((drawn, n) => {
        const what = n ? "loss" : "acc";
        const series = mine.flatMap((i, rank) =>
          ["train", "test"]
            .map((side) => {
              const found = arrays[`${i}/${side}_${what}`];
              return (
                found && {
                  label: side === "test" ? seedOf(runs[i]) : undefined,
                  colour: RUN_COLOURS[rank % RUN_COLOURS.length],
                  dash: side === "train" ? "2 3" : undefined,
                  x: Array.from(arrays[`${i}/step`].data, (step) => axis.at(step)),
                  y: found.data,
                }
              );
            })
            .filter(Boolean),
        );
        const y = n
          ? verticalAxis(
              series.map((one) => one.y),
              true,
            )
          : { at: (value) => (value + 0.02) / 1.04, ticks: [0, 0.25, 0.5, 0.75, 1], format: String };
        drawn.draw({ x, y, series, yLabel: `${n ? "loss" : "accuracy"} (dotted: train)` });
      });
    }
    const head = [
      "run",
      "state",
      "class",
      "memorised by",
      "grokked by",
      "train loss",
      "test loss",
      "train acc",
      "test acc",
      "norm at the end",
    ];
    const row = (run) => [
      run.name,
      run.state,
      run.class ?? "–",
      time(run, "memorised"),
      time(run, "grokked"),
      ...["train_loss", "test_loss", "train_acc", "test_acc", "final_norm"].map((one) => short(run[one], 4)),
    ];
    table.replaceChildren(
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          head.map((text) => h("th", { scope: "col", text })),
        ),
      ),
      h(
        "tbody",
        {},
        cell.runs.map((i) =>
          h(
            "tr",
            {},
            row(runs[i]).map((text, n) => (n ? h("td", { text }) : h("th", { scope: "row", text }))),
          ),
        ),
      ),
    );
  }

  draw({});
}

const time = (run, event) =>
  run[`${event}_by`] !== null ? stepText(run[`${event}_by`]) : run.steps !== null ? `> ${stepText(run.steps)}` : "–";
const seedOf = (run) => (run.seed !== undefined && run.seed !== null ? `seed ${run.seed}` : run.name);
