"""Losses along chains by us and by devinterp 1.3.2 at the same settings; devinterp need not be installed."""

import math
import time
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from circuitgrok.exact.deep_linear import DeepLinear
from circuitgrok.landscape.llc import estimate_llc
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.samplers.target import LossGrad


def our_losses(landscape: DeepLinear, how: Sampling, seed: int) -> Tensor:
    """Losses along our chains from a most singular point, `[chain draw]`."""
    return estimate_llc(lambda w: LossGrad(*landscape.loss(w)), landscape.point[None], 1000, how, seeds=[seed]).traces[
        0
    ]


def devinterp_losses(landscape: DeepLinear, how: Sampling, seed: int) -> Tensor:
    """Losses along devinterp's chains, `[chain draw]`, as `our_losses` has them.

    They run through a module and a data loader, whose one batch is all of H_0 inputs of identity covariance. Their lr
    is our step size (drift lr / 2, noise of variance lr). They record the loss before a step and we after it.

    Raises:
        ImportError: devinterp is not installed.
    """
    from devinterp.optim.sgmcmc import SGMCMC  # pyright: ignore[reportMissingImports]
    from devinterp.slt.sampler import estimate_learning_coeff_with_summary  # pyright: ignore[reportMissingImports]
    from torch.utils.data import DataLoader, TensorDataset

    layers = [torch.nn.Linear(n_in, n_out, bias=False, dtype=torch.float64) for n_out, n_in in landscape.shapes]
    for layer, weights in zip(layers, landscape.layers(landscape.point[None]), strict=True):
        layer.weight.data = weights[0].clone()
    inputs = math.sqrt(landscape.widths[0]) * torch.eye(landscape.widths[0], dtype=torch.float64)
    data = TensorDataset(inputs, inputs @ landscape.truth.T)
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        found = estimate_learning_coeff_with_summary(
            torch.nn.Sequential(*layers),
            DataLoader(data, batch_size=len(inputs)),
            evaluate=lambda model, batch: (model(batch[0]) - batch[1]).square().sum(1).mean() / 2,
            sampling_method=SGMCMC.sgld,  # pyright: ignore[reportArgumentType]
            optimizer_kwargs={
                "lr": how.step_size,
                "localization": how.localization,
                "nbeta": how.inverse_temperature(1000),
            },
            num_draws=how.n_draws,
            num_chains=how.n_chains,
            init_loss=0.0,
            seed=seed,
            verbose=False,
        )
    return torch.from_numpy(found["loss/trace"])


def in_turn(landscape: DeepLinear, how: Sampling, seeds: Iterable[int]) -> list[dict[str, Any]]:
    """Estimates by us and by devinterp in turn, a row for each and seed; the first half of the draws is left out.

    What is set up once, such as imports, is done before and not timed.

    Returns:
        `sampler` (circuitgrok or devinterp), `seed`, `seconds`, `llc`, and `gradients` of all chains.

    Raises:
        ImportError: devinterp is not installed.
    """
    judges, rows = {"circuitgrok": our_losses, "devinterp": devinterp_losses}, []
    for losses_of in judges.values():
        losses_of(landscape, how.model_copy(update={"n_draws": 100}), 0)
    for seed in seeds:
        for judge, losses_of in judges.items():
            begin = time.perf_counter()
            losses = losses_of(landscape, how, seed)
            seconds = time.perf_counter() - begin
            llc = how.inverse_temperature(1000) * losses[:, how.n_draws // 2 :].double().mean().item()
            rows.append({"sampler": judge, "seed": seed, "seconds": seconds, "llc": llc, "gradients": losses.numel()})
    return rows
