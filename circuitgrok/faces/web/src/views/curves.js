// What happens along the run: losses, accuracies, the path in norm and angle, and any measured column.

import { chart, verticalAxis } from "../chart.js";
import { panel, select } from "../dom.js";
import { short, stepText } from "../time.js";

const UNITS = { cross_entropy: "cross-entropy (nats)", stablemax: "stablemax loss (nats)", mse: "mean squared error" };
const LOSSES = [
  { label: "train", history: "train_loss", colour: "var(--blue)" },
  { label: "test", history: "test_loss", colour: "var(--red)" },
  { label: "restricted (all)", column: "restricted_loss[all]", colour: "var(--green)", dash: "6 3" },
  { label: "excluded (train)", column: "excluded_loss[train]", colour: "var(--purple)", dash: "8 3 2 3" },
];
const ACCURACIES = [
  { label: "train", history: "train_acc", colour: "var(--blue)" },
  { label: "test", history: "test_acc", colour: "var(--red)" },
  { label: "test, mirror unseen", column: "accuracy[test_mirror_unseen]", colour: "var(--orange)", dash: "2 3" },
];

/** Steps and values of a curve of a run; undefined where it was not measured. */
function curve(run, of) {
  if (of.history) return run.history(of.history);
  if (of.column?.match(/^(restricted|excluded)/) && run.loss !== "cross_entropy") return undefined;
  const values = run.column(of.column);
  return values && !values.every(Number.isNaN) ? [run.steps, values] : undefined;
}

function valueAt([steps, values], step) {
  let best = 0;
  for (let i = 0; i < steps.length; i++) if (Math.abs(steps[i] - step) <= Math.abs(steps[best] - step)) best = i;
  return values[best];
}

/** The same curves of all shown runs; those of a second run are thin and pale. */
function seriesOf(context, list) {
  const shown = context.shown();
  return list
    .flatMap((of) => {
      const found = shown.map(({ run, step }) => ({ curve: curve(run, of), step }));
      const value = found
        .filter((one) => one.curve)
        .map((one) => short(valueAt(one.curve, one.step)))
        .join(" | ");
      return found.map(
        ({ curve }, i) =>
          curve && {
            label: i ? undefined : of.label,
            colour: of.colour,
            dash: of.dash,
            value,
            pale: i > 0,
            x: Array.from(curve[0], (step) => shown[i].axis.at(step)),
            y: curve[1],
          },
      );
    })
    .filter(Boolean);
}

const UNIT = { at: (value) => value };

/** The horizontal axis of time, for a chart whose x are already places on it. */
export function timeOf(context) {
  const { axis } = context.shown()[0];
  return { ...UNIT, ticks: axis.ticks.map((step) => axis.at(step)), format: (at) => stepText(axis.step(at)) };
}

function bandsOf(context) {
  const { run, axis } = context.shown()[0];
  return run.phases.map((phase, tone) => ({
    from: axis.at(phase.from),
    to: axis.at(phase.to ?? run.last),
    tone,
  }));
}

function along(context, { title, label, yLabel, logarithmic, list, note = "", domain }) {
  const view = panel(title, { note });
  const drawn = chart({ xLabel: "optimizer step", yLabel, label, pick: (at) => context.pick(at) });
  view.body.append(drawn.el);
  context.state.on(["at", "axis", "a", "b"], () => {
    const series = seriesOf(context, list);
    view.say(series.length ? note : "not known: the split is a stand-in for the one trained on");
    const y = domain
      ? { at: (v) => (v - domain[0]) / (domain[1] - domain[0]), ticks: [0, 0.25, 0.5, 0.75, 1], format: String }
      : verticalAxis(
          series.map((one) => one.y),
          logarithmic,
        );
    const shown = context.shown();
    drawn.draw({
      x: timeOf(context),
      y,
      series,
      bands: bandsOf(context),
      yLabel: typeof yLabel === "function" ? yLabel(shown[0].run) : yLabel,
      now: shown.map(({ axis, step }, i) => ({ x: axis.at(step), colour: i ? "var(--dim)" : "var(--now)" })),
    });
  });
  return view.el;
}

export const losses = (context) =>
  along(context, {
    title: "Losses",
    label: "losses against the step",
    yLabel: (run) => UNITS[run.loss] ?? run.loss,
    logarithmic: true,
    list: LOSSES,
  });

export const accuracies = (context) =>
  along(context, {
    title: "Accuracies",
    label: "accuracies against the step",
    yLabel: "share of right answers",
    list: ACCURACIES,
    domain: [-0.02, 1.02],
  });

/** The path of the weights: their norm against the angle they have turned. */
export function polar(context) {
  const view = panel("Polar path", { note: "norm against the angle turned since the start" });
  const drawn = chart({ xLabel: "angle to the start (radians)", yLabel: "norm |θ|", label: "norm against angle" });
  view.body.append(drawn.el);
  context.state.on(["at", "axis", "a", "b"], () => {
    const shown = context.shown();
    const paths = shown.map(({ run }) => [run.column("angle_start"), run.column("norm")]);
    const x = verticalAxis(
      paths.map((path) => path[0]),
      false,
    );
    drawn.draw({
      x,
      y: verticalAxis(
        paths.map((path) => path[1]),
        false,
      ),
      series: paths.map(([angle, norm], i) => ({
        label: i ? "other" : "path",
        colour: i ? "var(--dim)" : "var(--blue)",
        x: angle,
        y: norm,
        pale: i > 0,
        value: `${short(norm[shown[i].at])} at ${short(angle[shown[i].at])} rad`,
      })),
      now: paths.map(([angle, norm], i) => ({
        x: angle[shown[i].at],
        y: norm[shown[i].at],
        colour: i ? "var(--dim)" : "var(--now)",
      })),
    });
  });
  return view.el;
}

/** Any column of the table of measures. */
export function column(context) {
  const view = panel("A measured column", {});
  const names = () => context.shown()[0].run.columns;
  const first = ["phase_alignment", "frac_explained", "norm"].find((name) => names().includes(name)) ?? names()[0];
  const picker = select(
    "column",
    names().map((name) => [name, name]),
    first,
    (name) => context.state.set({ column: name }),
  );
  view.tools.append(picker.el);
  const drawn = chart({
    xLabel: "optimizer step",
    yLabel: "",
    label: "a measured column against the step",
    pick: (at) => context.pick(at),
  });
  view.body.append(drawn.el);
  context.state.set({ column: first });
  context.state.on(["at", "axis", "a", "b", "column"], (now) => {
    const name = now.column ?? first;
    const series = seriesOf(context, [{ label: name, column: name, colour: "var(--blue)" }]);
    view.say(context.shown()[0].run.undefined[name] ?? "");
    const all = series.flatMap((one) => Array.from(one.y)).filter(Number.isFinite);
    const wide = all.length > 0 && all.every((value) => value > 0) && Math.max(...all) > 1000 * Math.min(...all);
    drawn.draw({
      x: timeOf(context),
      y: verticalAxis(
        series.map((one) => one.y),
        wide,
      ),
      series,
      bands: bandsOf(context),
      yLabel: name,
      now: context.shown().map(({ axis, step }, i) => ({ x: axis.at(step), colour: i ? "var(--dim)" : "var(--now)" })),
    });
  });
  return view.el;
}
