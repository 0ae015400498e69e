/**
 * Edits of weights: which numbers a pattern chooses, and scale, patch and move on them, in float64.
 *
 * The same as circuitgrok/select.py and circuitgrok/inspection/weight_edits.py, where the reasons stand. Weights are a
 * Map from names to `{shape, data}`.
 */

const HEADS = ["attn.W_Q", "attn.b_Q", "attn.W_K", "attn.b_K", "attn.W_V", "attn.b_V", "attn.W_O"];
const NEURONS = { "mlp.W_in": -1, "mlp.b_in": -1, "mlp.W_out": -2 };
const KINDS = ["scale", "patch", "move"];
const ROLES = ["embed", "attention", "mlp", "unembed", "normalization"];

/** The part of the network that a tensor belongs to. */
export function role(name) {
  const path = name.split(".");
  const parent = path.at(-2);
  if (path[0] === "embed" || path[0] === "pos_embed") return "embed";
  if (path[0] === "unembed") return "unembed";
  if (path[0] === "ln_final" || parent === "ln1" || parent === "ln2") return "normalization";
  if (parent === "attn") return "attention";
  if (parent === "mlp") return "mlp";
  throw new Error(`no role is known for a tensor named '${name}'`);
}

const isBias = (name) => name.split(".").at(-1).startsWith("b");

/** A glob over whole names as an expression: *, ?, [seq] and [!seq]. */
function globbed(glob) {
  let source = "";
  for (let i = 0; i < glob.length; i++) {
    const end = glob[i] === "[" ? glob.indexOf("]", glob[i + 1] === "!" ? i + 3 : i + 2) : -1;
    if (glob[i] === "*") source += ".*";
    else if (glob[i] === "?") source += ".";
    else if (end > 0) {
      const inside = glob.slice(i + 1, end).replace(/\\/g, "\\\\").replace(/^!/, "^");
      source += `[${inside}]`;
      i = end;
    } else source += glob[i].replace(/[.+^${}()|[\]\\]/g, "\\$&");
  }
  return new RegExp(`^(?:${source})$`, "s");
}

/** The names that a role, a glob or a path chooses; never silently none. */
export function names(there, pattern) {
  let found = [];
  if (ROLES.includes(pattern)) found = there.filter((name) => role(name) === pattern);
  else {
    for (const glob of [pattern, `${pattern}.*`]) {
      if (!found.length) found = there.filter((name) => globbed(glob).test(name));
    }
  }
  if (!found.length) throw new Error(`no tensor matches '${pattern}'; there are ${there.join(", ")}`);
  return found;
}

const range = (n) => Array.from({ length: n }, (_, i) => i);
const layersOf = (weights) =>
  1 + Math.max(...[...weights.keys()].map((name) => Number(/^blocks\.(\d+)\./.exec(name)?.[1] ?? -1)));

/**
 * What a pattern chooses: of each tensor the indices along one axis, or null for all of it.
 * @returns {{name: string, axis: number, indices: number[] | null}[]}
 */
export function chosen(weights, pattern) {
  const there = [...weights.keys()];
  const said =
    /^(?:layer\s+(\d+)\s+)?(head|neuron)\s+((?:\d+\s*,\s*)*\d+)$/.exec(pattern.trim()) ??
    /^blocks\.(\d+)\.attn\.(head)\.(\d+)$/.exec(pattern);
  if (!said) return names(there, pattern).map((name) => ({ name, axis: 0, indices: null }));
  const layer = said[1] === undefined ? layersOf(weights) - 1 : Number(said[1]);
  const indices = [...new Set(said[3].match(/\d+/g).map(Number))].sort((a, b) => a - b);
  const own = new Map(); // tensor -> the axis that counts heads or neurons
  const next = weights.has(`blocks.${layer + 1}.mlp.W_in`) ? `blocks.${layer + 1}.mlp.W_in` : "unembed.W_U";
  if (said[2] === "head") for (const name of HEADS) own.set(`blocks.${layer}.${name}`, 0);
  else {
    for (const [name, axis] of Object.entries(NEURONS)) own.set(`blocks.${layer}.${name}`, axis);
    if (!weights.has(`blocks.${layer}.mlp.W_out`)) own.set(next, -2);
  }
  const found = there
    .filter((name) => own.has(name))
    .map((name) => {
      const axes = weights.get(name).shape.length;
      return { name, axis: own.get(name) < 0 ? axes + own.get(name) : own.get(name), indices };
    });
  const size = found.length ? weights.get(found[0].name).shape[found[0].axis] : 0;
  if (indices.some((i) => i >= size)) throw new Error(`no ${pattern}: there are ${size} in layer ${layer}`);
  return found;
}

/** The places of chosen numbers in a tensor's data, in order. */
function places({ axis, indices }, shape) {
  const total = shape.reduce((x, y) => x * y, 1);
  if (!indices) return range(total);
  const inner = shape.slice(axis + 1).reduce((x, y) => x * y, 1);
  const found = [];
  for (let outer = 0; outer < total; outer += inner * shape[axis]) {
    for (const i of indices) for (let at = 0; at < inner; at++) found.push(outer + i * inner + at);
  }
  return found;
}

