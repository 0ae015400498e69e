"""Where a run begins: weights that are drawn, or those of another run's checkpoint, and its optimizer's state."""

import os
from pathlib import Path
from typing import Any

import torch

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.store.resume import read_moments
from circuitgrok.store.run import Run, RunError
from circuitgrok.tree import Params, role


def initial_weights(config: TrainConfig) -> Params:
    """The weights at step 0, in the run's precision: drawn, or those of a checkpoint times the alphas.

    Raises:
        RunError: The checkpoint to start from is not there, or of another shape.
        DamagedFile: It is not what was written.
    """
    if config.init.start is None:
        generator = torch.Generator().manual_seed(config.init.seed)
        scheme: Any = config.init.scheme  # one of the model's, as the config has checked
        weights = config.model.init(generator, scheme, config.init.alpha, config.init.alpha_by_role)
    else:
        factors = config.init.alpha_by_role
        found = checkpoint(config, config.init.start)
        weights = {name: w * (config.init.alpha * factors.get(role(name), 1.0)) for name, w in found.items()}
    dtype = getattr(torch, config.numerics.precision)
    return {name: value.to(dtype) for name, value in weights.items()}


def checkpoint(config: TrainConfig, named: str) -> Params:
    """The weights RUN_FOLDER@STEP of another run of the same shape, in float64."""
    source, step = _source(named)
    if source.config.model.shapes() != config.model.shapes():
        raise RunError(f"{named} holds a network of another shape than the one to train: give both one model")
    return {name: value.double() for name, value in source.at(step).items()}


def source_digest(start: str) -> str:
    """Digest of the checkpoint RUN_FOLDER@STEP that a run starts from."""
    source, step = _source(start)
    source.at(step)  # refuses a step that is not there, and a file that is not what was written
    return source.index[step]


def _source(start: str) -> tuple[Run, int]:
    folder, step = start.rsplit("@", 1)
    return Run(Path(os.path.expanduser(folder))), int(step)


def moments(config: TrainConfig) -> tuple[Params, int]:
    """The optimizer's state of the checkpoint that a run starts from, and the steps that its optimizer had taken.

    Raises:
        RunError: It was not kept, or is of another rule or precision.
    """
    start = config.init.start
    assert start is not None
    source, step = _source(start)
    theirs = (source.config.optimizer.rule, source.config.numerics.precision)
    if theirs != (config.optimizer.rule, config.numerics.precision):
        raise RunError(f"{start} was trained by {theirs[0]} in {theirs[1]}: start_moments needs both")
    return read_moments(source, step), _clock(source, step)


def _clock(source: Run, step: int) -> int:
    """Steps that an optimizer has taken by a run's step, those before it started included."""
    init = source.config.init
    if init.start is None or not init.start_moments:
        return step
    return step + _clock(*_source(init.start))
