"""Layouts of published state dicts: what each file's weights are in ours, and what its settings say of the task.

`nanda` (the saved runs of Nanda et al. 2023) and `pizza` (Zhong et al. 2023) store most weights transposed against
TransformerLens:

    W_E [d_model token]      W_Q, W_K, W_V [head d_head d_model]      W_O [d_model head*d_head], a head after the other
    W_in [d_mlp d_model]     W_out [d_model d_mlp]                    W_pos, W_U, b_in, b_out as they are

`hooked-transformer` is the state dict of TransformerLens 1.x to 3.x. A pizza network reads (a, b) without '=', sees
both from both, and attends with c * softmax + (1 - c) at every position, which is `attention_rate` = c.

Source: Nanda et al. 2023 (arXiv:2301.05217), Zhong et al. 2023 (arXiv:2306.17844), and the code released with them;
TransformerLens' grokking demo.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.foreign.lens import common_dtype, from_hooked_transformer, mismatches
from circuitgrok.foreign.split_search import SEEDS
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.splits import ORDERS, share_of
from circuitgrok.tree import Params

Knowledge = Literal["in the file", "given", "assumed", "unknown"]


class Network(NamedTuple):
    """How the state dicts of a file are read.

    Attributes:
        model: Their shape.
        convert: A state dict as our `Params`.
        said: Fields of our config that the settings say.
        preset: The preset whose fields stand in for what nothing says.
        split: Where the split comes from, if anything tells; unknown: from a list that no rule draws.
        test_shift: Updates between the epoch of a test loss and the weights that it was taken of.
        untrained_at: Step of weights whose biases have never moved, where that is a sign of it.
    """

    model: Transformer
    convert: Callable[[Mapping[str, Tensor]], Params]
    said: dict[str, Any]
    preset: str
    split: Knowledge
    test_shift: int = 0
    untrained_at: int | None = None


def _nanda(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], content: Any, given: Mapping[str, Any], notes: list[str]
) -> Network:
    n_tokens = _sizes(weights, "nanda")["token"]
    p = n_tokens - 1
    if settings.get("p", p) != p:
        notes.append(f"p: the settings say {settings['p']}, the embedding has {n_tokens} tokens, '=' among them")
    act = given.get("act", _act(settings.get("act_type", "relu")))
    model = _transposed_model(weights, p=p, act=act, d_vocab_out="p+1")
    names = {"lr": "lr", "weight_decay": "weight_decay", "frac_train": "frac_train", "seed": "data_seed"}
    said = {ours: settings[theirs] for theirs, ours in names.items() if theirs in settings}
    if "fn_name" in settings:
        said["operation"] = _operation(
            settings["fn_name"], {"add": "add", "subtract": "subtract", "x2xyy2": "quadratic"}
        )
    convert = _reader_of_transposed(model, columns=n_tokens)
    return Network(model, convert, said, "nanda", _told({"data_seed", "frac_train"}, said, given))


def _pizza(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], content: Any, given: Mapping[str, Any], notes: list[str]
) -> Network:
    absent = [name for name in ("C", "attn_coeff") if name not in settings]
    if absent:
        raise UserError(
            f"pizza settings must say C and attn_coeff, which leave no trace in the weights; {', '.join(absent)} "
            "not found: give the config_<id>.json that was published with the file by --config"
        )
    n_tokens = _sizes(weights, "pizza")["token"]
    p, twice, equals = (_whole(settings, name) for name in ("C", "diff_vocab", "eqn_sign"))
    if n_tokens != p * (1 + twice) + equals:
        raise UserError(
            f"a pizza network with C {p}, diff_vocab {twice}, eqn_sign {equals} has {p * (1 + twice) + equals} tokens; "
            f"found {n_tokens}: is the config that of another file?"
        )
    model = _transposed_model(
        weights,
        p=p,
        act=given.get("act", _act(settings.get("act_fn", "relu"))),
        d_vocab_out="p+1" if equals and not twice else "p",
        equals=bool(equals),
        own_tokens=bool(twice),
        causal=False,
        attention_rate=settings["attn_coeff"],
    )
    names = {"lr": "lr", "weight_decay": "weight_decay", "frac": "frac_train"}
    said = {ours: settings[theirs] for theirs, ours in names.items() if theirs in settings}
    if "funcs" in settings:  # text of a function: compared, never run
        formula = str(settings["funcs"]).replace(" ", "").removeprefix("lambdax:")
        rules = {f"(x[0]+x[1])%{p}": "add", f"(x[0]-x[1])%{p}": "subtract"}
        said["operation"] = _operation(formula, rules)
    if n_tokens > model.n_classes:
        never = n_tokens - model.n_classes
        notes.append(f"{never} of the {n_tokens} classes are never right and left out of W_U: losses are without them")
    if equals:
        notes.append(
            f"with eqn_sign every pair stood {p} times in the data, so that training saw practically all pairs"
        )
    split = _told({"data_seed", "frac_train", "split"}, said, given)
    if split == "assumed":
        notes.append("the split was drawn without a seed and cannot be rebuilt")
    convert = _reader_of_transposed(model, columns=n_tokens)
    return Network(model, convert, said, "nanda", split, untrained_at=0)


def _hooked(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], content: Any, given: Mapping[str, Any], notes: list[str]
) -> Network:
    if "embed.W_E" not in weights or weights["embed.W_E"].ndim != 2:
        raise UserError(f"hooked-transformer: expected embed.W_E with 2 axes; {listed(weights)}")
    p = weights["embed.W_E"].shape[0] - 1
    if settings.get("normalization_type") not in (None, "LN"):
        raise UserError(f"normalization_type must be None or 'LN'; got {settings['normalization_type']!r}")
    act = given.get("act", _act(settings.get("act_fn", "relu")))
    if not {"act", "act_fn"} & {*given, *settings}:
        notes.append("act: the weights do not show it, relu is assumed; --act says another")
    _, model = from_hooked_transformer(weights, p, act)

    def convert(found: Mapping[str, Tensor]) -> Params:
        params, _ = from_hooked_transformer(found, p, act)
        if wrong := mismatches(params, model.shapes()):
            raise UserError(f"the networks of one file must be of one shape: {wrong}")
        return params

    said, split = _split_of(content, p, given, notes)
    return Network(model, convert, said, "tl-demo", split, test_shift=1)


LAYOUTS: dict[str, Callable[..., Network]] = {"nanda": _nanda, "pizza": _pizza, "hooked-transformer": _hooked}


def _told(needed: set[str], said: Mapping[str, Any], given: Mapping[str, Any]) -> Knowledge:
    """Whether the fields that make a split were given, or stand in the file's settings."""
    if not needed <= {*said, *given}:
        return "assumed"
    return "given" if needed & set(given) else "in the file"