/** Under a grain, which vector each number of a tensor belongs to: a name, or null for none. */
function vectorOf(name, shape, grain) {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((x, y) => x * y, 1));
  const coordinate = (at, axis) => Math.floor(at / strides[axis]) % shape[axis];
  const [, layer, own] = /^(blocks\.\d+)\.(.*)$/.exec(name) ?? [null, "", name];
  if (grain === "global") return () => "";
  if (grain === "role") return () => role(name);
  if (grain === "tensor") return () => name;
  if (grain === "neuron") {
    if (shape.length < 2 || isBias(name)) return () => null;
    const axes = [...range(shape.length - 2), role(name) === "embed" ? shape.length - 2 : shape.length - 1];
    return (at) => `${name} ${axes.map((axis) => coordinate(at, axis))}`;
  }
  if (grain !== "head" && grain !== "part") throw new Error(`no grain '${grain}'`);
  if (HEADS.includes(own)) return (at) => `${layer} head ${coordinate(at, 0)}`;
  if (grain === "head") return () => null;
  if (Object.hasOwn(NEURONS, own)) {
    const axis = shape.length + NEURONS[own];
    return (at) => `${layer} neuron ${coordinate(at, axis)}`;
  }
  return () => name;
}

/** Square roots of the sums of squares of the chosen numbers of each vector, by its name. */
function norms(weights, where, vectors) {
  const squares = new Map();
  where.forEach((piece, i) => {
    const { data } = weights.get(piece.name);
    for (const at of piece.places) {
      const vector = vectors[i](at);
      if (vector !== null) squares.set(vector, (squares.get(vector) ?? 0) + data[at] ** 2);
    }
  });
  return new Map([...squares].map(([name, value]) => [name, Math.sqrt(value)]));
}

/** Factors (of own, of other) on the great circle from own's direction to other's, with the norm between the norms. */
function greatCircle(own, other, where, t) {
  const every = where.map(() => () => "");
  const [r, s] = [own, other].map((weights) => norms(weights, where, every).get(""));
  let apart = 0;
  let together = 0;
  for (const piece of where) {
    const [x, y] = [own, other].map((weights) => weights.get(piece.name).data);
    for (const at of piece.places) {
      apart += (x[at] / r - y[at] / s) ** 2;
      together += (x[at] / r + y[at] / s) ** 2;
    }
  }
  const turn = 2 * Math.atan2(Math.sqrt(apart), Math.sqrt(together));
  if (!(turn < Math.PI - 1e-6)) throw new Error("no great circle leads from a network to one opposite, or to zero");
  const [here, there] = [1 - t, t].map((share) => (turn > 0 ? Math.sin(share * turn) / Math.sin(turn) : share));
  const length = (1 - t) * r + t * s;
  return [(here / r) * length, (there / s) * length];
}

/**
 * The weights after edits of weights, in their order; ablations are left out.
 * @param {Map<string, {shape: number[], data: Float32Array}>} weights
 * @param {object[]} edits as in Python: scale, patch, move
 * @param {Record<string, Map<string, {shape: number[], data: Float32Array}>>} sources other checkpoints by name
 */
export function edited(weights, edits, sources = {}) {
  let now = weights;
  for (const edit of edits) {
    if (edit.kind === "ablate") continue;
    if (!KINDS.includes(edit.kind)) throw new Error(`no edit '${edit.kind}'; there are ${KINDS.join(", ")}, ablate`);
    const where = chosen(now, edit.weights ?? "*").map((piece) => ({
      ...piece,
      places: places(piece, now.get(piece.name).shape),
    }));
    const name = edit.source ?? "source";
    const source = edit.kind === "scale" ? null : sources[name];
    if (source === undefined) throw new Error(`no checkpoint is given under the name '${name}'`);
    for (const piece of source ? where : []) {
      const [mine, other] = [now, source].map((one) => String(one.get(piece.name)?.shape));
      if (mine !== other) throw new Error(`${piece.name} is of shape ${mine}; in '${name}' of ${other}`);
    }
    const value = values(edit, now, source, where);
    const next = new Map(now);
    where.forEach((piece, i) => {
      const { shape, data } = now.get(piece.name);
      const changed = data.slice();
      for (const at of piece.places) changed[at] = value(piece.name, at, i);
      next.set(piece.name, { shape, data: changed });
    });
    now = next;
  }
  return now;
}

/** The new value of a chosen number, by tensor, place and index of the piece. */
function values(edit, own, source, where) {
  const mine = (name, at) => own.get(name).data[at];
  const theirs = (name, at) => source.get(name).data[at];
  if (edit.kind === "scale") return (name, at) => edit.factor * mine(name, at);
  if (edit.kind === "move") {
    const [x, y] = edit.path === "great_circle" ? greatCircle(own, source, where, edit.t) : [1 - edit.t, edit.t];
    return (name, at) => x * mine(name, at) + y * theirs(name, at);
  }
  const what = edit.what ?? "weights";
  if (what === "weights") return theirs;
  const vectors = where.map((piece) => vectorOf(piece.name, own.get(piece.name).shape, edit.grain ?? "global"));
  const [radius, direction] = what === "radius" ? [source, own] : [own, source];
  const [long, short] = [radius, direction].map((weights) => norms(weights, where, vectors));
  return (name, at, i) => {
    const vector = vectors[i](at);
    if (vector === null) return mine(name, at);
    const r = short.get(vector);
    return r > 0 ? (direction.get(name).data[at] / r) * long.get(vector) : 0;
  };
}
