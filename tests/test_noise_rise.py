"""The rise of the loss under noise, against its closed form on quadratics and quartics; and beside λ̂."""

import math

import pytest
import torch

from circuitgrok.landscape.llc import NOISE_PAIRS, estimate_llc
from circuitgrok.landscape.noise_rise import noise_rise
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.samplers.geometry import Orthogonal
from circuitgrok.samplers.target import LossGrad

CURVATURES = torch.cat([torch.logspace(-2, 0.3, 30), torch.zeros(10)]).double()
NBETA, GAMMA = 50.0, 20.0


def bowl(w):
    return LossGrad((CURVATURES * w * w).sum(-1) / 2, CURVATURES * w)


def at_origin(n=16):
    return torch.zeros(n, 40).double()


def test_a_quadratic_rises_by_half_the_trace_times_the_variance_at_every_point():
    sigma = torch.tensor([0.1, 0.5]).double()
    found = noise_rise(bowl, at_origin(), sigma, NBETA, seeds=range(16), n_pairs=50)
    exact = NBETA * sigma**2 * CURVATURES.sum() / 2
    assert ((found.rise - exact).abs() < 4 * found.se).all()
    # the error, too: a sum of h_i sigma^2 x^2 / 2 has the variance sigma^4 sum h_i^2 / 2
    assert found.se.tolist() == pytest.approx(
        (NBETA * sigma**2 * (CURVATURES.square().sum() / 2).sqrt() / 400**0.5).tolist(), rel=4 / math.sqrt(2 * 400)
    )


def test_a_quartic_rises_by_three_times_the_fourth_power():
    quartic = lambda w: LossGrad(w.pow(4).sum(-1), 4 * w**3)  # noqa: E731
    found = noise_rise(quartic, at_origin(), torch.tensor([0.3]).double(), 2.0, seeds=range(16), n_pairs=50)
    assert (found.rise - 2 * 3 * 0.3**4 * 40).abs() < 4 * found.se


def test_a_slope_adds_nothing_because_every_noise_comes_with_both_signs():
    tilted = lambda w: LossGrad(bowl(w).value + 1e3 * w.sum(-1), bowl(w).gradient + 1e3)  # noqa: E731
    sigma = torch.tensor([0.2]).double()
    plain, sloped = (noise_rise(loss, at_origin(), sigma, NBETA, seeds=range(16)) for loss in (bowl, tilted))
    assert sloped.rise.item() == pytest.approx(plain.rise.item(), rel=1e-9)  # rounding of 1e3 against a rise of 10


def test_noise_moves_where_chains_may():
    normal = torch.zeros(16, 40).double()
    normal[:, 29] = 1.0  # the stiffest direction
    sigma = torch.tensor([0.2]).double()
    found = noise_rise(bowl, at_origin(), sigma, NBETA, seeds=range(16), n_pairs=50, geometry=Orthogonal(normal))
    exact = NBETA * 0.2**2 * (CURVATURES.sum() - CURVATURES[29]) / 2
    assert (found.rise - exact).abs() < 4 * found.se


def test_without_a_width_there_is_no_rise_and_every_row_needs_a_seed():
    found = noise_rise(bowl, at_origin(4), torch.tensor([0.1, math.inf]).double(), NBETA, seeds=range(4))
    assert found.rise.isfinite().tolist() == found.se.isfinite().tolist() == [True, False]
    with pytest.raises(ValueError, match="need a seed each; got 3"):
        noise_rise(bowl, at_origin(4), torch.tensor([0.1]).double(), NBETA, seeds=range(3))


def test_an_estimate_says_its_window_and_what_noise_alone_gives_in_it():
    point = torch.full((1, 40), 2.0).double()
    how = Sampling(step_size=5e-3, localization=GAMMA, nbeta=NBETA, sampler="mala", n_chains=16, n_draws=200)
    found = estimate_llc(lambda w: bowl(w - point), point, 100, how)
    variances = 1 / (NBETA * CURVATURES + GAMMA)
    # mala is exact; the mean of 40 squares of variance v_i over some hundred independent draws
    assert found.displacement.item() == pytest.approx(variances.mean().sqrt().item(), rel=0.03)
    assert found.window.item() == found.displacement.item() / 2
    assert (found.prior - NBETA * CURVATURES.sum() / (2 * GAMMA)).abs() < 4 * found.prior_se
    exact = NBETA * found.displacement**2 * CURVATURES.sum() / 2
    assert (found.noise - exact).abs() < 4 * found.noise_se
    assert found.llc < found.prior + 4 * (found.prior_se + found.mcse)  # seeing the loss can only lower its mean


def test_chains_that_do_not_see_the_loss_are_the_prior():
    flat = lambda w: LossGrad(bowl(w).value, torch.zeros_like(w))  # noqa: E731
    how = Sampling(step_size=5e-3, localization=GAMMA, nbeta=NBETA, n_chains=16, n_draws=400, sampler="sgld")
    found = estimate_llc(flat, at_origin(1), 100, how)
    wide = 1 / (1 - 5e-3 * GAMMA / 4)  # SGLD's own excess of variance
    assert (found.llc - wide * found.prior).abs() < 4 * (found.mcse + found.prior_se)
    assert found.displacement.item() == pytest.approx((wide / GAMMA) ** 0.5, rel=0.03)
    unbound = estimate_llc(bowl, at_origin(1), 100, how.model_copy(update={"localization": 0.0, "n_draws": 20}))
    assert unbound.prior.isnan().all() and unbound.noise.isfinite().all() and NOISE_PAIRS * 16 > 20
