"""Weights that were made from a run's, by hand or by a rule, as a run to train on from."""

from pathlib import Path

from circuitgrok.foreign.imported import write_run
from circuitgrok.foreign.published import Published
from circuitgrok.store.run import Run
from circuitgrok.tree import Params


def write_edited(run: Run, step: int, params: Params, path: str | Path, how: str) -> str:
    """`PATH@STEP` of a run that holds a network made from another's, as the config's `start` takes it.

    Args:
        run: Whose network was edited; the new run has its config.
        step: Of the checkpoint that was edited.
        params: What came out, of the same shapes.
        path: Folder of the new run; the same again writes the same again.
        how: How it was made, kept in the manifest.

    Raises:
        RunError: The folder holds another run, or `run` has no checkpoint of that step.

    Example:
        >>> import tempfile
        >>> import circuitgrok as cg
        >>> config = cg.TrainConfig.preset("quickstart").with_(p=7, d_model=16, d_head=4, d_mlp=16, steps=2)
        >>> out = tempfile.mkdtemp()
        >>> run = cg.train([config], out, names=["mine"])[0]
        >>> double = {name: 2 * value for name, value in run.at(2).items()}
        >>> start = write_edited(run, 2, double, f"{out}/double", "all weights times 2")
        >>> later = cg.train([config.with_(start=start)], out, names=["later"])[0]
        >>> bool((later.at(0)["embed.W_E"] == double["embed.W_E"]).all())
        True
    """
    run.at(step)  # complains where there is none
    source = {"file": f"{run.name}@{step}", "sha256": run.index[step], "layout": "ours"}
    return f"{write_run(Published(source, {step: params}, run.config, {}, 'rebuilt', (how,)), path).path}@{step}"
