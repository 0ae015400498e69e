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

const product = (numbers) => numbers.reduce((x, y) => x * y, 1);
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
  const total = product(shape);
  if (!indices) return Int32Array.from({ length: total }, (_, i) => i);
  const inner = product(shape.slice(axis + 1));
  const found = new Int32Array((total / shape[axis]) * indices.length);
  let next = 0;
  for (let outer = 0; outer < total; outer += inner * shape[axis]) {
    for (const i of indices) for (let at = 0; at < inner; at++) found[next++] = outer + i * inner + at;
  }
  return found;
}

/**
 * The vectors that a tensor has a share of under a grain: what they belong to, and the axes that count them; or null.
 */
function counted(name, shape, grain) {
  const [, layer, own] = /^(blocks\.\d+)\.(.*)$/.exec(name) ?? [null, "", name];
  if (grain === "global") return { group: "", axes: [] };
  if (grain === "role") return { group: role(name), axes: [] };
  if (grain === "tensor") return { group: name, axes: [] };
  if (grain === "neuron") {
    if (shape.length < 2 || isBias(name)) return null;
    const last = role(name) === "embed" ? shape.length - 2 : shape.length - 1;
    return { group: name, axes: [...range(shape.length - 2), last] };
  }
  if (grain !== "head" && grain !== "part") throw new Error(`no grain '${grain}'`);
  if (HEADS.includes(own)) return { group: `${layer} head`, axes: [0] };
  if (grain === "head") return null;
  if (Object.hasOwn(NEURONS, own)) return { group: `${layer} neuron`, axes: [shape.length + NEURONS[own]] };
  return { group: name, axes: [] };
}

/** Of each number of a tensor, the index of its vector among those that the axes count. */
function vectorIndices(shape, axes) {
  const found = new Int32Array(product(shape));
  for (const axis of axes) {
    const inner = product(shape.slice(axis + 1));
    for (let at = 0; at < found.length; at++) found[at] = found[at] * shape[axis] + (Math.floor(at / inner) % shape[axis]);
  }
  return found;
}

/** Norms of the chosen numbers of each vector, by what they belong to. */
function norms(weights, where, grain) {
  const squares = new Map();
  for (const { name, at } of where) {
    const { shape, data } = weights.get(name);
    const of = counted(name, shape, grain);
    if (!of) continue;
    const n = product(of.axes.map((axis) => shape[axis]));
    if (!squares.has(of.group)) squares.set(of.group, new Float64Array(n));
    const [totals, vector] = [squares.get(of.group), vectorIndices(shape, of.axes)];
    for (const i of at) totals[vector[i]] += data[i] * data[i];
  }
  return new Map([...squares].map(([group, totals]) => [group, totals.map(Math.sqrt)]));
}

/** Factors (of own, of other) on the great circle from own's direction to other's, with the norm between the norms. */
function greatCircle(own, other, where, t) {
  const [r, s] = [own, other].map((weights) => norms(weights, where, "global").get("")[0]);
  let apart = 0;
  let together = 0;
  for (const { name, at } of where) {
    const [x, y] = [own, other].map((weights) => weights.get(name).data);
    for (const i of at) {
      apart += (x[i] / r - y[i] / s) ** 2;
      together += (x[i] / r + y[i] / s) ** 2;
    }
  }
  const turn = 2 * Math.atan2(Math.sqrt(apart), Math.sqrt(together));
  if (!(turn < Math.PI - 1e-6)) throw new Error("no great circle leads from a network to one opposite, or to zero");
  const [here, there] = [1 - t, t].map((share) => (turn > 0 ? Math.sin(share * turn) / Math.sin(turn) : share));
  const length = (1 - t) * r + t * s;
  return [(here / r) * length, (there / s) * length];
}

/** How much of the network's own numbers and how much of the source's an edit makes: two factors. */
function shares(edit, own, source, where) {
  if (edit.kind === "scale") return [edit.factor, 0];
  if (edit.kind === "patch") return [0, 1];
  return edit.path === "great_circle" ? greatCircle(own, source, where, edit.t) : [1 - edit.t, edit.t];
}

/** The chosen numbers with the radius of one network and the direction of the other, put into copies by `put`. */
function transplanted({ what, grain = "global" }, own, source, where, put) {
  const [radius, direction] = what === "radius" ? [source, own] : [own, source];
  const [long, short] = [radius, direction].map((weights) => norms(weights, where, grain));
  for (const { name, at } of where) {
    const { shape, data } = direction.get(name);
    const of = counted(name, shape, grain);
    if (!of) continue;
    const vector = vectorIndices(shape, of.axes);
    const factors = long.get(of.group).map((r, i) => (short.get(of.group)[i] > 0 ? r / short.get(of.group)[i] : 0));
    const to = put(name);
    for (const i of at) to[i] = data[i] * factors[vector[i]];
  }
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
    const own = now;
    const where = chosen(own, edit.weights ?? "*").map((piece) => ({
      name: piece.name,
      at: places(piece, own.get(piece.name).shape),
    }));
    const source = edit.kind === "scale" ? null : given(edit.source ?? "source", sources, own, where);
    now = new Map(own);
    const put = (name) => {
      const { shape, data } = own.get(name);
      now.set(name, { shape, data: data.slice() });
      return now.get(name).data;
    };
    if (edit.kind === "patch" && (edit.what ?? "weights") !== "weights") transplanted(edit, own, source, where, put);
    else {
      const [x, y] = shares(edit, own, source, where);
      for (const { name, at } of where) {
        const [mine, theirs, to] = [own.get(name).data, (source ?? own).get(name).data, put(name)];
        for (const i of at) to[i] = x * mine[i] + y * theirs[i];
      }
    }
  }
  return now;
}

/** The other checkpoint of a name, whose chosen tensors must have the shapes of one's own. */
function given(name, sources, own, where) {
  const source = sources[name];
  if (!source) throw new Error(`no checkpoint is given under the name '${name}'`);
  for (const piece of where) {
    const [mine, other] = [own, source].map((weights) => String(weights.get(piece.name)?.shape));
    if (mine !== other) throw new Error(`${piece.name} is of shape ${mine}; in '${name}' of ${other}`);
  }
  return source;
}
