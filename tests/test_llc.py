"""Learning coefficients against closed forms, on the sphere and off it, and every status for its own reason."""

import math

import pytest
import torch
from loops import for_each
from oracles import noise
from pydantic import ValidationError

from circuitgrok.config.bounds import NUMBER
from circuitgrok.landscape.llc import estimate_llc
from circuitgrok.landscape.sampling import MANY, Sampling
from circuitgrok.samplers.diagnostics import ONE_CHAIN
from circuitgrok.samplers.target import LossGrad

NBETA, GAMMA, STEP = 50.0, 20.0, 5e-3
CURVATURES = torch.cat([torch.logspace(-2, 0.3, 30), torch.zeros(10)]).double()
WEIGHT = NBETA * CURVATURES + GAMMA
NONE = torch.zeros(40).double()


def bowl(w, slope=NONE):
    return LossGrad((CURVATURES * w * w).sum(-1) / 2 + (slope * w).sum(-1), CURVATURES * w + slope)


def how(**given):
    return Sampling(
        **{"step_size": STEP, "localization": GAMMA, "nbeta": NBETA, "n_chains": 16, "n_draws": 400} | given
    )


def autograd(energy):
    """A loss of a stack with its gradient, from a function of `[chain dim]`."""

    def loss(w):
        at = w.detach().requires_grad_()
        value = energy(at)
        return LossGrad(value.detach().double(), torch.autograd.grad(value.sum(), at)[0])

    return loss


def ideal(weight_of_bias=0.0):
    """(1/2) sum nbeta h / k, each term 1 / (1 - c epsilon k) too large: c = 1/4 for SGLD."""
    return (0.5 * NBETA * CURVATURES / WEIGHT / (1 - weight_of_bias * STEP * WEIGHT)).sum().item()


def test_a_curvature_that_is_known_is_believed_and_changes_no_draw():
    point = torch.zeros(1, 40).double()
    found = estimate_llc(bowl, point, 100, how(n_draws=20))
    again = estimate_llc(bowl, point, 100, how(n_draws=20), curvature=found.curvature / 2)
    assert torch.equal(again.traces, found.traces) and torch.equal(again.curvature, found.curvature / 2)
    with pytest.raises(ValueError, match="step_size must be below"):
        estimate_llc(bowl, point, 100, how(n_draws=20), curvature=torch.tensor([1e6]).double())


@pytest.mark.parametrize(
    ("given", "bias"),
    [
        ({"sampler": "sgld"}, 1 / 4),
        ({"sampler": "sghmc", "friction": 0.3}, 1 / (4 * 1.7)),
        ({"sampler": "mala"}, 0.0),
        ({"sampler": "hmc", "n_leapfrog": 3}, 0.0),  # five would turn a curvature of 76 by pi: its energy would stay
    ],
)
def test_a_quadratic_gives_half_its_effective_dimension_with_the_samplers_own_bias(given, bias):
    found = estimate_llc(bowl, torch.zeros(2, 40).double(), 100, how(**given))
    assert found.status == ["diagnostics_passed", "diagnostics_passed"]
    assert (found.llc - ideal(bias)).abs().max() < 4 * found.mcse.max()
    assert (found.llc[0] - found.llc[1]).abs() < 4 * math.sqrt(2) * found.mcse.max()
    assert found.curvature.tolist() == pytest.approx([CURVATURES.max().item()] * 2, rel=1e-3)
    assert found.slope_shift.abs().max() == 0 and found.init_loss.tolist() == [0.0, 0.0]


def test_preconditioning_changes_no_law():
    given = {"sampler": "preconditioned_sgld", "stability": 3.0, "step_size": 0.03, "n_burnin": 200, "n_draws": 700}
    found = estimate_llc(bowl, torch.zeros(1, 40).double(), 100, how(**given))
    # steps are below epsilon / stability, and so the variance is too large by less than SGLD's at that step
    most = (0.5 * NBETA * CURVATURES / WEIGHT / (1 - 0.03 / 3 * WEIGHT / 4)).sum().item()
    assert found.status == ["diagnostics_passed"]
    assert ideal() - 4 * found.mcse.item() < found.llc.item() < most + 4 * found.mcse.item()


