// The page of a sweep: its phase diagram, and the runs of the cell that is selected.

import { h } from "./dom.js";
import { selection } from "./state.js";
import { course } from "./views/course.js";
import { diagram } from "./views/diagram.js";

export function sweep(root, { content, arrays }) {
  const given = { ...content.sweep, arrays };
  const names = given.fields.map((field) => field.name);
  const columns = given.columns.map((column) => column.name);
  const colour = columns.includes("grokked_by") ? "grokked_by" : columns[0];
  const state = selection({ x: names[0], y: names[1], colour, cell: 0 });
  const about = h(
    "header",
    { class: "about" },
    h("h1", { text: given.name }),
    h("p", { class: "said", text: given.said }),
  );
  const said = `circuitgrok ${content.version}; a cell opens by click or enter`;
  const main = h("main", { class: "grid-of-panels" });
  root.classList.add("cg");
  root.replaceChildren(about, main, h("footer", { class: "said", text: said }));
  main.append(diagram(given, state), course(given, state));
}
