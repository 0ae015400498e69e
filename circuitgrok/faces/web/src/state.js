// What is selected: one object of plain values, and those who redraw when some of it changes.

export function selection(initial) {
  let now = { ...initial };
  let changed = new Set();
  const listeners = new Set();

  function tell() {
    const what = changed;
    changed = new Set();
    for (const listener of [...listeners]) if (listeners.has(listener)) listener(now, what);
  }

  const state = {
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
    /** Call `draw(now)` at once and whenever one of some values changes; returns what ends that. */
    on(names, draw) {
      const listener = (state, what) => {
        if (names.some((name) => what.has(name))) draw(state, what);
      };
      listeners.add(listener);
      draw(now, new Set(names));
      return () => listeners.delete(listener);
    },
    /** The same selection for views that are taken down together: `close` ends all that began by this one's `on`. */
    scope() {
      const ends = [];
      return {
        get now() {
          return now;
        },
        set: state.set,
        on: (names, draw) => ends.push(state.on(names, draw)),
        close: () => ends.forEach((end) => end()),
      };
    },
  };
  return state;
}
