"""The command that counts solutions: density."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitgrok.errors import UserError
from circuitgrok.faces.flags import field_flags, headings, parse
from circuitgrok.faces.outputs import write_table
from circuitgrok.faces.start import checkpoint_of, start_of_train
from circuitgrok.text import show
from circuitgrok.training.progress import load_torch, ticks

if TYPE_CHECKING:
    from circuitgrok.table.counted import Density
    from circuitgrok.tree import Params

ENDS = ("", "_low", "_high")
FLAGS = {
    "radii": (tuple[float, ...], (), "norms of all trained weights to ask at"),
    "beta": (float, 1.0, "inverse temperature of the summed cross-entropies"),
    "wrong": (int, 20, "draws of wrong labels on the pairs that are held out"),
    "ladders": (int, 4, "independent ladders for each data set; their spread is the error"),
    "rounds": (int, 400, "rounds of replica exchange"),
    "burnin": (int, 200, "rounds before"),
    "particles": (int, 32, "of the population that finds the temperatures"),
    "overlap": (float, 0.5, "share of it that a step of temperature leaves: nearer to 1, more rungs"),
    "planted": (str, "", "RUN_FOLDER@STEP of a network that answers all pairs, to start from as well"),
    "sampling_seed": (int, 0, "seed of wrong labels and of all draws"),
    "out": (str, "density", "folder of results; the same command goes on there"),
    "threads": (int, 1, "threads of torch"),
    "quiet": (bool, False, "no progress"),
}


def density(argv: list[str]) -> int:
    """Which share of the sphere of weights fits the training pairs, and which share of that answers the others."""
    start = start_of_train(argv)
    options = parse(
        f"circuitgrok density {start.name}",
        "Count solutions on spheres of weights, of the task and the network of a preset or config: R_gen, ln of the "
        "share of what fits the training pairs that also answers all others, beside wrong labels and chance.",
        {**field_flags(start.leaves, start.kinds, many=False), **FLAGS},
        start.rest,
        headings(start.kinds),
    )
    if not options.radii or min(options.radii) <= 0:
        raise UserError(f"say at which norms, above 0: --radii 5 10 20; got {list(options.radii)}")
    changed = start.changed(options)
    load_torch(options.quiet)
    import pandas as pd
    import torch

    from circuitgrok.landscape.density import Effort
    from circuitgrok.table.density import density as of_sphere

    torch.set_num_threads(max(1, options.threads))
    config = start.config().with_(**start.others, **changed)
    effort = Effort(
        options.ladders, options.rounds, options.burnin, n_particles=options.particles, share=options.overlap
    )
    planted = _planted(options.planted)
    out = Path(os.path.expanduser(options.out))
    out.mkdir(parents=True, exist_ok=True)
    tables, curves = [], []
    for radius in options.radii:
        with ticks(f"radius {radius:g}", "rounds", options.quiet) as tick:
            found = of_sphere(
                config.model, config.task.draw(), radius, beta=options.beta, n_wrong=options.wrong, planted=planted,
                effort=effort, seed=options.sampling_seed, keep=out, tick=tick,
            )  # fmt: skip
        show(*str(found).splitlines())
        curves += [
            found.curve(row["data"], row["start"]).assign(radius=radius, data=row["data"], start=row["start"])
            for row in found.rows
        ]
        tables.append(found.table.assign(radius=radius, beta=options.beta, **_summary(found)))
    table = pd.concat(tables, ignore_index=True)
    write_table(table, out / "density.csv")
    write_table(pd.concat(curves, ignore_index=True), out / "curves.csv")
    show(f"{len(table)} ladders → {out / 'density.csv'}, ln Z by temperature → {out / 'curves.csv'}")
    return 0


def _planted(where: str) -> "Params | None":
    """The network to start from."""
    if not where:
        return None
    run, step = checkpoint_of("--planted", where)
    return run.at(step)


def _summary(found: "Density") -> dict[str, Any]:
    """The numbers of a radius, on each of its rows."""
    numbers = {"R_gen": found.R_gen, "R_mem": found.R_mem, "delta": found.delta}
    columns = {f"{name}{end}": value for name, of in numbers.items() for end, value in zip(ENDS, of, strict=True)}
    return {**columns, "chance": found.chance, "status": found.status}