def test_a_slope_at_the_point_shifts_the_estimate_as_stated_and_is_flagged():
    slope = torch.zeros(40).double()
    slope[20] = 0.4
    tilted = lambda w: bowl(w, slope)  # noqa: E731
    found = estimate_llc(tilted, torch.zeros(1, 40).double(), 100, how(sampler="mala"))
    h, k = CURVATURES[20].item(), WEIGHT[20].item()
    shift = -((NBETA * 0.4) ** 2) / k * (1 - NBETA * h / (2 * k))
    assert found.slope_shift.item() == pytest.approx(shift, rel=1e-6)
    assert abs(found.llc.item() - (ideal() + shift)) < 4 * found.mcse.item()
    assert found.status == ["not_a_critical_point"] and "the slope at the point shifts" in found.faults[0][-1]


def test_orthogonal_to_the_gradient_the_slope_is_gone_and_so_is_its_direction():
    slope = torch.zeros(40).double()
    slope[20] = 0.4
    given = how(sampler="mala", geometry="no_gradient")
    found = estimate_llc(lambda w: bowl(w, slope), torch.zeros(1, 40).double(), 100, given)
    missing = 0.5 * NBETA * CURVATURES[20].item() / WEIGHT[20].item()
    assert found.status == ["diagnostics_passed"] and found.slope_shift.item() == 0.0
    assert abs(found.llc.item() - (ideal() - missing)) < 4 * found.mcse.item()


def test_no_radial_takes_out_the_direction_of_the_point():
    point = torch.zeros(1, 40).double()
    point[0, 25] = 3.0
    around = lambda w: bowl(w - point)  # noqa: E731
    found = estimate_llc(around, point, 100, how(sampler="mala", geometry="no_radial"))
    missing = 0.5 * NBETA * CURVATURES[25].item() / WEIGHT[25].item()
    assert abs(found.llc.item() - (ideal() - missing)) < 4 * found.mcse.item()


@pytest.mark.slow
def test_scale_invariance_leaves_nothing_to_the_radius_and_a_radial_well_adds_one_half():
    """K = f(u): the same on the sphere as in the whole space. K = f(u) + (r - 1)^2: one half more in the space."""
    angular = lambda w: (w[:, 0] / w.norm(dim=1)) ** 2 + (w[:, 1] / w.norm(dim=1)) ** 2  # noqa: E731
    radial = lambda w: angular(w) + (w.norm(dim=1) - 1) ** 2  # noqa: E731
    point = torch.tensor([[0.0, 0.0, 1.0]]).double()
    given = {"nbeta": 2000.0, "localization": 4.0, "step_size": 5e-4, "n_chains": 32, "n_draws": 300, "sampler": "mala"}
    found = {
        (name, geometry): estimate_llc(autograd(k), point, 100, how(**given, geometry=geometry))
        for name, k in (("angular", angular), ("radial", radial))
        for geometry in ("free", "sphere")
    }
    assert all(estimate.status == ["diagnostics_passed"] for estimate in found.values())
    # two directions of curvature 2, and a third one with the well. At nbeta = 2000 the posterior is 0.016 wide:
    # its curvature (third and fourth derivatives) moves each half by less than 1 / 200
    for key, exact in {
        ("angular", "free"): 1.0,
        ("angular", "sphere"): 1.0,
        ("radial", "sphere"): 1.0,
        ("radial", "free"): 1.5,
    }.items():
        estimate = found[key]
        wide = 4 * estimate.mcse.item() + (0.04 if key == ("angular", "free") else 0.01)  # r itself is loose there
        assert abs(estimate.llc.item() - exact * 4000 / 4004) < wide, key


def test_one_chain_gives_an_estimate_with_its_error_and_says_what_it_cannot_know():
    settings = how(sampler="sgld", n_draws=3000, n_chains=1, n_burnin=300)
    found = estimate_llc(bowl, torch.zeros(2, 40).double(), 100, settings)
    assert found.status == ["one_chain", "one_chain"] and found.r_hat.isnan().all()
    assert found.faults == [[ONE_CHAIN], [ONE_CHAIN]] and found.traces.shape[1] == 1
    for estimate, error in zip(found.llc.tolist(), found.mcse.tolist(), strict=True):
        assert abs(estimate - ideal(1 / 4)) < 4 * error < 0.2 * estimate
    with pytest.raises(ValidationError, match="n_chains"):
        Sampling(step_size=1e-4, localization=1.0, n_chains=0)


