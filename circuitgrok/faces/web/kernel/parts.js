/**
 * Parts of a network by name: the grammar of circuitgrok/inspection/part_names.py, with the same words and fills.
 *
 *   head 0 · attention · pattern · neuron 3,7 · cluster 5,8 · no cluster 5,8 · waves 5,8 (freq 5,8) ·
 *   only waves 5,8 (only freq 5,8) · mlp · skip · layer 0 · layer 0 head 2 · excluded 5,8 · restricted 5,8
 */

const EVERYDAY = { freq: "waves", "only freq": "only waves" };

/** Of each kind of part what may stand in its place, the usual one first; parts are replaced in this order. */
export const FILLS = {
  pattern: ["uniform", "mean"],
  head: ["zero", "mean"],
  attention: ["zero", "mean"],
  neuron: ["zero", "mean"],
  cluster: ["zero", "mean", "polynomial"],
  "no cluster": ["zero", "mean"],
  waves: ["zero"],
  "only waves": ["mean"],
  layer: ["zero", "mean"],
  mlp: ["zero", "mean"],
  skip: ["zero", "mean"],
  excluded: ["zero"],
  restricted: ["mean"],
};
const COUNTED = ["head", "neuron", "cluster", "no cluster", "waves", "only waves", "excluded", "restricted"];
const OF_ANY_LAYER = ["head", "attention", "neuron", "mlp", "layer"];
export const OF_FREQUENCIES = ["cluster", "no cluster", "waves", "only waves", "excluded", "restricted"];

/**
 * The part that a name means.
 * @param {string} text such as "freq 5,8" or "layer 0 head 2"
 * @returns {{what: string, numbers: number[], layer: number | null}} layer is null for the last
 * @throws {Error} it is no part's name
 */
export function parsePart(text) {
  const found = /^(?:layer\s+(\d+)\s*)?([a-z ]*?)\s*((?:\d+\s*,\s*)*\d+)?$/.exec(text.trim());
  const unknown = () => new Error(`no part '${text}'; parts are ${Object.keys(FILLS).join(", ")}`);
  if (!found) throw unknown();
  const layer = found[1] === undefined ? null : Number(found[1]);
  const words = found[2].split(/\s+/).filter(Boolean).join(" ");
  const said = words || (layer !== null && found[3] === undefined ? "layer" : "");
  const what = EVERYDAY[said] ?? said;
  if (!Object.hasOwn(FILLS, what) || (what === "layer") !== (said === "layer" && layer !== null)) throw unknown();
  const numbers = [...new Set((found[3]?.match(/\d+/g) ?? []).map(Number))].sort((a, b) => a - b);
  if (COUNTED.includes(what) !== numbers.length > 0 || (what === "head" && numbers.length > 1)) throw unknown();
  if (layer !== null && !OF_ANY_LAYER.includes(what)) throw unknown();
  return { what, numbers, layer };
}

/**
 * The ablations among edits as parts with their fills, in the order in which those of one layer are replaced.
 * @param {object[]} edits as in Python: `{kind: "ablate", part, fill}`; others are left out
 * @param {number} lastLayer the layer that is meant where none is named
 */
export function ablations(edits, lastLayer) {
  const order = Object.keys(FILLS);
  const parts = edits
    .filter((edit) => edit.kind === "ablate")
    .map((edit) => {
      const part = parsePart(edit.part);
      const fill = edit.fill ?? FILLS[part.what][0];
      if (!FILLS[part.what].includes(fill)) {
        throw new Error(`in the place of ${edit.part} may stand ${FILLS[part.what].join(" or ")}; got '${fill}'`);
      }
      return { ...part, layer: part.layer ?? lastLayer, fill, said: edit.part };
    });
  return parts.sort((a, b) => order.indexOf(a.what) - order.indexOf(b.what));
}
