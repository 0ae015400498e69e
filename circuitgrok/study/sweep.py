"""A grid of configs: every combination of the values given, each checked before any work begins."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError


def grid(base: TrainConfig, values: Mapping[str, Sequence[Any]]) -> dict[str, TrainConfig]:
    """All combinations, by a name that says what varies.

    Args:
        base: What every run shares.
        values: Leaf field -> the values it takes.

    Raises:
        UserError: A combination is refused; the message names it.

    Example:
        >>> list(grid(TrainConfig(), {"alpha": [0.5, 1], "fixed_norm": [False, True]}))[:2]
        ['alpha0.5-fixed_norm_off', 'alpha0.5-fixed_norm_on']
    """
    varied = {name: list(taken) for name, taken in values.items() if len(taken) > 1}
    fixed = {name: taken[0] for name, taken in values.items() if len(taken) == 1}
    configs = {}
    for combination in product(*varied.values()):
        leaves = dict(zip(varied, combination, strict=True))
        label = "-".join(_text(name, value) for name, value in leaves.items()) or "run"
        try:
            configs[label] = base.with_(**fixed, **leaves)
        except UserError as error:
            raise UserError(f"{label}: {error}") from None
    if len(configs) < len(list(product(*varied.values()))):
        raise UserError(f"a value is given twice in {dict(varied)}")
    return configs


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"{name}_{'on' if value else 'off'}"
    return f"{name}{value:g}" if isinstance(value, float) else f"{name}{value}"
