"""A grid of configs, every combination checked before any work begins, and the sweep of its runs."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.measures.learning.classes import DELAY
from circuitgrok.study.swept import SEEDS, Sweep

Seeds = Iterable[int] | Mapping[str, Iterable[int]] | None


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
    fixed = {name: taken[0] for name, taken in values.items() if len(taken) == 1}
    configs = {}
    every = combinations(values)
    for leaves in every:
        label = "-".join(_text(name, value) for name, value in leaves.items()) or "run"
        try:
            configs[label] = base.with_(**fixed, **leaves)
        except UserError as error:
            raise UserError(f"{label}: {error}") from None
    if len(configs) < len(every):
        raise UserError(f"a value is given twice in {varied(values)}")
    return configs


def varied(values: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """The fields that take several values."""
    return {name: list(taken) for name, taken in values.items() if len(taken) > 1}


def combinations(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """What varies, in every combination, the last field fastest.

    >>> combinations({"alpha": [0.5, 1.0], "p": [11]})
    [{'alpha': 0.5}, {'alpha': 1.0}]
    """
    of = varied(values)
    return [dict(zip(of, combination, strict=True)) for combination in product(*of.values())]


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"{name}_{'on' if value else 'off'}"
    return f"{name}{value:g}" if isinstance(value, float) else f"{name}{value}"


def planned(
    base: TrainConfig,
    values: Mapping[str, Sequence[Any]],
    *,
    seeds: Seeds = None,
    out: str | Path = "checkpoints/sweep",
    delay: int = DELAY,
) -> Sweep:
    """The sweep of a grid, as far as its runs are there; nothing is trained.

    Args:
        base: What every run shares.
        values: Leaf field -> the values it takes.
        seeds: Numbers: each repeats every setting with new weights, split and noise, which are `seed`, `data_seed` and
            `noise_seed` set to it together (but for those that `values` has). Or field -> its own values, such as
            `{"seed": range(5)}` for new weights alone.
        out: Folder of the runs; `~` is the home folder.
        delay: Steps from memorised to grokked, from which a run's class is grokking.

    Raises:
        UserError: A combination is refused, a field has no values, or is given twice.

    Example:
        >>> sweep = planned(TrainConfig(), {"alpha": [0.5, 2.0]}, seeds=range(3))
        >>> list(sweep.configs)[:2], sweep.configs["alpha0.5-seed1"].leaves()["data_seed"]
        (['alpha0.5-seed0', 'alpha0.5-seed1'], 1)
        >>> planned(TrainConfig(), {}, seeds={"seed": [3, 4]}).configs["seed4"].leaves()["data_seed"]
        0
    """
    own: dict[str, list[Any]] = {}
    if isinstance(seeds, Mapping):
        own = {str(name): list(several) for name, several in seeds.items()}
    if twice := own.keys() & values.keys():
        raise UserError(f"{min(twice)} is given twice, among the values and among the seeds")
    taken: dict[str, list[Any]] = {name: list(several) for name, several in values.items()} | own
    if empty := [name for name, several in taken.items() if not several]:
        raise UserError(f"{empty[0]} needs values")
    configs = grid(base, taken)
    settings = {
        label: {name: value for name, value in leaves.items() if name not in {*SEEDS, *own}}
        for label, leaves in zip(configs, combinations(taken), strict=True)
    }
    if seeds is not None and not isinstance(seeds, Mapping):
        repeated = _repeated(configs, list(seeds), [name for name in SEEDS if name not in taken])
        configs = {name: config for name, (_, config) in repeated.items()}
        settings = {name: settings[label] for name, (label, _) in repeated.items()}
    return Sweep(Path(out).expanduser(), configs, settings, delay)


def _repeated(
    configs: Mapping[str, TrainConfig], seeds: Sequence[int], fields: Sequence[str]
) -> dict[str, tuple[str, TrainConfig]]:
    """Each config with each seed in all of these fields, under a new name, and the name it had."""
    if not fields:
        raise UserError(f"seeds has nothing to set: the values have {', '.join(SEEDS)}")
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"seeds must be one number or more, each once; got {list(seeds)}")
    return {
        f"{'' if label == 'run' else f'{label}-'}{fields[0]}{seed}": (
            label,
            config.with_(**dict[str, Any](dict.fromkeys(fields, seed))),
        )
        for label, config in configs.items()
        for seed in seeds
    }


def sweep(
    base: TrainConfig,
    values: Mapping[str, Sequence[Any]],
    *,
    seeds: Seeds = None,
    out: str | Path = "checkpoints/sweep",
    delay: int = DELAY,
    **how: Any,
) -> Sweep:
    """The sweep of a grid, when what was missing has been trained; the same call again resumes it.

    Args:
        base: What every run shares.
        values: Leaf field -> the values it takes.
        seeds: As for `planned`: numbers set `seed`, `data_seed` and `noise_seed` together.
        out: Folder of the runs.
        delay: Steps from memorised to grokked, from which a run's class is grokking.
        how: For `circuitgrok.train`: `threads`, `allow_inexact`, `progress` and its others.

    Raises:
        UserError: A combination is refused, before any work begins.
        RunError: A folder holds another run, is being written, or was begun in another environment.
        Interrupted: A signal arrived; everything is saved.

    Example:
        >>> import tempfile
        >>> base = TrainConfig.preset("quickstart").with_(p=5, d_model=8, d_head=2, d_mlp=8, steps=2)
        >>> sweep(base, {"alpha": [0.5, 1]}, seeds=range(2), out=tempfile.mkdtemp()).missing
        []
    """
    return planned(base, values, seeds=seeds, out=out, delay=delay).train(**how)