def _split_of(content: Any, p: int, given: Mapping[str, Any], notes: list[str]) -> tuple[dict[str, Any], Knowledge]:
    """The split by rule and seed, if the file lists its training pairs by their place in the row-major list."""
    listed = content.get("train_indices")
    if listed is None:
        return {}, _told({"frac_train", "data_seed", "split"}, {}, given)
    try:
        train = set(torch.as_tensor(listed).flatten().tolist())
    except (TypeError, ValueError, RuntimeError):
        raise UserError("train_indices must be numbers of pairs; found something else") from None
    if not train <= set(range(p**2)) or not 0 < len(train) < p**2:
        raise UserError(f"train_indices must be some of the {p**2} pairs, and not all; found {len(train)}")
    share = share_of(len(train), p**2)
    for rule, order in ORDERS.items():
        for seed in dict.fromkeys([given.get("data_seed", 0), *SEEDS]):
            if train == set(order(p**2, seed)[: len(train)].tolist()):
                return {"frac_train": share, "split": rule, "data_seed": seed}, "in the file"
    notes.append("the training pairs are listed, but no rule known here draws them")
    return {"frac_train": share}, "unknown"


def _sizes(weights: Mapping[str, Tensor], layout: str) -> dict[str, int]:
    """The sizes that the key tensors of the transposed layout imply; all others are checked against them later."""
    axes = {
        "embed.W_E": ("d_model", "token"),
        "pos_embed.W_pos": ("pos", "d_model"),
        "blocks.0.attn.W_Q": ("head", "d_head", "d_model"),
        "blocks.0.attn.W_O": ("d_model", "head*d_head"),
        "blocks.0.mlp.W_in": ("d_mlp", "d_model"),
        "unembed.W_U": ("d_model", "column"),
    }
    wrong = [n for n, names in axes.items() if n not in weights or weights[n].ndim != len(names)]
    if wrong:
        expected = ", ".join(f"{name} [{' '.join(axes[name])}]" for name in wrong)
        raise UserError(f"not the {layout} layout: expected {expected}; {listed(weights)}")
    return {axis: n for name, names in axes.items() for axis, n in zip(names, weights[name].shape, strict=True)}


