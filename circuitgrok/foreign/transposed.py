"""Published layouts that store most weights transposed against TransformerLens, and what their settings say.

`nanda` are the saved runs of Nanda et al. 2023, `pizza` those of Zhong et al. 2023:

    W_E [d_model token]      W_Q, W_K, W_V [head d_head d_model]      W_O [d_model head*d_head], a head after the other
    W_in [d_mlp d_model]     W_out [d_model d_mlp]                    W_pos, W_U, b_in, b_out as they are

A pizza network reads (a, b) without '=', sees both from both, and attends with c * softmax + (1 - c) at every position,
which is `attention_rate` = c.

Source: Nanda et al. 2023 (arXiv:2301.05217), Zhong et al. 2023 (arXiv:2306.17844), and the code released with them.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.foreign.keys import common_dtype, copied, mismatches, shapes_of
from circuitgrok.foreign.network import Network, activation, operation, said_split, whole
from circuitgrok.models.transformer import Transformer
from circuitgrok.tree import Params


def nanda(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], content: Any, given: Mapping[str, Any], notes: list[str]
) -> Network:
    """The saved runs of Nanda et al. 2023."""
    n_tokens = _sizes(weights, "nanda")["token"]
    p = n_tokens - 1
    if settings.get("p", p) != p:
        notes.append(f"p: the settings say {settings['p']}, the embedding has {n_tokens} tokens, '=' among them")
    act = given.get("act", activation(settings.get("act_type", "relu")))
    model = _transposed_model(weights, p=p, act=act, d_vocab_out="p+1")
    names = {"lr": "lr", "weight_decay": "weight_decay", "frac_train": "frac_train", "seed": "data_seed"}
    said = {ours: settings[theirs] for theirs, ours in names.items() if theirs in settings}
    if "fn_name" in settings:
        said["operation"] = operation(
            settings["fn_name"], {"add": "add", "subtract": "subtract", "x2xyy2": "quadratic"}
        )
    convert = _reader_of_transposed(model, columns=n_tokens)
    return Network(model, convert, said, "nanda", said_split({"data_seed", "frac_train"}, said, given))


def pizza(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], content: Any, given: Mapping[str, Any], notes: list[str]
) -> Network:
    """The transformers of Zhong et al. 2023, whose settings must be there."""
    absent = [name for name in ("C", "attn_coeff") if name not in settings]
    if absent:
        raise UserError(
            f"pizza settings must say C and attn_coeff, which leave no trace in the weights; {', '.join(absent)} "
            "not found: give the config_<id>.json that was published with the file by --config"
        )
    n_tokens = _sizes(weights, "pizza")["token"]
    p, twice, equals = (whole(settings, name) for name in ("C", "diff_vocab", "eqn_sign"))
    if n_tokens != p * (1 + twice) + equals:
        raise UserError(
            f"a pizza network with C {p}, diff_vocab {twice}, eqn_sign {equals} has {p * (1 + twice) + equals} tokens; "
            f"found {n_tokens}: is the config that of another file?"
        )
    model = _transposed_model(
        weights,
        p=p,
        act=given.get("act", activation(settings.get("act_fn", "relu"))),
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
        said["operation"] = operation(formula, rules)
    if n_tokens > model.n_classes:
        never = n_tokens - model.n_classes
        notes.append(f"{never} of the {n_tokens} classes are never right and left out of W_U: losses are without them")
    if equals:
        notes.append(
            f"with eqn_sign every pair stood {p} times in the data, so that training saw practically all pairs"
        )
    split = said_split({"data_seed", "frac_train", "split"}, said, given)
    if split == "assumed":
        notes.append("the split was drawn without a seed and cannot be rebuilt")
    convert = _reader_of_transposed(model, columns=n_tokens)
    return Network(model, convert, said, "nanda", split, untrained_at=0)


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
        raise UserError(f"not the {layout} layout: expected {expected}; {shapes_of(weights)}")
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
            params[name] = copied(value)
        common_dtype(params)
        return params

    return read
