// What is changed in the network, as the edits that Python takes (`circuitgrok.inspection.edits`).

/** No change: what `undo all` goes back to. */
export const UNTOUCHED = {
  off: [],
  where: "waves",
  heads: [],
  parts: [],
  neurons: [],
  fill: "zero",
  radius: 0,
  way: 0,
  taken: false,
  what: "weights",
  weights: "*",
};

/** The checkpoints that something can be taken from, each as [run, step]: the end of the way, and of transplants. */
export const ENDS = { wayTo: null, from: null };

/** All that edits depend on. */
export const TOUCHED = [...Object.keys(UNTOUCHED), ...Object.keys(ENDS)];

const rising = (numbers) => [...numbers].sort((a, b) => a - b).join(",");

/** The edits, in the order in which they act. */
export function editsOf(now) {
  const edits = [];
  if (now.taken && now.from) edits.push({ kind: "patch", source: "there", weights: now.weights, what: now.what });
  if (now.way && now.wayTo) edits.push({ kind: "move", source: "end", t: now.way / 100, path: "great_circle" });
  if (now.radius) edits.push({ kind: "scale", factor: (100 + now.radius) / 100 });
  for (const part of now.parts)
    edits.push(part === "pattern" ? { kind: "ablate", part } : { kind: "ablate", part, fill: now.fill });
  for (const head of [...now.heads].sort((a, b) => a - b))
    edits.push({ kind: "ablate", part: `head ${head}`, fill: now.fill });
  if (now.neurons.length) edits.push({ kind: "ablate", part: `neuron ${rising(now.neurons)}`, fill: now.fill });
  if (now.off.length)
    edits.push({
      kind: "ablate",
      part: `${now.where} ${rising(now.off)}`,
      ...(now.where === "cluster" ? { fill: now.fill } : {}),
    });
  return edits;
}

/** The checkpoints that the edits take from, by name, each as [run, step]. */
export function sourcesOf(now) {
  const found = {};
  if (now.taken && now.from) found.there = now.from;
  if (now.way && now.wayTo) found.end = now.wayTo;
  return found;
}
