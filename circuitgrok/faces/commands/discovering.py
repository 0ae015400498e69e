"""The command that looks for parts of a network by its loss alone: discover."""

import os
from pathlib import Path
from typing import Annotated, Literal

from circuitgrok.faces.flags import REQUIRED, parse, positional
from circuitgrok.faces.outputs import check_folder, write_table
from circuitgrok.faces.start import checkpoint_of
from circuitgrok.text import show
from circuitgrok.training.progress import load_torch, ticks

SHOWN = ["n", "size", "train", "train_random", "test", "test_random"]


def discover(argv: list[str]) -> int:
    """Group a checkpoint's neurons or heads by their susceptibilities, and set each group to zero."""
    options = parse(
        "circuitgrok discover",
        "Group the neurons or heads of a checkpoint by how the loss that each causes goes with the loss of every pair, "
        "without any waves, and say what the network loses without each group, beside as many blocks at random.",
        {
            "start": (Annotated[str, positional()], REQUIRED, "RUN_FOLDER@STEP"),
            "blocks": (Literal["neuron", "head"], "neuron", "what is grouped"),
            "layer": (int | None, None, "counted from 0; the last by default"),
            "parts": (int, 8, "how many groups"),
            "nbeta": (float | None, None, "inverse temperature of the mean loss; n / ln n by default"),
            "spread": (float, 0.05, "width of the draws over the size of the weights; above 0.1 they are not local"),
            "draws": (int, 512, "for each block"),
            "sampling_seed": (int, 0, "seed of all draws"),
            "out": (str, "", "folder of results; RUN/discovered_STEP by default"),
            "threads": (int, 1, "threads of torch"),
            "quiet": (bool, False, "no progress"),
        },
        argv,
    )
    run, step = checkpoint_of("start", options.start)
    load_torch(options.quiet)
    import torch

    from circuitgrok import figures
    from circuitgrok.landscape.susceptibility import blocks_of
    from circuitgrok.table.susceptibilities import check_parts, discovered, susceptibilities

    check_parts(options.parts, len(blocks_of(run.model, options.blocks, options.layer).names))
    out = Path(os.path.expanduser(options.out)) if options.out else run.path / f"discovered_{step}"
    out.mkdir(parents=True, exist_ok=True)
    check_folder(out)  # before minutes of sampling
    torch.set_num_threads(max(1, options.threads))
    with ticks(f"step {step}", "blocks", options.quiet) as tick:
        found = susceptibilities(
            run, step, options.blocks, layer=options.layer, nbeta=options.nbeta, spread=options.spread,
            n_draws=options.draws, seed=options.sampling_seed, tick=tick,
        )  # fmt: skip
    show(str(found))
    parts = discovered(found, run.at(step), run.model, run.task, options.parts, seed=options.sampling_seed)
    write_table(found.table.assign(part=parts.groups.numpy()), out / "blocks.csv")
    write_table(parts.table, out / "parts.csv")
    show(*parts.table[SHOWN].to_string(float_format="{:.3g}".format).splitlines())
    written = f"{len(parts.table)} parts → {out / 'parts.csv'}, blocks → {out / 'blocks.csv'}"
    if round(len(found.losses) ** 0.5) ** 2 == len(found.losses):
        names = [f"part {part}: {n} blocks" for part, n in parts.table["n"].items()]
        figure = figures.parts_figure(parts.patterns, names)
        written += f", their pairs → {figures.save(figure, out / 'parts')[0]}"
    show(written)
    return 0
