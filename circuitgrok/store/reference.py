"""The finished run that comes with the package, so that everything can be tried right after install."""

from pathlib import Path

from circuitgrok.errors import RunError
from circuitgrok.store.run import Run, load

HERE = Path(__file__).resolve()
# In an installed package it lies inside it; in a checkout beside it.
PLACES = (HERE.parents[1] / "reference", HERE.parents[2] / "checkpoints" / "reference")


def reference() -> Run:
    """A transformer that grokked a + b mod 29: the preset quickstart of the first version, 26 checkpoints.

    Raises:
        RunError: It is neither in the package nor beside it.

    Example:
        >>> run = reference()
        >>> run.config.task.formula, run.state, run.steps[-1]
        ('a + b mod 29', 'finished', 4000)
    """
    for place in PLACES:
        if (place / "config.json").exists():
            return load(place)
    raise RunError(f"the reference run is not there: looked for {' and '.join(map(str, PLACES))}; install the package")
