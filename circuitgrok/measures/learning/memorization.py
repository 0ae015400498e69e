"""How much a network has memorised: what is left without the circuit, by margins, pair by pair, and by neurons.

The logits split into what the circuit writes and the rest (`restricted.parts_of`). A
pair that the rest alone answers right is memorised, one that the circuit alone answers right is understood, and many
a pair is both while the circuit forms. The two parts add up to the logits plus their mean over the pairs, which
belongs to neither and is left in both.

Two more views need no key frequencies: training labels that were replaced by random ones can only be fitted by heart,
and neurons that spread over many frequencies (low inverse participation ratio) are those that do it.

Everything takes leading stack axes, goes through `torch.func.vmap`, and answers in float64.

Source: Nanda et al. 2023 (arXiv:2301.05217), section 5.1, for the split; V. Varma et al. 2023 (arXiv:2309.02390) for
efficiency; D. Doshi et al. 2023 (arXiv:2310.13061) for corrupted labels and pruning.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitgrok.measures.circuits.restricted import Parts
from circuitgrok.measures.scores import margin, picked

LOW_IPR = 0.5  # a neuron none of whose frequencies holds half of its energy is below: the sum of s^2 is at most max s


class Margins(NamedTuple):
    """One number for the network, one for its circuit alone and one for the rest alone.

    Attributes:
        whole: Of all the logits.
        circuit: Of what the circuit writes.
        rest: Of what is left without the circuit.
    """

    whole: Float[Tensor, "*stack"]
    circuit: Float[Tensor, "*stack"]
    rest: Float[Tensor, "*stack"]


def mean_margins(parts: Parts, labels: Int[Tensor, " pair"], where: Bool[Tensor, " pair"]) -> Margins:
    """Mean over pairs of the right logit less the best of the others, for the whole, the circuit and the rest.

    Args:
        parts: Of the logits, from `restricted.parts_of`.
        labels: The right class of each pair.
        where: The pairs to average over: the training set, or the test set.

    Returns:
        In units of the logits. The best rival differs from part to part, so that they do not add up; the circuit's
        is below zero before there is one.

    Raises:
        ValueError: No pair is picked.

    Example:
        >>> from circuitgrok.measures.circuits.restricted import parts_of
        >>> a, b, c = torch.meshgrid(*[torch.arange(5)] * 3, indexing="ij")
        >>> clock = 8 * torch.cos(2 * torch.pi / 5 * (a + b - c)).reshape(25, 5)
        >>> labels = ((a + b) % 5)[..., 0].flatten()
        >>> whole, circuit, _ = mean_margins(parts_of(clock, torch.tensor([1])), labels, labels < 5)
        >>> round(whole.item(), 4), round(circuit.item(), 4)  # 8 - 8 cos(2 pi / 5)
        (5.5279, 5.5279)
    """
    pairs = picked(where)
    return Margins(*(margin(part[..., pairs, :], labels[pairs]).mean(-1) for part in parts))


class Shares(NamedTuple):
    """Shares of the mean margin; they sum to 1.

    Attributes:
        circuit: Mean margin of the circuit alone over that of the whole.
        memorised: What is missing to 1.
    """

    circuit: Float[Tensor, "*stack"]
    memorised: Float[Tensor, "*stack"]


def margin_shares(margins: Margins) -> Shares:
    """Circuit share and memorised share of the network's answers.

    Args:
        margins: From `mean_margins`, on the training set by custom.

    Returns:
        About 0..1 in a run that groks: memorised 1 before there is a circuit (a little above: the circuit's margin may
        be negative), 0 after clean-up (a little below, where the rest disturbs). Nan where the whole has no
        positive margin, as before memorisation: there is nothing to share.

    Example:
        >>> circuit, memorised = margin_shares(Margins(*torch.tensor([[10.0, -1.0], [4.0, 0.5], [3.0, 0.2]])))
        >>> circuit, memorised
        (tensor([0.4000,    nan]), tensor([0.6000,    nan]))
    """
    circuit = torch.where(margins.whole > 0, margins.circuit / margins.whole, torch.nan)
    return Shares(circuit, 1 - circuit)


def efficiency(margins: Margins, norm: Float[Tensor, "*stack"]) -> Margins:
    """Mean margin per unit of weight norm: of the whole, of the circuit and of the rest.

    All three are divided by the norm of the whole network, because weights do not come apart as logits do; for the
    circuit and the rest this is a lower bound, as either could do with less. Margins grow as a power of the norm, so
    that efficiencies compare at equal training loss only, between networks or along a run.

    Args:
        margins: From `mean_margins` on the training set.
        norm: The orbit-minimal norm (`orbits.orbit_minimal_norm(...).total`), which rescaled neurons cannot change.

    Returns:
        In units of the logits per unit of the weights; negative where the margin is.

    Example:
        >>> efficiency(Margins(*torch.tensor([12.0, 9.0, 2.0])), torch.tensor(3.0))
        Margins(whole=tensor(4.), circuit=tensor(3.), rest=tensor(0.6667))

    Source: Varma et al. 2023, whose measure is the logit per parameter norm.
    """
    return Margins(*(part / norm for part in margins))


class Right(NamedTuple):
    """Whether each pair is answered right.

    Attributes:
        whole: By the network.
        circuit: By its circuit alone.
        rest: By the rest alone.
    """

    whole: Bool[Tensor, "*stack pair"]
    circuit: Bool[Tensor, "*stack pair"]
    rest: Bool[Tensor, "*stack pair"]


def answered_right(parts: Parts, labels: Int[Tensor, " pair"]) -> Right:
    """Which pairs the whole, the circuit alone and the rest alone answer right.

    Args:
        parts: Of the logits, from `restricted.parts_of`.
        labels: The right class of each pair, or the one it was trained on.

    Example:
        >>> answered_right(Parts(*torch.tensor([[[9.0, 0.0]], [[0.0, 1.0]], [[9.0, 0.0]]])), torch.tensor([0])).rest
        tensor([True])
    """
    return Right(*(part.argmax(-1) == labels for part in parts))


class Credit(NamedTuple):
    """Shares of a set of pairs by who answers them right alone; the first four sum to 1.

    Attributes:
        both: The circuit does, and so does the rest.
        circuit_only: The circuit does.
        rest_only: The rest does: memorised, and not yet understood.
        neither: Neither part does.
        together: Those of `neither` that the whole answers right all the same.
    """

    both: Float[Tensor, "*stack"]
    circuit_only: Float[Tensor, "*stack"]
    rest_only: Float[Tensor, "*stack"]
    neither: Float[Tensor, "*stack"]
    together: Float[Tensor, "*stack"]


def credit(right: Right, where: Bool[Tensor, " pair"]) -> Credit:
    """Which part of the network is to be credited with how many of the pairs.

    Args:
        right: From `answered_right`.
        where: The pairs to count, the training set by custom. On the test set the rest is right by chance only.

    Returns:
        0..1, counts over a count.

    Raises:
        ValueError: No pair is picked.

    Example:
        >>> right = torch.tensor([[True, True, True, False], [True, False, False, False], [True, True, False, False]])
        >>> [share.item() for share in credit(Right(*right), torch.ones(4, dtype=torch.bool))]
        [0.25, 0.0, 0.25, 0.5, 0.25]
    """
    pairs = picked(where)
    whole, circuit, rest = (part[..., pairs] for part in right)
    neither = ~circuit & ~rest
    kinds = (circuit & rest, circuit & ~rest, ~circuit & rest, neither, neither & whole)
    return Credit(*(kind.double().mean(-1) for kind in kinds))


class LabelFit(NamedTuple):
    """Accuracies on training pairs, some of whose labels were drawn at random; nan for a set without a pair.

    Attributes:
        clean: On the pairs that kept their label.
        corrupted: On the others, against the label that was drawn: what was learnt by heart.
        corrected: On the others, against the true label, which was never shown.
    """

    clean: Float[Tensor, "*stack"]
    corrupted: Float[Tensor, "*stack"]
    corrected: Float[Tensor, "*stack"]


def label_fit(
    logits: Float[Tensor, "*stack pair c"],
    drawn: Int[Tensor, " pair"],
    true: Int[Tensor, " pair"],
    is_train: Bool[Tensor, " pair"],
    corrupted: Bool[Tensor, " pair"],
) -> LabelFit:
    """How a network fits training labels of which some are wrong: by heart, or as they should have been.

    Args:
        logits: At the last position, one row per pair.
        drawn: The labels that were trained on.
        true: The right answers.
        is_train: The training set.
        corrupted: Pairs whose label was replaced; only those of the training set matter. A label drawn at random is the
            true one by chance for 1 in p of them, unless the rule that drew it forbids that.

    Returns:
        0..1. (1, 1, 0) is a network that memorised beside whatever else it does, (1, 0, 1) one that understood and
        overrules its training labels; corrupted and corrected exceed 1 together by the labels equal by chance.

    Example:
        >>> drawn, true, all_pairs = torch.tensor([0, 2, 2]), torch.tensor([0, 1, 2]), torch.ones(3, dtype=torch.bool)
        >>> fit = label_fit(torch.eye(3), drawn, true, all_pairs, drawn != true)
        >>> [x.item() for x in fit]
        [1.0, 0.0, 1.0]

    Source: Doshi et al. 2023, where weight decay makes `corrected` overtake `corrupted`.
    """
    answers = logits.argmax(-1)
    sets = ((is_train & ~corrupted, drawn), (is_train & corrupted, drawn), (is_train & corrupted, true))
    return LabelFit(*((answers == labels)[..., where].double().mean(-1) for where, labels in sets))


def low_ipr_share(ipr: Float[Tensor, "*stack neuron"], *, below: float = LOW_IPR) -> Float[Tensor, "*stack"]:
    """Share of the neurons that are spread over many frequencies.

    Args:
        ipr: Inverse participation ratio of each neuron (`neurons.inverse_participation` of what it reads or
            writes); nan for a neuron that does neither, which is not counted.
        below: Level under which a ratio is low.

    Returns:
        0..1; nan if no neuron has a ratio.

    Example:
        >>> low_ipr_share(torch.tensor([0.1, 0.3, 0.9, torch.nan]))
        tensor(0.6667, dtype=torch.float64)

    Source: Doshi et al. 2023, where neurons of low ratio memorise.
    """
    return (ipr < below).double().sum(-1) / (~ipr.isnan()).sum(-1)
