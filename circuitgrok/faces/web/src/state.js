// What is selected: one object of plain values, and those who redraw when some of it changes.

export function selection(initial) {
  let now = { ...initial };
  let changed = new Set();
  const listeners = [];

  function tell() {
    const what = changed;
    changed = new Set();
    for (const listener of listeners) listener(now, what);
  }

  return {
    get now() {
      return now;
    },
    /** Change some values; listeners hear of it once, before the next frame. */
    set(values) {
      for (const [name, value] of Object.entries(values)) {
        if (now[name] === value) continue;
        if (!changed.size) queueMicrotask(tell);
        now = { ...now, [name]: value };
        changed.add(name);
      }
    },
    /** Call `draw(now)` at once and whenever one of some values changes. */
    on(names, draw) {
      listeners.push((state, what) => {
        if (names.some((name) => what.has(name))) draw(state, what);
      });
      draw(now, new Set(names));
    },
  };
}
