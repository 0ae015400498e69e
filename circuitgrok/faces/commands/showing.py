"""The command that writes runs as a page to look at: report."""

from pathlib import Path
from typing import Annotated

from circuitgrok.errors import UserError
from circuitgrok.faces.flags import REQUIRED, parse, positional
from circuitgrok.faces.outputs import check_folder
from circuitgrok.store.run import Run, load, runs_below
from circuitgrok.text import show
from circuitgrok.training.progress import load_torch, ticks


def report(argv: list[str]) -> int:
    """Write runs as one HTML file."""
    import tyro

    options = parse(
        "circuitgrok report",
        "Write runs as one HTML file that opens offline: curves, spectra, neurons and logits under a slider of "
        "checkpoints, and switches that change the network. A folder of runs is written as a phase diagram with their "
        "curves.",
        {
            "runs": (
                Annotated[tuple[str, ...], positional(), tyro.conf.arg(metavar="RUN [RUN ...]")],
                REQUIRED,
                "folders of runs, or one folder of many runs",
            ),
            "out": (
                Annotated[str, tyro.conf.arg(aliases=["-o"])],
                "report.html",
                "the file to write, which ends on .html",
            ),
            "weights": (int, 24, "checkpoints of each run whose weights are in the page; fewer if they are large"),
            "threads": (int, 1, "threads of torch"),
            "quiet": (bool, False, "no progress"),
        },
        argv,
    )
    if not options.runs:
        raise UserError("name the runs: `circuitgrok report checkpoints/reference -o reference.html`")
    if options.weights < 0:
        raise UserError(f"--weights must be 0 or more; got {options.weights}")
    folder, runs = _named(options.runs)
    load_torch(options.quiet)
    import torch

    from circuitgrok.faces.inspector.report import report, report_path
    from circuitgrok.faces.inspector.sweep_page import sweep_of

    torch.set_num_threads(max(1, options.threads))
    out = report_path(options.out)
    check_folder(out.parent)
    with ticks("measuring", "checkpoints", options.quiet) as tick:
        written = report(sweep_of(folder) if folder else runs, out, weights=options.weights, tick=tick)
    show(f"{_said(runs, folder)} → {written} ({written.stat().st_size / 1e6:.1f} MB, opens offline in any browser)")
    return 0


def _named(paths: tuple[str, ...]) -> tuple[Path | None, list[Run]]:
    """The runs that were named; or the folder, if one was named that is no run but holds several."""
    folder = Path(paths[0]).expanduser()
    if len(paths) == 1 and folder.is_dir() and not (folder / "config.json").exists():
        found = runs_below(folder)
        if found:
            return (folder, []) if len(found) > 1 else (None, found)
    return None, [load(path) for path in paths]


def _said(runs: list[Run], folder: Path | None) -> str:
    return f"the runs below {folder}" if folder else ", ".join(run.name for run in runs)
