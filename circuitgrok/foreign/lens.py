"""The one door to TransformerLens: our `Params` as a bridge with hooks, and weights back from it.

A `TransformerBridge` is for looking: caches, hooks, patching. It is never trained, sampled or given to
`torch.func`, which would replace its Parameters by plain tensors for good; to differentiate, use
`Transformer.logits`. Conversion is exact, bit for bit, in both directions. State dicts that
TransformerLens 1.x to 3.x saved (`HookedTransformer`) come in here too, and nothing is ever unpickled.

`transformer_lens` takes seconds to import, so it is imported inside the functions.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.foreign.exported import save_hooked as save_hooked
from circuitgrok.foreign.hooked import check_shapes, from_hooked_transformer, inferred
from circuitgrok.foreign.keys import common_dtype, copied
from circuitgrok.foreign.opening import read_foreign
from circuitgrok.models.kinds import transformer_of
from circuitgrok.models.transformer import LN_EPS, Transformer
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.tree import Params

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from circuitgrok.store.checkpoints import Checkpoints


@in_plain_surroundings
def to_bridge(
    params: Mapping[str, Tensor], model: Transformer, dtype: torch.dtype | None = None
) -> "TransformerBridge":
    """A TransformerLens bridge with these weights: every hook, the cache, patching.

    The weights are copied and compared bit for bit after loading. The bridge's own random
    initialisation leaves the global random state alone, and nothing is printed. One hook misleads: in
    TransformerLens 4.3 `attn.hook_attn_scores` of such a bridge holds the pattern, and edits there are
    discarded; edit `attn.hook_pattern`, and read scores from `model.activations`.

    Args:
        params: One network (index a stack first), all tensors of one dtype, on one device.
        model: Its shape.
        dtype: Of the bridge; by default that of `params`.

    Returns:
        A bridge; its logits for `model.tokens(inputs)` agree with `model.activations` to rounding. An attention
        rate below 1 is a permanent hook at `attn.hook_pattern`, which runs before those that you add. A bridge is
        causal: of a single layer that is not, the last position agrees, the others do not.

    Raises:
        UserError: A tensor is missing, unknown or of another shape, the dtypes differ, or the network has
            several layers that are not causal.

    Example:
        >>> model = Transformer(p=5, n_heads=1, d_model=8, d_head=8, d_mlp=16)
        >>> bridge = to_bridge(model.init(torch.Generator().manual_seed(0)), model)
        >>> _, cache = bridge.run_with_cache(torch.tensor([[1, 2, 5]]))
        >>> cache["pattern", 0].shape
        torch.Size([1, 1, 3, 3])
    """
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge.sources import boot_native
    from transformer_lens.utilities.tl_checkpoint_conversion import convert_tl_checkpoint

    check_shapes(params, model)
    if not model.causal and model.n_layers > 1:
        raise UserError(
            f"a bridge is causal, and so is no picture of {model.n_layers} layers that are not: use model.activations"
        )
    dtype = dtype or common_dtype(params)
    wanted = {name: value.detach().to(dtype) for name, value in params.items()}
    device = wanted["embed.W_E"].device
    config = TransformerBridgeConfig(
        d_model=model.d_model,
        d_head=model.d_head,
        n_heads=model.n_heads,
        n_layers=model.n_layers,
        n_ctx=model.n_positions,
        d_vocab=model.n_tokens,
        d_vocab_out=model.n_classes,
        d_mlp=model.d_mlp,
        act_fn=model.act,  # TransformerLens' "gelu" is the exact one, like torch's
        normalization_type="LN" if model.normalization == "LN" else None,
        eps=LN_EPS,
        device=str(device),
        seed=0,  # a seed makes TransformerLens fork the global random state
        init_weights=True,
    )
    # The dtype belongs here: inside the config it is ignored, and `bridge.to` prints to stdout.
    bridge = boot_native(config, device=device, dtype=dtype)
    bridge.load_state_dict(convert_tl_checkpoint(wanted, config), strict=True)
    _check_loaded(bridge, wanted)
    if model.attention_rate < 1:
        _mix_attention(bridge, model)
    return bridge


def bridge(run: "Checkpoints", step: int) -> "TransformerBridge":
    """The network of a run, or of other checkpoints, at a step as a TransformerLens bridge: hooks, caches, patching.

    Raises:
        RunError: No checkpoint at that step.
        UserError: The run's network is no transformer.
    """
    return to_bridge(run.at(step), transformer_of(run.model))


def _mix_attention(bridge: "TransformerBridge", model: Transformer) -> None:
    """Mix every pattern with ones at the positions that are seen."""

    def mixed(pattern: Tensor, hook: Any) -> Tensor:
        return model.attention_rate * pattern + (1 - model.attention_rate) * torch.ones_like(pattern).tril()

    for layer in range(model.n_layers):
        bridge.add_hook(f"blocks.{layer}.attn.hook_pattern", mixed, is_permanent=True)


def from_bridge(bridge: "TransformerBridge") -> Params:
    """The weights of a bridge under classic names, as contiguous copies in our order.

    Every tensor is there, zero biases and the unembedding bias (a buffer of the bridge) included.

    Raises:
        UserError: The bridge is not a three-token transformer with p + 1 tokens.

    Example:
        >>> model = Transformer(p=5, n_heads=1, d_model=8, d_head=8, d_mlp=16)
        >>> params = model.init(torch.Generator().manual_seed(0))
        >>> back = from_bridge(to_bridge(params, model))
        >>> all(torch.equal(back[name], params[name]) for name in params)
        True
    """
    weights = bridge.tl_parameters()
    model = inferred(weights, "relu")
    check_shapes(weights, model)
    return {name: copied(weights[name]) for name in model.shapes()}


def load_hooked_transformer(
    path: str | Path, p: int, act: Literal["relu", "gelu"] = "relu"
) -> tuple[Params, Transformer]:
    """`from_hooked_transformer` of a file: `.pth` or `.pt` (tensors only) or `.safetensors`.

    The state dict may be the whole file or stand under `model` or `state_dict`. A pickle that holds
    anything but tensors and plain containers is refused before any of it runs.

    Raises:
        UserError: The file is of another kind, damaged, would run code, or does not fit.
    """
    content = read_foreign(Path(path)).content
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise UserError(f"{path} must hold a state dict (a dict of tensors); got a {type(content).__name__}")
    return from_hooked_transformer(content, p, act)


def _check_loaded(bridge: "TransformerBridge", wanted: Mapping[str, Tensor]) -> None:
    loaded = bridge.tl_parameters()
    lost = [name for name in wanted if name not in loaded or not torch.equal(loaded[name], wanted[name])]
    if lost or len(loaded) != len(wanted):
        raise RuntimeError(
            f"transformer_lens did not load {', '.join(lost) or 'exactly our tensors'}: its conversion has "
            "changed; install the version of the `tested` extra and report it"
        )
