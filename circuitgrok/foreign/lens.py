"""The one door to TransformerLens: our `Params` as a bridge with hooks, and weights back from it.

A `TransformerBridge` is for looking: caches, hooks, patching. It is never trained, sampled or given to
`torch.func`, which would replace its Parameters by plain tensors for good; to differentiate, use
`Transformer.logits`. Conversion is exact, bit for bit, in both directions. State dicts that
TransformerLens 1.x to 3.x saved (`HookedTransformer`) come in here too, and nothing is ever unpickled.

`transformer_lens` takes seconds to import, so it is imported inside the functions.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.foreign.opening import read_foreign
from circuitgrok.models.transformer import LN_EPS, BiasRole, Transformer
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.tree import Params, is_bias, role

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from circuitgrok.store.run import Run

_BUFFERS = (".attn.mask", ".attn.IGNORE")
_BIAS_ROLES: tuple[BiasRole, ...] = ("attention", "mlp", "unembed")


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

    _check_shapes(params, model)
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


def bridge(run: "Run", step: int) -> "TransformerBridge":
    """The network of a run at a step as a TransformerLens bridge, for hooks, caches and patching.

    Raises:
        RunError: No checkpoint at that step.
        UserError: The run's network is no transformer.
    """
    return to_bridge(run.at(step), run.config.transformer)


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
    return _copied(weights, _infer(weights, bridge.cfg.d_vocab - 1, "relu"))


def from_hooked_transformer(
    state_dict: Mapping[str, Tensor], p: int, act: Literal["relu", "gelu"] = "relu"
) -> tuple[Params, Transformer]:
    """Weights and shape from a state dict that TransformerLens 1.x to 3.x saved.

    The buffers `mask` and `IGNORE` are dropped and absent biases are zero. Layers, heads, widths and
    LayerNorm are read off the names and shapes; the roles whose biases are not all zero are taken to
    be those that train. What leaves no trace in the weights cannot be read: the activation function,
    and a normalization without parameters (`LNPre`).

    Args:
        state_dict: Classic names (`blocks.0.attn.W_Q` as [head d_model d_head]).
        p: The modulus; the file must have p + 1 tokens and p or p + 1 classes.
        act: The activation function that the network was trained with.

    Returns:
        The weights (copies) and the shape.

    Raises:
        UserError: Something is missing, unknown or of another shape; the message lists
            what was expected and what was found.
    """
    wrong = [n for n, value in state_dict.items() if not (isinstance(n, str) and isinstance(value, Tensor))]
    if wrong:
        raise UserError(f"a state dict holds named tensors only; got also {', '.join(map(str, wrong[:8]))}")
    weights = {name: value for name, value in state_dict.items() if not name.endswith(_BUFFERS)}
    model = _infer(weights, p, act)
    like = weights["embed.W_E"]
    for name, shape in model.shapes().items():
        if is_bias(name) and role(name) != "normalization":
            weights.setdefault(name, like.new_zeros(shape))
    params = _copied(weights, model)
    common_dtype(params)
    nonzero = {role(name) for name, value in params.items() if is_bias(name) and value.any()}
    trained = tuple(r for r in _BIAS_ROLES if r in nonzero)
    return params, model.model_copy(update={"train_biases": trained})


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


def _infer(weights: Mapping[str, Tensor], p: int, act: Literal["relu", "gelu"]) -> Transformer:
    """The shape that the key tensors of a network imply; all others are checked against it later."""
    keys = {"blocks.0.attn.W_Q": 3, "blocks.0.mlp.W_in": 2, "unembed.W_U": 2, "embed.W_E": 2}
    bad = {name: n for name, n in keys.items() if name not in weights or weights[name].ndim != n}
    if bad:
        found = ", ".join(f"{name} {list(value.shape)}" for name, value in list(weights.items())[:24])
        raise UserError(
            "not a HookedTransformer state dict: expected "
            f"{', '.join(f'{name} with {n} axes' for name, n in bad.items())}; found {found or 'no tensors'}"
        )
    n_heads, d_model, d_head = weights["blocks.0.attn.W_Q"].shape
    layers = {int(m[1]) for name in weights if (m := re.match(r"blocks\.(\d+)\.", name))}
    return Transformer(
        p=p,
        n_layers=len(layers),
        n_heads=n_heads,
        d_model=d_model,
        d_head=d_head,
        d_mlp=weights["blocks.0.mlp.W_in"].shape[1],
        act=act,
        normalization="LN" if "ln_final.w" in weights else "none",
        d_vocab_out="p" if weights["unembed.W_U"].shape[1] == p else "p+1",
        allow_narrow_heads=n_heads * d_head != d_model,
    )


def _copied(weights: Mapping[str, Tensor], model: Transformer) -> Params:
    _check_shapes(weights, model)
    return {n: weights[n].detach().clone(memory_format=torch.contiguous_format) for n in model.shapes()}


def _check_shapes(found: Mapping[str, Tensor], model: Transformer) -> None:
    wrong = mismatches(found, model.shapes())
    if wrong:
        raise UserError(
            f"weights do not fit a transformer with p = {model.p}, {model.n_layers} layers, {model.n_heads} "
            f"heads of {model.d_head}, d_model {model.d_model}, d_mlp {model.d_mlp}, normalization "
            f"{model.normalization}, {model.n_classes} classes: {wrong}"
        )


def mismatches(found: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> str:
    """What is missing, unknown or of another shape, for a message; empty if all tensors fit.

    Example:
        >>> mismatches({"embed.W_E": torch.zeros(3, 2)}, {"embed.W_E": (2, 3)})
        'embed.W_E: expected [2, 3], found [3, 2]'
    """
    problems = [
        f"{name}: expected {list(expected[name]) if name in expected else 'nothing'}, "
        f"found {list(found[name].shape) if name in found else 'nothing'}"
        for name in {**expected, **found}
        if name not in expected or name not in found or tuple(found[name].shape) != tuple(expected[name])
    ]
    return "; ".join(problems[:12]) + (f"; and {len(problems) - 12} more" if problems[12:] else "")


def common_dtype(params: Mapping[str, Tensor]) -> torch.dtype:
    """The one dtype of all tensors, float32 or float64; `ValueError` if there are several, or another."""
    dtypes = {value.dtype for value in params.values()}
    if len(dtypes) > 1 or not dtypes <= {torch.float32, torch.float64}:
        names = ", ".join(sorted(str(dtype) for dtype in dtypes))
        raise UserError(f"all tensors must be float32 or all float64; got {names}: cast them first")
    return dtypes.pop()


def _check_loaded(bridge: "TransformerBridge", wanted: Mapping[str, Tensor]) -> None:
    loaded = bridge.tl_parameters()
    lost = [name for name in wanted if name not in loaded or not torch.equal(loaded[name], wanted[name])]
    if lost or len(loaded) != len(wanted):
        raise RuntimeError(
            f"transformer_lens did not load {', '.join(lost) or 'exactly our tensors'}: its conversion has "
            "changed; install the version of the `tested` extra and report it"
        )
