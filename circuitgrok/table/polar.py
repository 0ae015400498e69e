"""The columns of norm and direction in a run's table of measures; the formulas live beside this file."""

from collections.abc import Sequence

import torch
from torch import Tensor

from circuitgrok.models.kinds import AnyModel, transformer_of
from circuitgrok.models.transformer import Transformer
from circuitgrok.polar.orbits import part_norms, path_norm
from circuitgrok.polar.parts import part_paths
from circuitgrok.polar.path import Polar, polar_path
from circuitgrok.table.checkpoints import Opened
from circuitgrok.tree import Params

Columns = dict[str, Tensor]
QUANTILES = (0.1, 0.5, 0.9)
_OF_HEADS = ("norm", "angle_start", "angle_end", "arc_length", "angular_speed")


def polar_columns(stack: Params, model: AnyModel, steps: Sequence[int]) -> Columns:
    """Polar coordinates of the path: globally, by role, by tensor; of transformers by head and quantiles of neurons."""
    columns: Columns = {}
    at = torch.tensor(steps, device=next(iter(stack.values())).device)
    for part, path in polar_path(stack, at).items():
        suffix = "" if part == "global" else f"[{part}]"
        columns |= {f"{name}{suffix}": value for name, value in path._asdict().items()}
    if not isinstance(model, Transformer):
        return columns
    for part, paths in part_paths(stack, at).items():
        layer = "" if model.n_layers == 1 else f", {part.split('.')[1]}"
        columns |= _heads(paths, layer) if part.endswith("head") else _neurons(paths, layer)
    return columns


def _heads(paths: Polar, layer: str) -> Columns:
    of_field = {name: getattr(paths, name) for name in _OF_HEADS}
    n_heads = paths.norm.shape[1]
    return {f"{name}[head {h}{layer}]": value[:, h] for name, value in of_field.items() for h in range(n_heads)}


def _neurons(paths: Polar, layer: str) -> Columns:
    columns = {}
    for name in ("norm", "angle_end"):
        values = getattr(paths, name)
        quantiles = values.nanquantile(values.new_tensor(QUANTILES), dim=1)
        columns |= {f"{name}[neurons {q:.0%}{layer}]": value for q, value in zip(QUANTILES, quantiles, strict=True)}
    return columns


def orbit_columns(at: Opened) -> Columns:
    """The least norm with which the same function can be written, how far from it the network is, and path norms."""
    model = transformer_of(at.model)
    plain, least = part_norms(at.params, model), at.least_norms
    columns = {"norm_min": least.total, "norm_excess": plain.total / least.total}
    for part in ("qk", "vo", "mlp"):
        columns |= _by_layer(f"norm_excess[{part}", getattr(plain, part) / getattr(least, part))
    return columns | _by_layer("path_norm[mlp", path_norm(at.params, model))


def _by_layer(name: str, values: Tensor) -> Columns:
    """A column per layer, `name, l]`; without the number in a network of one layer."""
    layers = range(values.shape[1])
    return {f"{name}]" if len(layers) == 1 else f"{name}, {layer}]": values[:, layer] for layer in layers}
