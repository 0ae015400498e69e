// The inspector in a notebook: what is shown comes once, weights on demand, what is selected goes back to Python.

const view = (bytes) => (bytes instanceof ArrayBuffer ? new DataView(bytes) : bytes);

/** Whether the notebook around is dark, where it says so. */
function theme(el) {
  const said = document.body.dataset.jpThemeLight;
  if (said !== undefined) el.dataset.theme = said === "true" ? "light" : "dark";
  else if (document.body.classList.contains("vscode-dark")) el.dataset.theme = "dark";
  else if (document.body.classList.contains("vscode-light")) el.dataset.theme = "light";
}

/** Fill an element of a notebook; returns what cleans up. */
export function widget({ model, el, inspector, unpack, aligned, load }) {
  el.dataset.lmSuppressShortcuts = "true"; // JupyterLab leaves the keys of the slider to it
  theme(el);
  const watched = new MutationObserver(() => theme(el));
  watched.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });
  let shown,
    closed = false;

  const onMessage = (message, buffers) => {
    if (message.kind !== "weights" || !shown) return;
    const { arrays } = unpack(aligned(view(buffers[0])));
    shown.context.received(message.run, message.step, arrays);
  };
  model.on("msg:custom", onMessage);

  async function begin() {
    const compiled = model.get("kernel");
    const kernel = await load(compiled?.byteLength ? aligned(view(compiled)) : undefined);
    if (closed) return;
    const host = { weights: (run, step) => model.send({ kind: "weights", run, step }) };
    shown = inspector(el, unpack(aligned(view(model.get("payload")))), { kernel, host });
    const { state, context } = shown;
    // What is selected, both ways: a change that came from Python is not sent back.
    const take = () => {
      const given = model.get("selected"),
        run = context.runs[given.run ?? 0] ?? context.runs[0];
      state.set({
        a: run.index,
        at: run.nearest(given.step),
        neurons: [...(given.neurons ?? [])],
        off: [...(given.frequencies ?? [])],
      });
    };
    model.on("change:selected", take);
    take();
    const rising = (numbers) => [...(numbers ?? [])].sort((a, b) => a - b);
    const said = () => {
      const { run = 0, step, neurons, frequencies } = model.get("selected");
      return JSON.stringify({ run, step, neurons: rising(neurons), frequencies: rising(frequencies) });
    };
    state.on(["a", "at", "neurons", "off"], (now) => {
      const run = context.runs[now.a];
      const chosen = {
        run: now.a,
        step: run.steps[now.at],
        neurons: rising(now.neurons),
        frequencies: rising(now.off),
      };
      if (JSON.stringify(chosen) === said()) return;
      model.set("selected", chosen);
      model.save_changes();
    });
    el.dataset.ready = "true";
  }
  begin().catch((error) => {
    el.textContent = `The inspector could not be shown: ${error.message}`;
    console.error(error);
  });
  return () => {
    closed = true;
    watched.disconnect();
    model.off("msg:custom", onMessage);
    shown?.stop();
  };
}
