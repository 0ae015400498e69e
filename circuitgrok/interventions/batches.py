"""Batches: a step that sees some of the training pairs, so that its gradient is a random one.

Which pairs, follows from the run's `noise_seed` and the step's number alone, so that nothing has to be remembered: a
run that goes on sees the batches of the unbroken one, and has the same in a stack as alone.

Source: for the scale of the noise S. McCandlish et al. 2018 (arXiv:1812.06162), section 2.2.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from circuitgrok.interventions.base import Intervention, applied
from circuitgrok.interventions.noise import streams
from circuitgrok.tree import Params, combine, dot, norm

PERMUTATIONS_KEPT = 128  # of runs, for as long as an epoch


class Batches(Intervention):
    """What a step sees of the training pairs: `rule(seeds, n_pairs, step)` gives their places, `[run pair]`."""

    section: ClassVar[str] = "batches"

    def seen(self, n_pairs: int, step: int) -> int:
        """How many pairs a step sees."""
        return applied([self])([0], n_pairs, step).shape[1]


class MiniBatch(Batches):
    """Each step sees so many training pairs in place of all.

    By default an epoch is a random order of all pairs, cut into batches; where their number is no multiple the last
    batch of an epoch is smaller, as with torch's `DataLoader(shuffle=True)`. With replacement every batch is drawn from
    all pairs, and a pair may be in it twice.

    Example:
        >>> from circuitgrok.interventions.base import applied
        >>> places = applied([MiniBatch(batch_size=2)])
        >>> epoch = [place for step in range(3) for place in places([0], n_pairs=5, step=step)[0].tolist()]
        >>> sorted(epoch), [len(places([0], n_pairs=5, step=step)[0]) for step in range(4)]
        ([0, 1, 2, 3, 4], [2, 2, 1, 2])
    """

    kind = "batch_size"
    capturable = True
    off = None
    said = "batches of {}"
    batch_size: int = Field(ge=1, description="training pairs that a step sees; none: all of them")
    batch_replacement: bool = Field(
        default=False, description="draw every batch from all pairs; off: go through them in a new order each epoch"
    )

    def check(self, config: Any) -> None:
        """A batch is less than all."""
        n = config.task.n_train
        if self.batch_size >= n and not self.batch_replacement:
            raise ValueError(
                f"batch_size must be below the number of training pairs, {n}: leave it out for the full batch; "
                f"got {self.batch_size}"
            )

    def seen(self, n_pairs: int, step: int) -> int:
        """How many pairs a step sees: fewer at the end of an epoch."""
        if self.batch_replacement:
            return self.batch_size
        start = step % -(-n_pairs // self.batch_size) * self.batch_size
        return min(self.batch_size, n_pairs - start)

    @staticmethod
    def rule(
        seeds: Sequence[int], n_pairs: int, step: int, batch_size: int, batch_replacement: bool
    ) -> Int[Tensor, "run pair"]:
        """Places of the pairs that a step sees, for each run."""
        if batch_replacement:
            drawing = streams(seeds, "batches", step)
            return torch.stack([torch.randint(n_pairs, (batch_size,), generator=one) for one in drawing])
        epoch, batch = divmod(step, -(-n_pairs // batch_size))
        start = batch * batch_size
        return torch.stack([_order(seed, n_pairs, epoch)[start : start + batch_size] for seed in seeds])


@lru_cache(maxsize=PERMUTATIONS_KEPT)
def _order(seed: int, n_pairs: int, epoch: int) -> Int[Tensor, " pair"]:
    """The order in which a run goes through its pairs in an epoch."""
    [generator] = streams([seed], "batches", epoch)
    return torch.randperm(n_pairs, generator=generator)


def noise_columns(
    weights: Params, full: Params, batch: Params, n_pairs: int, batch_size: int, replacement: bool
) -> dict[str, Float[Tensor, " run"]]:
    """How far the gradient of a batch is from that of all pairs, `[run]`, in the units of the gradient.

    Args:
        weights: At which both are taken, `[run ...]`.
        full: Gradient of the mean loss of all training pairs.
        batch: Of the mean loss of the batch.
        n_pairs: Number of training pairs.
        batch_size: Pairs of this batch.
        replacement: Whether it was drawn with replacement.

    Returns:
        `full_gradient_norm`; `batch_noise_norm`, the length of the difference; `batch_noise_radial`, its part along the
        weights, positive where descent by the batch makes them shorter than descent by all; and `noise_scale`, tr(S) /
        |g|^2 with S the covariance of the pairs' gradients, of which one batch gives an estimate: the size of a batch
        whose noise is as long as the gradient (nan where that is zero).

    Example:
        >>> at = {"w": torch.tensor([[3.0, 4.0]])}
        >>> full, batch = {"w": torch.tensor([[1.0, 0.0]])}, {"w": torch.tensor([[1.0, 0.5]])}
        >>> found = noise_columns(at, full, batch, n_pairs=101, batch_size=1, replacement=True)
        >>> found["batch_noise_norm"].item(), round(found["batch_noise_radial"].item(), 6), found["noise_scale"].item()
        (0.5, 0.4, 0.25)

    Source: McCandlish et al. 2018, equation 2.9; a batch of B of n pairs without replacement has the covariance
    S (n - B) / (B (n - 1)).
    """
    noise = combine(lambda b, g: b.double() - g.double(), batch, full)
    length, whole, r = norm(noise, axes=1), norm(full, axes=1), norm(weights, axes=1)
    share = 1.0 if replacement else (n_pairs - batch_size) / (n_pairs - 1)
    return {
        "full_gradient_norm": whole,
        "batch_noise_norm": length,
        "batch_noise_radial": dot(noise, weights, axes=1) / torch.where(r > 0, r, torch.nan),
        "noise_scale": batch_size / share * length.square() / torch.where(whole > 0, whole, torch.nan).square(),
    }