@for_each("name", ["step_size", "localization", "nbeta", "stability"])
@for_each("value", [math.nan, math.inf, 2 * NUMBER])
def test_numbers_that_are_not_finite_or_beyond_any_use_are_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        Sampling(**{"step_size": 1e-4, "localization": 1.0, name: value})


@pytest.mark.parametrize(
    ("given", "said"),
    [({name: MANY + 1}, name) for name in ("n_chains", "n_draws", "n_thin", "n_leapfrog")]
    + [({"n_chains": 1001, "n_draws": 10**5}, "n_chains times n_draws")],
)
def test_counts_that_no_machine_holds_are_refused_before_memory_is_taken(given, said):
    with pytest.raises(ValidationError, match=said):
        Sampling(step_size=1e-4, localization=1.0, **given)


def test_a_step_at_the_stability_bound_is_refused_with_the_bound():
    bound = 4 / (NBETA * CURVATURES.max().item() + GAMMA)
    with pytest.raises(ValueError, match=f"step_size must be below {bound:.3g}"):
        estimate_llc(bowl, torch.zeros(1, 40).double(), 100, how(sampler="sgld", step_size=1.01 * bound))
    estimate_llc(bowl, torch.zeros(1, 40).double(), 100, how(sampler="sgld", step_size=0.9 * bound, n_draws=8))


def test_a_chain_that_diverges_is_never_averaged_in():
    def cliff(w):
        found = bowl(w)
        return LossGrad(found.value.where(w[:, 0] < 0.5, torch.nan), found.gradient)

    points = torch.zeros(2, 40).double()
    found = estimate_llc(cliff, points, 100, how(sampler="sgld", step_size=1e-2))  # w_0 has a spread of 0.22
    assert found.status == ["diverged", "diverged"] and found.llc.isnan().all()
    assert all("diverged" in reasons[0] or "finite" in reasons[0] for reasons in found.faults)


def test_chains_that_are_too_short_are_said_not_to_have_converged():
    found = estimate_llc(
        bowl, torch.zeros(1, 40).double(), 100, how(sampler="sgld", step_size=1e-4, n_draws=60, n_chains=4)
    )
    assert found.status == ["not_converged"] and found.faults[0]


def test_a_point_has_the_same_bits_whatever_is_estimated_beside_it():
    points = 0.1 * noise(3, 40)
    given = how(n_draws=50)
    together = estimate_llc(bowl, points, 100, given, seeds=[5, 6, 7])
    alone = estimate_llc(bowl, points[1:2], 100, given, seeds=[6])
    assert torch.equal(together.traces[1], alone.traces[0])
    other = estimate_llc(bowl, points[1:2], 100, given.model_copy(update={"seed": 1}), seeds=[6])
    assert not torch.equal(other.traces, alone.traces)


def test_draws_of_chains_on_minibatches_are_judged_on_the_whole_loss():
    def noisy(w, generators):
        jitter = torch.stack([torch.randn(40, generator=g, dtype=torch.float64) for g in generators])
        return LossGrad(torch.full((len(w),), 1e6).double(), bowl(w).gradient + 0.01 * jitter)

    given = how(sampler="sgld")
    found = estimate_llc(bowl, torch.zeros(1, 40).double(), 100, given, batch_loss=noisy)
    # the noise of gradients adds (epsilon nbeta 0.01 / 2)^2 = 1.6e-6 to the 5e-3 of a step: nothing
    assert abs(found.llc.item() - ideal(1 / 4)) < 4 * found.mcse.item()


def test_burnin_can_be_given_and_is_found_where_it_is_not():
    far = torch.full((1, 40), 1.0).double()
    start = lambda w: bowl(w - far + 3.0)  # noqa: E731 - the minimum is three away from where chains start
    found = estimate_llc(start, far, 100, how(localization=0.01, step_size=1e-2))
    assert 5 < found.n_burnin.item() <= 200
    given = estimate_llc(start, far, 100, how(localization=0.01, step_size=1e-2, n_burnin=50))
    assert given.n_burnin.item() == 50


def test_every_chain_draws_numbers_of_its_own():
    found = estimate_llc(bowl, torch.zeros(2, 40).double(), 100, how(n_draws=20))
    assert len({tuple(row.tolist()) for row in found.traces.flatten(0, 1)}) == 32
