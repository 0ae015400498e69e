// A state of the page as lines of Python that give its numbers.

/** A string as Python writes it: JSON's escapes, and code points beyond the first plane whole. */
function quoted(text) {
  const plain = [...JSON.stringify(text)].map((one) => {
    const code = one.codePointAt(0);
    return code < 127
      ? one
      : code > 0xffff
        ? `\\U${code.toString(16).padStart(8, "0")}`
        : `\\u${code.toString(16).padStart(4, "0")}`;
  });
  return plain.join("");
}

function literal(value) {
  if (typeof value === "string") return quoted(value);
  return String(value);
}

const dict = (values) =>
  `{${Object.entries(values)
    .map(([name, value]) => `${quoted(name)}: ${literal(value)}`)
    .join(", ")}}`;

/** The lines. `sources` are checkpoints by name, each as [run, step]; `scores` what the page says. */
export function pythonOf(runs, run, step, edits, sources, scores) {
  const used = [run.index, ...Object.values(sources).map(([index]) => index)];
  const names = new Map([...new Set(used)].map((index, i) => [index, i ? `run_${i + 1}` : "run"]));
  const lines = [
    ...(scores ? ["import torch"] : []),
    "import circuitgrok as cg",
    "",
    ...[...names].map(([index, name]) =>
      runs[index].path === null
        ? `${name} = ...  # ${runs[index].name}, as you opened it`
        : `${name} = cg.load(${quoted(runs[index].path)})`,
    ),
  ];
  if (run.arrays["task/labels"]) {
    lines.push("edits = [", ...edits.map((edit) => `    ${dict(edit)},`), "]");
    if (!edits.length) lines.splice(-2, 2, "edits = []");
    const given = Object.entries(sources).map(([name, [index, at]]) => `${quoted(name)}: (${names.get(index)}, ${at})`);
    lines.push(`result = cg.edited(run, ${step}, edits${given.length ? `, sources={${given.join(", ")}}` : ""})`);
    if (scores && run.split_is_known)
      for (const name of ["train_loss", "test_loss", "train_acc", "test_acc"])
        lines.push(`result.${name}  # ${Number(scores[name]).toPrecision(8)}`);
    if (scores)
      lines.push(
        `all_loss = torch.nn.functional.cross_entropy(result.logits, run.task.labels)  # ${Number(scores.all_loss).toPrecision(8)}`,
      );
    lines.push("");
  }
  if (run.model.kind === "transformer")
    lines.push(`bridge = cg.lens.bridge(run, ${step})  # the network in TransformerLens, with every hook`);
  lines.push(`row = cg.measure(run, steps=${step})  # every quick measure of this checkpoint`);
  return lines.join("\n");
}
