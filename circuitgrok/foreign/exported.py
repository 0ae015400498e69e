"""Weights on their way out: under TransformerLens' names, as a file of torch or safetensors, read again bit for bit.

A safetensors file says of itself what it is: the config of the run and the step stand in its head, so that
`open_checkpoints` needs nothing else. A file of torch is what `HookedTransformer.state_dict()` gives.
"""

import base64
import io
import os
from pathlib import Path
from typing import Any

import torch

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.foreign.sources import NOTE
from circuitgrok.models.kinds import transformer_of
from circuitgrok.models.transformer import Transformer
from circuitgrok.store.checkpoints import Checkpoints, config_of, name_of, split_is_known
from circuitgrok.store.files import write_atomically
from circuitgrok.store.weights import pack
from circuitgrok.tasks.splits import LISTED, packed, unpacked
from circuitgrok.tree import Params


def save_hooked(run: Checkpoints, step: int, path: str | os.PathLike[str]) -> Path:
    """Write the network of a step as TransformerLens' state dict: `.pth` or `.pt`, or `.safetensors`.

    A file of torch holds what `HookedTransformer.state_dict()` gives, its buffers included; TransformerLens 4 reads it
    by `convert_tl_checkpoint`. A network without '=' or with other attention than a causal softmax has no counterpart
    there, but for its weights.

    Args:
        run: A run, or other checkpoints.
        step: Which.
        path: The file to write; what is there is replaced.

    Raises:
        RunError: No checkpoint at that step.
        UserError: The network is no transformer, or the file is of another kind.

    Example:
        >>> import tempfile
        >>> import circuitgrok as cg
        >>> run = cg.load("checkpoints/reference")
        >>> file = cg.lens.save_hooked(run, run.steps[-1], f"{tempfile.mkdtemp()}/reference.pth")
        >>> again = cg.open_checkpoints(file, steps=run.steps[-1])
        >>> bool((again.at(again.steps[0])["embed.W_E"] == run.at(run.steps[-1])["embed.W_E"]).all())
        True
    """
    model, params = transformer_of(run.model), run.at(step)
    return write_weights(run, step, Path(os.path.expanduser(path)), params | _buffers(model, params))


def write_weights(run: Checkpoints, step: int, path: Path, of_torch: Params | None = None) -> Path:
    """Write the network of a step under our names: `.pth` or `.pt`, or `.safetensors` with a note of what it is.

    Args:
        run: A run, or other checkpoints.
        step: Which.
        path: The file to write.
        of_torch: What a file of torch holds; the weights by default.

    Raises:
        UserError: The file is of another kind.
    """
    params = run.at(step)
    if path.suffix == ".safetensors":
        write_atomically(path, pack(params, {NOTE: description(run, step), "step": step}))
    elif path.suffix in (".pth", ".pt"):
        content = io.BytesIO()
        torch.save(dict(of_torch or params), content)
        write_atomically(path, content.getvalue())
    else:
        raise UserError(f"weights are written as .pth, .pt or .safetensors; got {path.name!r}")
    return path


def _buffers(model: Transformer, params: Params) -> Params:
    """The two buffers that each attention block of a HookedTransformer has."""
    mask = torch.ones(model.n_positions, model.n_positions, dtype=torch.bool).tril()
    least = torch.tensor(-torch.inf, dtype=params["embed.W_E"].dtype)
    here = {"mask": mask, "IGNORE": least}
    return {f"blocks.{i}.attn.{name}": value for i in range(model.n_layers) for name, value in here.items()}


def description(run: Checkpoints, step: int) -> dict[str, Any]:
    """What an exported network says of itself, in JSON: name, step, config, and the pairs of a listed split."""
    config = config_of(run)
    split = str(getattr(config.task, "split", ""))
    pairs = {"pairs": base64.b64encode(packed(split)).decode()} if split.startswith(LISTED) else {}
    known = {"split_is_known": split_is_known(run)}
    return {"name": name_of(run), "step": step, "config": config.model_dump(mode="json"), **known, **pairs}


def described(note: Any) -> TrainConfig:
    """The config in what an exported network says of itself; a listed split is known from now on.

    Raises:
        UserError: It is no such description.
    """
    from pydantic import ValidationError

    try:
        config = TrainConfig.model_validate(note["config"])
        split = str(getattr(config.task, "split", ""))
        if split.startswith(LISTED):
            unpacked(base64.b64decode(note["pairs"]), split)
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"the description of an exported network is damaged: {str(error).splitlines()[0]}") from None
    return config
