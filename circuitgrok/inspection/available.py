"""Which parts a network has on its task, by name, and why it has no other."""

import math
from collections.abc import Sequence

from circuitgrok.inspection.part_names import OF_FREQUENCIES, Part
from circuitgrok.models.kinds import AnyModel
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.kinds import Dataset, modular
from circuitgrok.tasks.modular import Task
from circuitgrok.tasks.operations import as_addition

OF_MLPS = ("neuron", *OF_FREQUENCIES)


def layers_of(model: AnyModel) -> int:
    """Blocks of a transformer, or hidden layers."""
    if isinstance(model, Transformer):
        return model.n_layers
    return 1 if isinstance(model, QuadraticMLP) else model.depth


def parts_of(model: AnyModel, freqs: Sequence[int]) -> list[str]:
    """The parts of a network by name: what it has without numbers, its heads, and of frequencies those that are given.

    Args:
        model: The network's shape.
        freqs: Frequencies that are to be named, each and all together; none where the task has none.

    Example:
        >>> parts_of(QuadraticMLP(p=7), [2])
        ['cluster 2', 'no cluster 2', 'waves 2', 'only waves 2', 'excluded 2', 'restricted 2']
    """
    every = ",".join(map(str, freqs))
    waves = [f"cluster {k}" for k in freqs] + [f"no cluster {every}"] + [f"waves {k}" for k in freqs]
    waves += [f"waves {every}"] * (len(freqs) > 1)
    waves += [f"{what} {every}" for what in ("only waves", "excluded", "restricted")]
    found = waves if freqs else []
    if not isinstance(model, Transformer):
        return found
    heads = [f"head {i}" for i in range(model.n_heads)]
    earlier = [f"layer {layer}" for layer in range(model.n_layers - 1)]
    of_earlier = [f"{layer} {what}" for layer in earlier for what in (*heads, "attention", "mlp")]
    layers = [*earlier, f"layer {model.n_layers - 1}"]
    return [*heads, "attention", "pattern", "mlp", "skip", *layers, *of_earlier, *found]


def kinds_of_parts(model: AnyModel, task: Dataset) -> list[str]:
    """The kinds of parts that a network on a task has, each with numbers that it may have, for messages."""
    neuron = f"neuron 0..{_width(model) - 1}"
    half = as_addition(modular(task)).m // 2 if has_frequencies(task) else 0
    waves = [f"{what} 1..{half}" for what in OF_FREQUENCIES] if half else []
    if not isinstance(model, Transformer):
        return [neuron, *waves]
    layers = [f"layer {layer}" for layer in range(model.n_layers)]
    return [f"head 0..{model.n_heads - 1}", "attention", "pattern", neuron, *waves, "mlp", "skip", *layers]


def why_not(part: Part, model: AnyModel, task: Dataset) -> str | None:
    """Why a network has no such part; None if it has."""
    if part.what not in OF_MLPS and not isinstance(model, Transformer):
        return f"{model.called} has neurons alone"
    if part.layer is not None and part.layer >= layers_of(model):
        return f"there are {layers_of(model)} layers, counted from 0"
    if part.what in OF_FREQUENCIES:
        if not has_frequencies(task):
            return "frequencies are of tasks on all pairs of numbers modulo p"
        half = as_addition(modular(task)).m // 2
        return None if 1 <= part.numbers[0] and part.numbers[-1] <= half else f"frequencies are in 1..{half}"
    size = {"head": getattr(model, "n_heads", 0), "neuron": _width(model)}.get(part.what, math.inf)
    return f"there are {size} {part.what}s, counted from 0" if part.numbers and part.numbers[-1] >= size else None


def has_frequencies(task: Dataset) -> bool:
    """Whether a task is on all pairs of numbers modulo p, with a wave among them."""
    return isinstance(task, Task) and as_addition(task).m >= 3


def _width(model: AnyModel) -> int:
    """Neurons of the last block or hidden layer."""
    return next(getattr(model, name) for name in ("d_mlp", "d_hidden", "n_neurons", "width") if hasattr(model, name))
