"""Parts of a network by name: one small grammar for ablations, in Python and in the browser.

A part is `[layer L] what numbers`, the numbers separated by commas:

    head 0              one attention head's mixed values z
    attention           all that attention writes, b_O included
    pattern             who attends where, of all heads (last block)
    neuron 3,7          some neurons
    cluster 5,8         the neurons that are tuned to one of these frequencies, with a purity of .85 or more
    no cluster 5,8      all other neurons
    waves 5,8           the sum waves of these frequencies in each neuron; `freq 5,8` is the same
    only waves 5,8      all that varies in the neurons but these waves; `only freq 5,8` is the same
    mlp                 all that the neurons write, b_out included
    skip                the stream that passes by the last block's neurons
    layer 0             all that a block writes
    excluded 5,8        the sum waves of these frequencies in the logits, as in Nanda's excluded loss
    restricted 5,8      all that varies in the logits but these waves, as in Nanda's restricted loss

Without `layer L` the last block is meant, or the last hidden layer, at the last position; parts of earlier blocks are
replaced at every position. What stands in a part's place is its fill.

Source: the parts, and what it means to leave one out, are those of `measures.circuits.ablations` and
`measures.circuits.restricted`; K. Wang et al. 2022 (arXiv:2211.00593) for ablation by means.
"""

import re
from typing import Literal, NamedTuple

from circuitgrok.errors import UserError, nearest

Fill = Literal["zero", "mean", "uniform", "polynomial"]
EVERYDAY = {"freq": "waves", "only freq": "only waves"}
# Of each kind of part: what may stand in its place, the usual one first; and in which order parts are replaced.
FILLS: dict[str, tuple[Fill, ...]] = {
    "pattern": ("uniform", "mean"),
    "head": ("zero", "mean"),
    "attention": ("zero", "mean"),
    "neuron": ("zero", "mean"),
    "cluster": ("zero", "mean", "polynomial"),
    "no cluster": ("zero", "mean"),
    "waves": ("zero",),
    "only waves": ("mean",),
    "layer": ("zero", "mean"),
    "mlp": ("zero", "mean"),
    "skip": ("zero", "mean"),
    "excluded": ("zero",),
    "restricted": ("mean",),
}
COUNTED = ("head", "neuron", "cluster", "no cluster", "waves", "only waves", "excluded", "restricted")
OF_FREQUENCIES = ("cluster", "no cluster", "waves", "only waves", "excluded", "restricted")
OF_ANY_LAYER = ("head", "attention", "neuron", "mlp", "layer")


class Part(NamedTuple):
    """A part of a network.

    Attributes:
        what: A key of `FILLS`.
        numbers: Of heads, neurons or frequencies, distinct and in order; none for parts that there is one of.
        layer: Counted from 0; None for the last.
    """

    what: str
    numbers: tuple[int, ...] = ()
    layer: int | None = None

    def __str__(self) -> str:
        words = [] if self.layer is None else [f"layer {self.layer}"]
        words += [] if self.what == "layer" else [self.what]
        return " ".join(words + ([",".join(map(str, self.numbers))] if self.numbers else []))


def parse(text: str) -> Part:
    """The part that a name means, its everyday words put in the house's.

    Raises:
        UserError: It is no part's name; the message lists the kinds that there are.

    Example:
        >>> parse("freq 8, 5"), str(parse("layer 0 head 2")), parse("layer 1")
        (Part(what='waves', numbers=(5, 8), layer=None), 'layer 0 head 2', Part(what='layer', numbers=(), layer=1))
    """
    found = re.fullmatch(r"(?:layer\s+(\d+)\s*)?([a-z ]*?)\s*((?:\d+\s*,\s*)*\d+)?", text.strip())
    if not found:
        raise _unknown(text)
    layer = None if found[1] is None else int(found[1])
    said = " ".join(found[2].split()) or ("layer" if layer is not None and not found[3] else "")
    what = EVERYDAY.get(said, said)
    if what not in FILLS or (what == "layer") != (said == "layer" and layer is not None):
        raise _unknown(text)
    numbers = tuple(sorted({int(one) for one in re.findall(r"\d+", found[3] or "")}))
    if (what in COUNTED) != bool(numbers):
        needs = "takes numbers, such as" if what in COUNTED else "takes no numbers:"
        raise UserError(f"a part {what!r} {needs} {what!r}{' 0,1' * (what in COUNTED)}; got {text!r}")
    if what == "head" and len(numbers) > 1:
        raise UserError(f"a part is one head; give an edit for each of several; got {text!r}")
    if layer is not None and what not in OF_ANY_LAYER:
        raise UserError(f"{what!r} is a part of the last block alone, without 'layer'; got {text!r}")
    return Part(what, numbers, layer)


def _unknown(text: str) -> UserError:
    kinds = [f"{what} 0" if what in COUNTED else what for what in FILLS if what != "layer"]
    return UserError(f"no part {text!r}{nearest(text, kinds)}; parts are {', '.join(kinds)}, layer 0, layer 0 head 0")
