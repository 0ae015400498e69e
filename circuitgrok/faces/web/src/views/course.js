// The runs of a cell: their curves beside each other, and a row of the sweep's table for each.

import { chart, verticalAxis } from "../chart.js";
import { h, panel } from "../dom.js";
import { short, stepText, timeAxis } from "../time.js";

const COLOURS = ["var(--blue)", "var(--red)", "var(--green)", "var(--purple)", "var(--orange)", "var(--sky)"];
const SHARES = { at: (value) => (value + 0.02) / 1.04, ticks: [0, 0.25, 0.5, 0.75, 1], format: String };
const COLUMNS = {
  run: (run) => run.name,
  state: (run) => run.state,
  class: (run) => run.class ?? "–",
  "memorised by": (run) => timeOf(run, "memorised"),
  "grokked by": (run) => timeOf(run, "grokked"),
  "train loss": (run) => short(run.train_loss, 4),
  "test loss": (run) => short(run.test_loss, 4),
  "train acc": (run) => short(run.train_acc, 4),
  "test acc": (run) => short(run.test_acc, 4),
  "norm at the end": (run) => short(run.final_norm, 4),
};

export function course({ cells, runs, arrays }, state) {
  const view = panel("Runs of the cell", { wide: true });
  const xLabel = "optimizer step";
  const accuracies = chart({ xLabel, yLabel: "accuracy (dotted: train)", label: "accuracies of the cell's runs" });
  const losses = chart({ xLabel, yLabel: "loss (dotted: train)", label: "losses of the cell's runs" });
  const table = h("table", { class: "scores runs" });
  view.body.append(h("div", { class: "pair-of" }, accuracies.el, losses.el), h("div", { class: "scroll" }, table));
  state.on(["cell"], (now) => {
    const cell = cells[now.cell];
    const setting = Object.entries(cell.setting).map(([field, value]) => `${field} = ${value}`);
    view.say(setting.join(", ") || "all runs");
    const recorded = cell.runs.filter((i) => arrays[`${i}/step`]);
    if (recorded.length) {
      const spans = recorded.map((i) => ({ last: arrays[`${i}/step`].data.at(-1), events: [] }));
      const axis = timeAxis("log", spans[0], spans);
      const x = { at: (value) => value, ticks: axis.ticks.map(axis.at), format: (at) => stepText(axis.step(at)) };
      const series = (what) =>
        recorded.flatMap((i, rank) => seriesOf(runs[i], i, COLOURS[rank % COLOURS.length], what));
      const seriesOf = (run, i, colour, what) =>
        ["train", "test"]
          .filter((side) => arrays[`${i}/${side}_${what}`])
          .map((side) => ({
            label: side === "test" ? labelOf(run) : undefined,
            colour,
            dash: side === "train" ? "2 3" : undefined,
            x: Array.from(arrays[`${i}/step`].data, axis.at),
            y: arrays[`${i}/${side}_${what}`].data,
          }));
      const found = series("loss");
      accuracies.draw({ x, y: SHARES, series: series("acc") });
      losses.draw({
        x,
        y: verticalAxis(
          found.map((one) => one.y),
          true,
        ),
        series: found,
      });
    }
    const head = Object.keys(COLUMNS).map((text) => h("th", { scope: "col", text }));
    const row = ([first, ...rest]) =>
      h(
        "tr",
        {},
        h("th", { scope: "row", text: first }),
        rest.map((text) => h("td", { text })),
      );
    const rows = cell.runs.map((i) => row(Object.values(COLUMNS).map((text) => text(runs[i]))));
    table.replaceChildren(h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows));
  });
  return view.el;
}

/** When something happened in a run, or a bound where it did not within its steps. */
function timeOf(run, event) {
  if (run[`${event}_by`] !== null) return stepText(run[`${event}_by`]);
  return run.steps === null ? "–" : `> ${stepText(run.steps)}`;
}

const labelOf = (run) => (run.seed === undefined || run.seed === null ? run.name : `seed ${run.seed}`);
