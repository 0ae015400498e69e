"""Which groups of measures make sense for which run: what each group needs of the network, the task and the loss.

A need is a function of a run's config that says why the run does not meet it, or None. A group of which nothing is
said in `NEEDS` can be measured on every run.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.tasks.composition import Composition
from circuitgrok.tasks.modular import ModularAddition

# What can be asked for, by name, for type checkers and editors; a test compares with the functions.
Group = Literal[
    "polar", "fourier", "circuits", "memorization", "scale", "orbits", "sparsity", "neurons", "attention", "forms",
    "circles", "scores", "irreps", "ablations", "hessian", "updates", "llc",
]  # fmt: skip
Rule = Literal["wl_energy", "embed_energy", "logit_energy", "neuron_argmax", "neuron_argmax_pure"]
Need = Callable[[TrainConfig], str | None]


def heads(config: TrainConfig) -> str | None:
    """Heads, and a residual stream that neurons write to: a transformer."""
    return None if config.model.has_heads else f"needs heads: {config.model.called} has none"


def numbers(config: TrainConfig) -> str | None:
    """All pairs of numbers modulo p, whose functions are sums of waves; products modulo 3 add modulo 2, without one."""
    task = config.task
    if not isinstance(task, ModularAddition):
        return f"needs numbers modulo p: {task.formula} has none"
    waveless = task.p == 3 and task.operation in ("multiply", "divide")
    return f"needs a frequency: {task.formula} is addition modulo 2, which has none" if waveless else None


def sums(config: TrainConfig) -> str | None:
    """The sum of the two numbers, which circles in the embedding are added up for."""
    operation = getattr(config.task, "operation", None)
    return None if operation == "add" else f"needs circles whose angles are added: {config.task.formula} has none"


def no_numbers(config: TrainConfig) -> str | None:
    """Anything else: pairs of numbers have a group that says more."""
    return "is for other tasks: circuits has these columns and more" if numbers(config) is None else None


def products(config: TrainConfig) -> str | None:
    """All pairs of elements of a finite group."""
    if isinstance(config.task, Composition):
        return None
    return f"needs the elements of a finite group, task = composition: this one is {config.task.formula}"


def plain_logits(config: TrainConfig) -> str | None:
    """Logits that the loss took as they are."""
    temperature = config.temperature
    return None if temperature == 1 else f"needs logits at temperature 1: the loss saw them divided by {temperature:g}"


def plain_cross_entropy(config: TrainConfig) -> str | None:
    """A loss that is the mean cross-entropy of plain labels, to which weight decay and penalties may come."""
    chosen = config.objective
    if chosen.loss != "cross_entropy":
        return f"is of the mean cross-entropy: this run's loss is {chosen.loss}"
    return (
        f"is of plain labels: this run's are smoothed by {chosen.label_smoothing:g}" if chosen.label_smoothing else None
    )


NEEDS: dict[str, tuple[Need, ...]] = {
    "fourier": (numbers,),
    "circuits": (numbers,),
    "memorization": (numbers,),
    "scale": (numbers,),
    "orbits": (heads,),
    "sparsity": (numbers,),
    "neurons": (numbers,),
    "attention": (heads, numbers),
    "forms": (heads, numbers),
    "circles": (heads, numbers, sums),
    "scores": (no_numbers,),
    "irreps": (products,),
    "ablations": (heads, numbers, plain_logits),
    "hessian": (plain_cross_entropy, plain_logits),
    "llc": (plain_cross_entropy, plain_logits),
}


def why_not(name: str, config: TrainConfig) -> str | None:
    """Why a group makes no sense for runs of a config, as the end of a sentence about it; None if it does.

    Example:
        >>> why_not("attention", TrainConfig().with_(model="dense"))
        'needs heads: a dense network has none'
    """
    return next((reason for need in NEEDS.get(name, ()) if (reason := need(config)) is not None), None)


def fitting(names: Iterable[Group], config: TrainConfig) -> list[Group]:
    """Those of some groups that make sense for runs of a config."""
    return [name for name in names if why_not(name, config) is None]
