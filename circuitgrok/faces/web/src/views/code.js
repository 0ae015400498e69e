// The state of the page as lines of Python, to be copied.

import { h, panel } from "../dom.js";
import { TOUCHED, editsOf, sourcesOf } from "../edits.js";
import { pythonOf } from "../python.js";

/** The lines that give the same numbers in Python. */
export function python(context) {
  const view = panel("As Python", { note: "gives the numbers above", wide: true });
  const code = h("pre", { tabindex: 0, "aria-label": "Python lines" });
  const copy = h("button", {
    type: "button",
    text: "copy as Python",
    onclick: async () => {
      let done = true;
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch {
        getSelection().selectAllChildren(code);
        done = document.execCommand("copy");
      }
      copy.textContent = done ? "copied" : "select and copy";
      setTimeout(() => (copy.textContent = "copy as Python"), 1500);
    },
  });
  view.tools.append(copy);
  view.body.append(code);
  context.state.on([...TOUCHED, "opened", "result"], (now) => {
    const { run } = context.shown()[0];
    code.textContent = pythonOf(
      context.runs,
      run,
      context.weightsStep() ?? context.shown()[0].step,
      editsOf(now),
      sourcesOf(now),
      now.result ?? context.network()?.scores,
    );
  });
  return view.el;
}
