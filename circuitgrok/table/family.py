"""A family of columns of a run's table: how its names are made, what the number is, where its formula stands."""

import math
import re
from typing import NamedTuple

Range = tuple[float, float]  # the least and the largest value; infinite where there is no bound

ANY: Range = (-math.inf, math.inf)
NOT_NEGATIVE: Range = (0.0, math.inf)
FROM_ONE: Range = (1.0, math.inf)
NOT_POSITIVE: Range = (-math.inf, 0.0)
SHARE: Range = (0.0, 1.0)
COSINE: Range = (-1.0, 1.0)
ANGLE: Range = (0.0, math.pi)


class Place(NamedTuple):
    """What stands in a place of a name."""

    meaning: str
    pattern: str  # a regular expression


PLACES = {
    "role": Place("a part of the network", "embed|attention|mlp|unembed|normalization"),
    "tensor": Place("the name of a tensor of weights, such as `blocks.0.mlp.W_in`", r"\w+(?:\.\w+)+"),
    "h": Place("a head of a block, 0 to n_heads - 1", r"\d+"),
    "layer": Place("a block; left out in networks of one", r"\d+"),
    "q%": Place("a quantile over the neurons of a block", "10%|50%|90%"),
    "k": Place("a frequency, 1 to p // 2: all in `power_…`, elsewhere the key frequencies of the run", r"\d+"),
    "matrix": Place(
        "`W_E`, the embedding of the numbers (of MLPs on one-hot pairs, a's rows of W_in), or `W_L`, the map from the "
        "last layer's neurons to the logits (W_out W_U of a transformer, W_U of an MLP)",
        "W_E|W_L",
    ),
    "pair": Place("a product that the function sees as a whole: `qk` and `vo` of heads, `mlp` of neurons", "qk|vo|mlp"),
    "side": Place("a side of the split", "train|test"),
    "split": Place(
        "`train`, `test`, `all`, `test_mirror_seen` and `test_mirror_unseen`: test pairs (a, b) whose mirror (b, a) "
        "was trained on, or was not (for a = b it is not)",
        "train|test|all|test_mirror_seen|test_mirror_unseen",
    ),
    "position": Place("where attention goes: `a`, `b` or `=`", "a|b|="),
    "step part": Place(
        "a part of a step of training: `gradient`, `momentum` (of AdamW, SGD and RMSprop), `decay`, `noise` (of a "
        "walk), `constraint`, or `applied`, their sum",
        "gradient|momentum|decay|noise|constraint|applied",
    ),
    "z": Place("the curvature from which a direction counts, in nats per squared weight", r"\d+(?:\.\d+)?"),
    "irrep": Place("an irreducible representation of the task's group", r"[ABE]\d+|\d+(?:\+\d+)*"),
    "cut": Place(
        "what is taken out: `head h`; `attention`, all that it writes; `pattern`, who attends where; `cluster k`, the "
        "neurons tuned to k, `no cluster`, the others; `clusters`, their neurons as polynomials in waves of their "
        "frequency; `waves k`, the sum waves of k in the neurons, `key waves`, those of all key frequencies, "
        "`other waves`, all else that varies in the neurons; `mlp`; `skip`, the residual stream around the last MLP",
        r"head \d+|attention|pattern|cluster \d+|no cluster|clusters|waves \d+|key waves|other waves|mlp|skip",
    ),
    "random cut": Place(
        "`random as cluster k`, `random as no cluster`: as many neurons as these are, drawn at random",
        r"random as (?:cluster \d+|no cluster)",
    ),
    "by": Place(
        "what stands in its place: `zero`, its `mean` over all pairs, `uniform` attention, a `polynomial`",
        "zero|mean|uniform|polynomial",
    ),
}


class Family(NamedTuple):
    """Columns of one kind, whose names differ by what stands in the places of `name`.

    Attributes:
        name: Such as `loss[split]`: in brackets, words of `PLACES` stand for what they say; (…) may be left out.
        meaning: What the number is, in a sentence.
        unit: Of the number; 1 for a pure one.
        range: The values that it can have where it has one: nan says that it has none.
        source: A paper and its section, or "here".
        groups: Groups of `measure` that make it.
        file: Where its formula stands, in the package.
    """

    name: str
    meaning: str
    unit: str
    range: Range
    source: str
    groups: tuple[str, ...]
    file: str

    def holds(self, column: str) -> bool:
        """Whether a column of a table belongs to the family.

        >>> loss = Family("excluded_loss[k]", "Without frequency k.", "nats", NOT_NEGATIVE, "here", ("circuits",), "")
        >>> loss.holds("excluded_loss[17]"), loss.holds("excluded_loss[train]")
        (True, False)
        """
        return re.fullmatch(pattern(self.name), column) is not None


def pattern(name: str) -> str:
    r"""The regular expression of a family's name.

    >>> pattern("norm_excess[pair(, layer)]")
    'norm_excess\\[(?:qk|vo|mlp)(?:, (?:\\d+))?\\]'
    """
    stem, bracket, inside = name.partition("[")
    words = "|".join(re.escape(word) for word in sorted(PLACES, key=len, reverse=True))
    pieces = re.split(rf"(?<![\w%])({words})(?![\w%])|(\(|\))", inside)
    found = "".join(_piece(piece) for piece in pieces if piece)
    return re.escape(stem + bracket) + found


def _piece(text: str) -> str:
    if text in PLACES:
        return f"(?:{PLACES[text].pattern})"
    return {"(": "(?:", ")": ")?"}.get(text) or re.escape(text).replace(r"\ ", " ")


def in_words(bounds: Range) -> str:
    """A range as text.

    >>> in_words(SHARE), in_words(NOT_NEGATIVE), in_words(ANGLE), in_words(ANY), in_words(NOT_POSITIVE)
    ('0..1', '0..', '0..π', 'any', '..0')
    """
    if bounds == ANY:
        return "any"
    low, high = ("" if math.isinf(bound) else "π" if bound == math.pi else f"{bound:.3g}" for bound in bounds)
    return f"{low}..{high}"
