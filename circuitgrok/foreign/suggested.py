"""Which tensor of ours each tensor of somebody's network is, read off their names and shapes: a mapping to be checked.

Names say the part (embedding, position, attention, unembedding, normalization); what they do not name are layers of
an MLP, in their order. `.weight` of a layer is `[out in]`, as torch has it, that of an embedding `[rows columns]`; of
other matrices the side that has the embedding's width says which way they lie, and a square one is taken as ours.
"""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.foreign.keys import shapes_of

_WORDS = re.compile(r"[a-z]+|\d+")
_NORMS = {"ln", "norm", "layernorm", "lnf", "rmsnorm"}
_POSITIONS = {"pos", "wpe", "position", "positions", "positional", "posembed", "posemb"}
_READOUTS = {"unembed", "unembedding", "head", "lm", "readout", "decoder", "classifier", "logits"}
_EMBEDDINGS = {"embed", "embedding", "embeddings", "emb", "wte", "tok", "token", "tokens", "encoder"}
_ATTENTION = {"attn", "attention", "mha", "sa", "selfattn"}
_LETTERS = {
    "q": "Q", "query": "Q", "wq": "Q", "k": "K", "key": "K", "wk": "K", "v": "V", "value": "V", "wv": "V",
    "o": "O", "wo": "O", "out": "O", "output": "O", "qkv": "QKV", "in": "QKV",
}  # fmt: skip
_SIDES = ({"l", "left", "a", "x", "0", "1"}, {"r", "right", "b", "y", "2"})


