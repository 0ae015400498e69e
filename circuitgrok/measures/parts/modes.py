"""Parts of a network that are found without asking for waves, in a matrix of blocks by pairs.

Rows are blocks (neurons, heads), columns are pairs, and what stands there is a susceptibility, an activation, or any
other number that a block has for a pair. Rows are divided by their length and columns by theirs, in turn, so that
neither loud blocks nor pairs of large loss count more than others. Three ways from there:

    subspaces       neurons of one frequency and all phases are not alike; but their rows X lie in few dimensions, and
                    others' in others. Each row is written by all rows, the least squares of X - Z X with a ridge,
                    Z = X X' (X X' + 1)^-1: it takes what lies in its own subspace, whatever the phases. The sizes of Z
                    are an affinity, and its spectral cuts are the groups. A ridge from 0.1 to 3 gives about the same
    non-negative    rows ~ loadings @ patterns, both not negative, of the two signs side by side
    independent     patterns whose values over pairs are as independent as may be

The last two take rows at length 1, and columns as they are: give them `scaled` rows to have all pairs count alike. None
of the three knows how tokens are numbered: renaming them changes nothing.

Source: Lu et al. 2012 (ECCV) for rows that write each other, after Costeira and Kanade 1998; its cuts by Damle, Minden
and Ying 2019 (no random start); Lee and Seung 1999; Hyvarinen and Oja 2000; each as in scikit-learn.
"""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.geometry import unit

TOLERANCE = 1e-4
RIDGE = 1.0  # in squared lengths of a row
ROUNDS = 3  # of rows and columns in turn


class Modes(NamedTuple):
    """A factorisation of rows of length 1.

    Attributes:
        loadings: How much of each pattern a block has.
        patterns: Over pairs; of `nonnegative_modes` what is positive less what is negative.
    """

    loadings: Float[Tensor, "block mode"]
    patterns: Float[Tensor, "mode pair"]

    @property
    def groups(self) -> Int[Tensor, " block"]:
        """The mode that each block has most of, by size."""
        return self.loadings.abs().argmax(1)


def scaled(rows: Float[Tensor, "block pair"]) -> Float[Tensor, "block pair"]:
    """Rows of length 1, after rows and columns were divided by their lengths in turn; zeros stay zeros. In float64.

    Example:
        >>> scaled(torch.tensor([[1.0, 100.0], [1.0, -100.0]]))
        tensor([[ 0.7071,  0.7071],
                [ 0.7071, -0.7071]], dtype=torch.float64)
    """
    found = rows.double()
    for _ in range(ROUNDS):
        found = unit(unit(found).T).T
    return unit(found)


def affinity(rows: Float[Tensor, "block pair"], ridge: float = RIDGE) -> Float[Tensor, "block block"]:
    """How much of each scaled row is taken from each other one when it is written by all: |X X' (X X' + ridge)^-1|.

    Example:
        >>> rows = torch.tensor([[1.0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]])
        >>> (affinity(rows) > 0).int()
        tensor([[1, 1, 0, 0],
                [1, 1, 0, 0],
                [0, 0, 1, 1],
                [0, 0, 1, 1]], dtype=torch.int32)
    """
    there = scaled(rows)
    products = there @ there.T
    return torch.linalg.solve(products + ridge * torch.eye(len(products)).to(products), products).abs()


def subspace_groups(rows: Float[Tensor, "block pair"], n: int) -> Int[Tensor, " block"]:
    """Groups of blocks whose rows lie in subspaces of their own, numbered from 0 by their size.

    Args:
        rows: Blocks by pairs.
        n: Number of groups, below that of blocks.

    Example:
        >>> draws = torch.Generator().manual_seed(0)
        >>> bases = torch.randn(2, 3, 60, generator=draws)  # two subspaces of three dimensions
        >>> rows = torch.randn(2, 10, 3, generator=draws) @ bases
        >>> subspace_groups(rows.flatten(0, 1), 2).tolist() in ([0] * 10 + [1] * 10, [1] * 10 + [0] * 10)
        True
    """
    from sklearn.cluster import SpectralClustering

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)  # of parts that nothing joins: they are groups
        model = SpectralClustering(n, affinity="precomputed", assign_labels="cluster_qr", random_state=0)
        found = torch.from_numpy(model.fit_predict(affinity(rows).fill_diagonal_(0).cpu().numpy())).long()
    order = torch.bincount(found, minlength=n).argsort(descending=True, stable=True)
    return order.argsort()[found]


def nonnegative_modes(rows: Float[Tensor, "block pair"], n: int, seed: int = 0) -> Modes:
    """Patterns that add up, none against another: positive and negative parts of rows of length 1, factorised.

    Example:
        >>> rows = torch.tensor([[-1.0, -1, 0, 0], [-3, -3, 0, 0], [0, 0, -2, 1]])
        >>> groups = nonnegative_modes(rows, 2).groups
        >>> groups[0] == groups[1], groups[0] == groups[2]
        (tensor(True), tensor(False))
    """
    from sklearn.decomposition import NMF

    signed = unit(rows.double())
    both = torch.cat([signed.clamp(min=0), (-signed).clamp(min=0)], dim=1).cpu().numpy()
    model = NMF(n, init="nndsvda", max_iter=1000, tol=TOLERANCE, random_state=seed)  # pyright: ignore[reportArgumentType]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=_unfinished())
        loadings = model.fit_transform(both)
    above, below = np.split(model.components_, 2, axis=1)
    return Modes(torch.from_numpy(loadings), torch.from_numpy(above - below))


def independent_modes(rows: Float[Tensor, "block pair"], n: int, seed: int = 0) -> Modes:
    """Patterns that are as independent over pairs as they can be made by turning the leading components.

    Example:
        >>> sources = torch.rand(2, 500, generator=torch.Generator().manual_seed(0)) ** 8  # sparse
        >>> found = independent_modes(torch.tensor([[1.0, 0], [3, 0], [0, -2]]) @ sources, 2)
        >>> found.groups[0] == found.groups[1], found.patterns.shape
        (tensor(True), torch.Size([2, 500]))
    """
    from sklearn.decomposition import FastICA

    model = FastICA(n, whiten="unit-variance", max_iter=1000, tol=TOLERANCE, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=_unfinished())
        patterns = np.asarray(model.fit_transform(unit(rows.double()).cpu().numpy().T)).T
    return Modes(torch.from_numpy(model.mixing_), torch.from_numpy(np.ascontiguousarray(patterns)))


def _unfinished() -> type[Warning]:
    from sklearn.exceptions import ConvergenceWarning

    return ConvergenceWarning
