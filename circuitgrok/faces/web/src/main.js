// The door of the page: a report reads what is written in it, a notebook is given it by anywidget.

import { Kernel } from "../kernel/kernel.js";
import { inspector } from "./inspector.js";
import { aligned, inflated, unpack } from "./packing.js";
import style from "./style.css";
import { sweep } from "./sweep.js";
import { widget } from "./widget.js";

function styled(root) {
  const tag = document.createElement("style");
  tag.textContent = style;
  root.append(tag);
}

/**
 * Fill the page of a report: `#circuitgrok-payload` holds what is shown, `#circuitgrok-kernel` the
 * compiled kernel, both as base64 of gzip.
 */
async function report() {
  styled(document.head);
  const root = document.getElementById("root");
  try {
    const payload = unpack(await inflated(document.getElementById("circuitgrok-payload").textContent));
    if (payload.content.sweep) sweep(root, payload);
    else {
      const compiled = document.getElementById("circuitgrok-kernel");
      const kernel = await Kernel.load(compiled ? await inflated(compiled.textContent) : undefined);
      globalThis.circuitgrok = inspector(root, payload, { kernel, page: true });
    }
    root.dataset.ready = "true";
  } catch (error) {
    root.textContent = `This page could not be shown: ${error.message}`;
    throw error;
  }
}

export default {
  render({ model, el }) {
    const shown = document.createElement("div");
    styled(el);
    el.append(shown);
    return widget({ model, el: shown, inspector, unpack, aligned, load: (bytes) => Kernel.load(bytes) });
  },
};

if (document.getElementById("circuitgrok-payload")) report();