def suggested(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """A mapping {theirs: ours} of a state dict (`foreign.mapping`), nothing for what has no place.

    Args:
        weights: Under their names, in their order.

    Raises:
        UserError: There is no layer that could write the logits.

    Example:
        >>> import torch
        >>> shapes = {"embedding.weight": (5, 4), "fc1.weight": (7, 8), "fc1.bias": (7,), "fc2.weight": (5, 7)}
        >>> for theirs, ours in suggested({name: torch.zeros(shape) for name, shape in shapes.items()}).items():
        ...     print(theirs, "->", ours)
        embedding.weight -> embed.W_E
        fc1.weight -> blocks.0.mlp.W_in.T
        fc1.bias -> blocks.0.mlp.b_in
        fc2.weight -> unembed.W_U.T
    """
    found: dict[str, str] = {}
    plain: dict[str, list[str]] = {}  # the tensors of each layer that no name tells, by the layer
    width, halves = _width(weights), _halves([name for name in weights if _part(name) == "embed.W_E"])
    for name, value in weights.items():
        part, bias = _part(name), value.ndim == 1
        if part == "norm":
            found[name] = _norm(name, bias and (name.endswith("bias") or name.endswith(".b")))
        elif part == "embed.W_E":
            lies = "" if name.endswith(".weight") or value.shape[-1] == width else ".T"
            found[name] = "" if bias else f"embed.W_E{halves.get(name, '')}{lies}"
        elif part == "pos_embed.W_pos":
            found[name] = "" if bias else part
        elif part == "unembed":
            found[name] = "unembed.b_U" if bias else f"unembed.W_U{_turned(name, value, width, reads=True)}"
        elif part.startswith("attn."):
            letter = part.removeprefix("attn.")
            kind = "b" if bias else "W"
            lies = "" if bias else _turned(name, value, width, reads=letter != "O")
            found[name] = f"blocks.{_layer(name)}.attn.{kind}_{letter}{lies}"
        else:
            plain.setdefault(_layer_of(name), []).append(name)
    _dense(weights, plain, found, width)
    if not any(ours.startswith("unembed.W_U") for ours in found.values()):
        raise UserError(f"no tensor could be told to write the logits: give a mapping by keys=; {shapes_of(weights)}")
    return {name: found.get(name, "") for name in weights}


def _dense(weights: Mapping[str, Tensor], plain: dict[str, list[str]], found: dict[str, str], width: int) -> None:
    """Places for the layers that no name tells: of MLPs in order, the last one the unembedding if there is no other."""
    layers = [names for names in plain.values() if any(weights[name].ndim == 2 for name in names)]
    in_blocks = any(".attn." in ours for ours in found.values())
    if layers and not any(ours.startswith("unembed.W_U") for ours in found.values()):
        for name in layers.pop():
            bias = weights[name].ndim == 1
            found[name] = "unembed.b_U" if bias else f"unembed.W_U{_turned(name, weights[name], width, reads=True)}"
    sides = _two_sides(weights, layers) if not in_blocks else {}
    count: dict[int, int] = {}
    for i, names in enumerate(layers):
        block = _layer(names[0]) if in_blocks else max(0, i - bool(sides))
        second = count.get(block, 0) and in_blocks
        count[block] = count.get(block, 0) + 1
        for name in names:
            bias = weights[name].ndim == 1
            kind = "out" if second else "in"
            lies = "" if bias else _turned(name, weights[name], width, reads=not second)
            half = "" if bias else sides.get(i, "")
            found[name] = f"blocks.{block}.mlp.{'b' if bias else 'W'}_{kind}{half}{lies}"


def _words(name: str) -> list[str]:
    """The words and numbers of a name.

    >>> _words("linear1l.weight"), _words("blocks.0.attn.W_Q")
    (['linear', '1', 'l', 'weight'], ['blocks', '0', 'attn', 'w', 'q'])
    """
    return _WORDS.findall(name.lower())


def _part(name: str) -> str:
    """The part of a network that a name tells; empty if it tells none."""
    words, lower = _words(name), name.lower()
    told = {*words}
    if told & _NORMS:
        return "norm"
    if told & _POSITIONS or "pos_emb" in lower:
        return "pos_embed.W_pos"
    in_attention = bool(told & _ATTENTION) or "self_attn" in lower
    last = [word for word in words if not word.isdigit() and word not in ("weight", "bias", "w", "b", "proj", "linear")]
    if (in_attention or {"q", "k", "v", "qkv"} & {*last[-1:]}) and last and last[-1] in _LETTERS:
        return f"attn.{_LETTERS[last[-1]]}"
    if in_attention:
        return "attn.QKV" if "in_proj" in lower or lower.endswith(("c_attn.weight", "c_attn.bias")) else "attn.O"
    if told & _READOUTS:
        return "unembed"
    return "embed.W_E" if told & _EMBEDDINGS else ""


def _layer(name: str) -> int:
    """The first number in a name that stands alone between points: its block."""
    return next((int(word) for word in name.split(".") if word.isdigit()), 0)


def _layer_of(name: str) -> str:
    """The layer of a weight or a bias: its name without the last word, or without what says that it is one."""
    home, _, last = name.rpartition(".")
    return home if last in ("weight", "bias") else re.sub(r"(^|[._])(W|b|w)_?", r"\1", name)


def _norm(name: str, bias: bool) -> str:
    words = _words(name)
    final = "f" in words or "final" in words or "lnf" in words or not any(w.isdigit() for w in name.split("."))
    numbers = [word for word in words if word in ("1", "2")]
    second = bool({"mlp", "ffn"} & {*words}) or numbers[-1:] == ["2"]
    home = "ln_final" if final else f"blocks.{_layer(name)}.ln{1 + second}"
    return f"{home}.{'b' if bias else 'w'}"


def _width(weights: Mapping[str, Tensor]) -> int:
    """The width of the embedding, or 0: its columns, or of its two sizes the one that other tensors have more often."""
    table = next((name for name, value in weights.items() if _part(name) == "embed.W_E" and value.ndim == 2), "")
    if not table or table.endswith(".weight"):
        return weights[table].shape[1] if table else 0
    others = [size for name, value in weights.items() if name != table for size in value.shape]
    return max(weights[table].shape[::-1], key=others.count)


def _turned(name: str, value: Tensor, width: int, reads: bool) -> str:
    """`.T` if a matrix lies the other way round; one of heads is [head d_model d_head], or what it writes behind."""
    if name.endswith("weight"):
        return ".T"
    here, other = (value.shape[-2], value.shape[-1]) if reads else (value.shape[-1], value.shape[-2])
    return ".T" if here != width and other == width else ""


def _halves(names: Sequence[str]) -> dict[str, str]:
    """Which of two embeddings is for a and which for b."""
    return dict(zip(names, ("[a]", "[b]"), strict=True)) if len(names) == 2 else {}


def _two_sides(weights: Mapping[str, Tensor], layers: list[list[str]]) -> dict[int, str]:
    """Whether the first two layers are those of a and of b: of one shape, and named so."""
    if len(layers) < 2:
        return {}
    names = [next(name for name in layer if weights[name].ndim == 2) for layer in layers[:2]]
    ends = [_words(_layer_of(name))[-1] for name in names]
    alike = weights[names[0]].shape == weights[names[1]].shape and _layer_of(names[0])[:-1] == _layer_of(names[1])[:-1]
    for first, second in ((0, 1), (1, 0)):
        if alike and ends[first] in _SIDES[0] and ends[second] in _SIDES[1] and not ends[0].isdigit():
            return {first: "[a]", second: "[b]"}
    return {}
