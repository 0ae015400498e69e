// Hands on the model: parts switched off, radius, path, transplants; losses and accuracies at once.

import { h, panel } from "../dom.js";
import { TOUCHED, UNTOUCHED, editsOf } from "../edits.js";
import { short, stepText } from "../time.js";
import { rowsOf } from "./rows.js";

const SCORES = [
  ["train_loss", "train loss (nats)"],
  ["test_loss", "test loss (nats)"],
  ["all_loss", "loss of all (nats)"],
  ["train_acc", "train accuracy"],
  ["test_acc", "test accuracy"],
  ["all_acc", "accuracy of all"],
];

/** What is switched off and moved, and what that does. */
export function hands(context) {
  const view = panel("Hands on the model", { wide: true });
  const { state } = context;
  view.tools.append(h("button", { type: "button", text: "undo all", onclick: () => state.set(UNTOUCHED) }));
  const table = h("table", { class: "scores" });
  const said = h("p", { class: "said", role: "status" });
  const rows = h("div", { class: "hands controls" }, rowsOf(context));
  view.body.append(h("div", { class: "hands-grid" }, rows, h("div", {}, table, said)));

  state.on([...TOUCHED, "opened", "arrived"], (now) => {
    const plain = context.network()?.scores;
    if (!plain) return;
    const began = performance.now();
    const { found, wrong } = tried(() => context.edited());
    const took = Math.max(1, Math.round(performance.now() - began));
    state.set({ result: found });
    const n = editsOf(now).length;
    said.textContent =
      wrong ?? (n ? `${n} edit${n > 1 ? "s" : ""}, computed in this page in ${took} ms` : "nothing is changed");
    table.replaceChildren(...tableOf(plain, found));
    const { run } = context.shown()[0];
    const cooled = run.temperature === 1 ? "" : `; losses of the logits as they are, not divided by ${run.temperature}`;
    view.say(`at step ${stepText(context.weightsStep())}${cooled}`);
  });
  return view.el;
}

/** What a function gives, or why it does not. */
function tried(compute) {
  try {
    return { found: compute() };
  } catch (error) {
    return { wrong: error.message };
  }
}

/** The scores of a network as it is, and as edited if there are edits. */
function tableOf(plain, edited) {
  const cell = (scores, name) =>
    h("td", { text: scores ? short(scores[name], 5) : "–", "data-value": scores?.[name] ?? "" });
  const row = ([name, text]) =>
    h("tr", { "data-score": name }, h("th", { scope: "row", text }), cell(plain, name), cell(edited, name));
  const head = ["", "as it is", "edited"].map((text) => h("th", { scope: "col", text }));
  return [h("thead", {}, h("tr", {}, head)), h("tbody", {}, SCORES.map(row))];
}
