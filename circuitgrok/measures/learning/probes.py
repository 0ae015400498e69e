"""Can a linear probe tell from a network's activations whether a pair was trained on?

A logistic regression reads the features of each pair (its neurons, its residual stream) and guesses whether the pair
is in the training set; the area under its ROC curve on pairs that it has not seen says how well. The split is drawn at
random, so that nothing but memory can tell.

Two traps. Mirror pairs (a, b) and (b, a) look the same to a network that is symmetric in a and b. If one of them is in
the probe's own training folds and the other is held out, a probe with many features knows the other by heart wherever
both lie on the same side of the split, and every example counts twice in the error bar. So a pair and its mirror always
share a fold. And the null is not exactly 1/2 with an error from a formula: it is drawn, by handing the memberships of
each pair and its mirror on to another pair and its mirror, so that whatever the two sides have in common stays.

Source: G. Alain, Y. Bengio, "Understanding intermediate layers using linear classifier probes" (arXiv:1610.01644).
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitgrok.measures.spectra.fourier import grid_side

if TYPE_CHECKING:
    import numpy as np


class Probe(NamedTuple):
    """How well membership can be read off, as areas under the ROC curve: 1/2 is chance, 1 is always.

    Attributes:
        auc: Mean over the held-out folds.
        stderr: Standard error of that mean, from the spread over folds. The folds share most of what the probe was
            fitted on, so that it is a guide; the spread of the null is the test.
        null_mean: Mean over permuted memberships.
        null_std: Their standard deviation.
        p_value: Share of all drawings, the true one among them, that reach `auc`: at least 1 / (permutations + 1).
    """

    auc: float
    stderr: float
    null_mean: float
    null_std: float
    p_value: float


def membership_probe(
    features: Float[Tensor, "pair feature"],
    is_train: Bool[Tensor, " pair"],
    *,
    seed: int,
    n_folds: int = 5,
    n_permutations: int = 20,
) -> Probe:
    """How well a linear probe tells training pairs from test pairs, held out with their mirrors.

    Args:
        features: Of one network, of all pairs, as in `measures`.
        is_train: The training set.
        seed: Of the folds and of the permutations.
        n_folds: Parts of the pairs, each held out once.
        n_permutations: Draws of the null; each costs as much as the probe itself.

    Returns:
        See `Probe`. Features are standardised on the folds that the probe is fitted on, and the regression has
        scikit-learn's ridge penalty, C = 1.

    Raises:
        ValueError: As for `mirror_folds`, or fewer than two permutations.

    Example:
        >>> is_train = torch.rand(121, generator=torch.Generator().manual_seed(0)) < 0.5
        >>> told = membership_probe(is_train[:, None].double(), is_train, seed=0, n_permutations=4)
        >>> told.auc, told.p_value
        (1.0, 0.2)
    """
    if n_permutations < 2:
        raise ValueError(f"a null needs two permutations or more; got {n_permutations}")
    generator = torch.Generator().manual_seed(seed)
    table = features.double().cpu().numpy()
    areas = _held_out_areas(table, is_train, mirror_folds(is_train, n_folds=n_folds, generator=generator))
    null = []
    for _ in range(n_permutations):
        permuted = permuted_membership(is_train, generator=generator)
        folds = mirror_folds(permuted, n_folds=n_folds, generator=generator)
        null.append(_held_out_areas(table, permuted, folds).mean())
    drawn, auc = torch.stack(null), areas.mean()
    return Probe(
        auc=auc.item(),
        stderr=areas.std().item() / math.sqrt(n_folds),
        null_mean=drawn.mean().item(),
        null_std=drawn.std().item(),
        p_value=(1 + int((drawn >= auc).sum())) / (1 + n_permutations),
    )


def mirror_folds(is_train: Bool[Tensor, " pair"], *, n_folds: int, generator: torch.Generator) -> Int[Tensor, " pair"]:
    """The fold of each pair, the same for (a, b) and (b, a), and balanced between members and others.

    Pairs with their mirrors are sorted by who of the two is a member (pairs a = b by whether they are), shuffled, and
    dealt out in turn, so that every fold gets the same number of each kind, give or take one.

    Args:
        is_train: Members, of all pairs.
        n_folds: At least 2.
        generator: Shuffles.

    Returns:
        0..n_folds - 1.

    Raises:
        ValueError: The number of pairs is not a square, there are fewer than two folds, or some fold would lack
            members or others.

    Example:
        >>> is_train = torch.arange(49) % 3 == 0
        >>> folds = mirror_folds(is_train, n_folds=3, generator=torch.Generator().manual_seed(0)).reshape(7, 7)
        >>> bool((folds == folds.T).all()), folds.flatten().bincount()
        (True, tensor([17, 16, 16]))
    """
    if n_folds < 2:
        raise ValueError(f"a probe needs two folds or more; got {n_folds}")
    upper, lower = _mirrors(is_train)
    diagonal = upper == lower
    kind = is_train[upper].long() + 2 * is_train[lower].long() + 4 * diagonal
    shuffled = torch.randperm(len(upper), generator=generator)
    dealt = torch.empty_like(upper)
    dealt[shuffled[kind[shuffled].argsort(stable=True)]] = torch.arange(len(upper)) % n_folds
    folds = torch.empty_like(is_train, dtype=torch.long)
    folds[upper], folds[lower] = dealt, dealt
    for side in (is_train, ~is_train):
        if len(folds[side].unique()) < n_folds:
            raise ValueError(f"each of {n_folds} folds needs a pair on each side; there are {int(side.sum())} on one")
    return folds


def permuted_membership(is_train: Bool[Tensor, " pair"], *, generator: torch.Generator) -> Bool[Tensor, " pair"]:
    """Memberships dealt out anew: those of (a, b) and (b, a) go together to another such pair, a = b among themselves.

    Args:
        is_train: Members, of all pairs.
        generator: Draws the permutation.

    Raises:
        ValueError: The number of pairs is not a square.

    Example:
        >>> is_train = torch.arange(49) % 3 == 0
        >>> permuted = permuted_membership(is_train, generator=torch.Generator().manual_seed(0))
        >>> int(permuted.sum()), torch.equal(permuted, is_train)
        (17, False)
    """
    upper, lower = _mirrors(is_train)
    permuted = torch.empty_like(is_train)
    for here in (upper == lower, upper != lower):
        above, below = upper[here], lower[here]
        order = torch.randperm(len(above), generator=generator)
        permuted[above], permuted[below] = is_train[above][order], is_train[below][order]
    return permuted


def _mirrors(is_train: Bool[Tensor, " pair"]) -> tuple[Int[Tensor, " mirror"], Int[Tensor, " mirror"]]:
    """Rows of (a, b) and of (b, a), for a <= b."""
    p = grid_side(is_train[:, None].double())
    a, b = torch.triu_indices(p, p)
    return a * p + b, b * p + a


def _held_out_areas(table: "np.ndarray", is_member: Tensor, folds: Tensor) -> Float[Tensor, " fold"]:
    """The area under the ROC curve on each fold, of a probe fitted on the others."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    members = is_member.cpu().numpy()
    areas = []
    for fold in range(int(folds.max()) + 1):
        held_out = (folds == fold).cpu().numpy()
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        probe.fit(table[~held_out], members[~held_out])
        areas.append(roc_auc_score(members[held_out], probe.decision_function(table[held_out])))
    return torch.tensor(areas, dtype=torch.float64)
