"""What is known of a run beside its networks, or of anything else that has `config`, `task`, `steps`, `at` and `stack`.

A run has a folder, a history and a state. Other checkpoints may have a `name` and say whether their split is the one
trained on (`split_is_known`); their history is what was measured at their steps.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from circuitgrok.faces.summary import interventions
from circuitgrok.store.checkpoints import config_of
from circuitgrok.store.run import Run
from circuitgrok.text import plain

if TYPE_CHECKING:
    import pandas as pd

    from circuitgrok.config.train_config import TrainConfig

MEASURED = {
    "train_loss": "loss[train]",
    "test_loss": "loss[test]",
    "train_acc": "accuracy[train]",
    "test_acc": "accuracy[test]",
    "norm": "norm",
}


class About(NamedTuple):
    """What a page says of checkpoints.

    Attributes:
        name: What they are called.
        path: Their folder, which `cg.load` opens; None for what lies in no folder of ours.
        history: One row per evaluation, by step; None where nothing was written while training.
        split_is_known: Whether the task's split is the one trained on.
        facts: What was trained, by what it is called on the page.
    """

    name: str
    path: str | None
    history: "pd.DataFrame | None"
    split_is_known: bool
    facts: dict[str, str]


def about(checkpoints: Any) -> About:
    """What a page says of a run, or of other checkpoints.

    Example:
        >>> import circuitgrok as cg
        >>> about(cg.load("checkpoints/reference")).facts["trained on"]
        '420 of 841 examples'
    """
    config = config_of(checkpoints)
    known, facts = bool(getattr(checkpoints, "split_is_known", True)), _facts(config)
    if not isinstance(checkpoints, Run):
        name = plain(getattr(checkpoints, "name", type(checkpoints).__name__))
        facts["state"] = f"not trained here, {len(checkpoints.steps)} checkpoints"
        return About(name, None, getattr(checkpoints, "history", None), known, facts)
    start = checkpoints.manifest["start"]["norm"]
    if "imported" not in checkpoints.manifest["environment"]:
        facts |= {
            "alpha": f"{config.init.alpha:g} × {config.init.scheme}, |θ₀| = {start:.2f}",
            "weight decay": f"{config.optimizer.weight_decay:g}",
            "with": interventions(checkpoints.manifest["config"]) or "nothing else",
        }
    facts["state"] = f"{checkpoints.state}, {len(checkpoints.steps)} checkpoints"
    folder = str(Path(checkpoints.path))
    facts = {name: plain(text) for name, text in facts.items()}
    return About(plain(checkpoints.name), folder, checkpoints.history, known, facts)


def _facts(config: "TrainConfig") -> dict[str, str]:
    return {
        "task": plain(config.task.formula),
        "network": config.model.called,
        "trained on": f"{config.task.n_train} of {config.task.n_pairs} examples",
    }


def history_of(said: About, table: "pd.DataFrame") -> "pd.DataFrame":
    """The history, or what was measured at the checkpoints under the history's names.

    Args:
        said: What is known.
        table: Of measures.
    """
    if said.history is not None:
        return said.history
    known = {name: column for name, column in MEASURED.items() if column in table}
    return table[[*known.values()]].rename(columns={column: name for name, column in known.items()})