def _transposed_model(weights: Mapping[str, Tensor], **fields: Any) -> Transformer:
    sizes = _sizes(weights, "transposed")
    dims = {"n_heads": sizes["head"], "d_head": sizes["d_head"], "d_model": sizes["d_model"], "d_mlp": sizes["d_mlp"]}
    layers = {int(name.split(".")[1]) for name in weights if name.startswith("blocks.")}
    narrow = dims["n_heads"] * dims["d_head"] != dims["d_model"]
    return Transformer(n_layers=len(layers), allow_narrow_heads=narrow, **dims, **fields)


def _reader_of_transposed(model: Transformer, columns: int) -> Callable[[Mapping[str, Tensor]], Params]:
    """What turns a transposed state dict, with so many columns in W_U, into our layout."""
    h, e, d = model.n_heads, model.d_head, model.d_model
    expected: dict[str, tuple[int, ...]] = {}
    for name, shape in model.shapes().items():
        tensor = name.rsplit(".", 1)[-1]
        if tensor in ("W_E", "W_in", "W_out"):
            expected[name] = shape[::-1]
        elif tensor in ("W_Q", "W_K", "W_V"):
            expected[name] = (h, e, d)
        elif tensor == "W_O":
            expected[name] = (d, h * e)
        elif tensor == "W_U":
            expected[name] = (d, columns)
        elif tensor in ("W_pos", "b_in", "b_out"):
            expected[name] = shape

    def read(found: Mapping[str, Tensor]) -> Params:
        weights = {name: value for name, value in found.items() if not name.endswith(".attn.mask")}
        wrong = mismatches(weights, expected)
        if wrong:
            raise UserError(f"weights do not fit the transposed layout of {len(found)} tensors: {wrong}")
        params = {}
        for name, shape in model.shapes().items():
            value, tensor = weights.get(name), name.rsplit(".", 1)[-1]
            if value is None:
                value = weights["embed.W_E"].new_zeros(shape)
            elif tensor in ("W_E", "W_in", "W_out"):
                value = value.T
            elif tensor in ("W_Q", "W_K", "W_V"):
                value = value.mT
            elif tensor == "W_O":
                value = value.reshape(d, h, e).permute(1, 2, 0)
            elif tensor == "W_U":
                value = value[:, : model.n_classes]
            params[name] = value.detach().clone(memory_format=torch.contiguous_format)
        common_dtype(params)
        return params

    return read


def listed(weights: Mapping[str, Any]) -> str:
    """The names and shapes in a dict that was found, for a message."""
    found = [f"{k!s:.80} {list(v.shape) if isinstance(v, Tensor) else type(v).__name__}" for k, v in weights.items()]
    return f"found {', '.join(found[:24]) or 'nothing'}" + (f" and {len(found) - 24} more" if found[24:] else "")


def _act(name: Any) -> str:
    known = {"relu": "relu", "gelu": "gelu"}
    if str(name).lower() not in known:
        raise UserError(f"the activation function must be one of {', '.join(known)}; the settings say {name!r}")
    return known[str(name).lower()]


def _operation(name: Any, known: Mapping[str, str]) -> str:
    if name not in known:
        raise UserError(f"the task must be one of {', '.join(known)} to be rebuilt; the settings say {name!r}")
    return known[name]


def _whole(settings: Mapping[str, Any], name: str) -> int:
    value = settings.get(name, 0)
    if not isinstance(value, int) or value < 0:
        raise UserError(f"{name} must be a whole number; the settings say {value!r}")
    return int(value)
