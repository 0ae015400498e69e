"""Samplers: exact stationary laws on quadratics, landscapes by quadrature, calibration, and what chains may not share.

Where nothing in a sampler ties coordinates together (sgld, sghmc, preconditioned_sgld), many independent copies of a
problem run as one chain with a coordinate for each: the same arithmetic, and one generator instead of thousands.
"""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from loops import for_each
from oracles import generator, noise

import circuitgrok.samplers.hmc as hmc_module
from circuitgrok.exact.potentials import POTENTIALS, localized_llc
from circuitgrok.samplers.geometry import FLAT, Orthogonal, Sphere
from circuitgrok.samplers.hmc import hmc
from circuitgrok.samplers.mala import mala
from circuitgrok.samplers.preconditioned import preconditioned_sgld
from circuitgrok.samplers.sample import sample
from circuitgrok.samplers.sample import start as start_of_chains
from circuitgrok.samplers.sghmc import sghmc
from circuitgrok.samplers.sgld import sgld
from circuitgrok.samplers.target import LossGrad, Target

SAMPLERS = {
    "sgld": sgld,
    "preconditioned": partial(preconditioned_sgld, stability=1.0, n_adapt=2),
    "sghmc": partial(sghmc, friction=0.3),
    "mala": mala,
    "hmc": partial(hmc, n_leapfrog=3),
}
TAKING_MINIBATCHES = ["sgld", "preconditioned", "sghmc"]
ON_CURVED_GROUND = ["sgld", "sghmc", "mala", "hmc"]


def quadratic(curvature, centre, nbeta=1.0, localization=0.0):
    """L = sum_i h_i (w_i - c_i)^2 / 2 about the centre."""

    def loss(w):
        gradient = curvature * (w - centre)
        return LossGrad((gradient * (w - centre)).double().sum(-1) / 2, gradient)

    return Target(loss, centre, nbeta, localization)


def landscape(potential, chains, copies, nbeta, localization):
    """Each chain has so many independent copies of the potential, side by side."""

    def loss(w):
        points = w.reshape(-1, potential.dim).requires_grad_()
        with torch.enable_grad():
            energy = potential.energy(points)
            (gradient,) = torch.autograd.grad(energy.sum(), points)
        return LossGrad(energy.detach().reshape(chains, copies).sum(-1), gradient.reshape(w.shape))

    return Target(loss, torch.zeros(chains, copies * potential.dim, dtype=torch.float64), nbeta, localization)


def draws(sampler, position, n_steps, n_burnin=0, every=1, seed=0):
    """Positions after every so many steps; the chains of a stack take turns with one generator."""
    generators = [generator(seed)] * len(position)
    state, kept = sampler.init(position, generators), []
    for i in range(1, n_steps + 1):
        state, _ = sampler.step(state, generators)
        if i > n_burnin and i % every == 0:
            kept.append(state["position"])
    return torch.stack(kept)


def mean_and_error(values):
    """Mean over independent chains (the last axis) of their means over time, with the standard error."""
    of_chain = values.reshape(-1, values.shape[-1]).mean(0)
    return of_chain.mean().item(), (of_chain.std() / math.sqrt(len(of_chain))).item()


def probability_of_uniform(ranks, n_bins):
    """The p value of the chi^2 test that ranks fall in each bin alike."""
    from scipy.stats import chisquare

    return chisquare(torch.bincount(ranks, minlength=n_bins).numpy()).pvalue


# Landscapes

# A quadratic is sampled too wide by a share epsilon a / 4, so that with a = 2 nbeta + gamma, the curvature across the
# valleys, epsilon a = 0.03 costs 0.75 %. (Halved, it costs half: the test of the closed form below. SGHMC pays half
# of it and with friction 0.1 is ten times as fast; the preconditioner about halves the step where it is steep.) The
# mean over 200 independent copies is known to 0.5 % at best. The slow direction forgets its start in
# 2 / (epsilon gamma) steps. Of three times as many the second half is kept, in which its variance lacks 5 % at first
# and 1.6 % on average, of which the energy feels a part.
LANDSCAPES = ["x^2", "x^4", "x^2 + y^2", "x^2 y^2", "min(x^2, y^2)", "x^2 y^4"]
LOCALIZATION = {10.0: 1.0, 100.0: 5.0, 1000.0: 20.0}
# A sixth of the slow direction's period or more, and of the steep one's a quarter more than a number of halves.
LEAPFROGS = {10.0: 8, 100.0: 14, 1000.0: 20}
PATIENCE = {"sgld": 3, "sghmc": 0.3, "preconditioned": 2.4, "mala": 0.3}


def sampler_for(sampler, target, steep, n_steps):
    if sampler == "sgld":
        return sgld(target, step_size=0.03 / steep)
    if sampler == "sghmc":
        return sghmc(target, step_size=0.03 / steep, friction=0.1)
    if sampler == "preconditioned":  # which forces of sqrt(a) feel, and those of sqrt(gamma) do not
        stability = math.sqrt(steep)
        step_size = 0.06 * stability / steep
        return preconditioned_sgld(target, step_size=step_size, stability=stability, n_adapt=n_steps // 6)
    if sampler == "mala":
        return mala(target, step_size=0.3 / steep)
    return hmc(target, step_size=0.3 / steep, n_leapfrog=LEAPFROGS[target.nbeta])


def estimate(name, sampler, nbeta):
    potential, gamma = POTENTIALS[name], LOCALIZATION[nbeta]
    steep = 2 * nbeta + gamma
    chains, copies = (100, 1) if sampler in ("mala", "hmc") else (1, 200)
    target = landscape(potential, chains, copies, nbeta, gamma)
    forgets = 2 * steep / gamma / 0.03  # 2 / (epsilon gamma)
    n_steps = 120 if sampler == "hmc" else int(PATIENCE[sampler] * forgets)
    made = sampler_for(sampler, target, steep, n_steps)
    seed = 100 * LANDSCAPES.index(name) + 10 * list(SAMPLERS).index(sampler) + list(LOCALIZATION).index(nbeta)
    kept = draws(made, torch.zeros_like(target.centre), n_steps, n_steps // 2, every=3, seed=seed)
    return mean_and_error(nbeta * potential.energy(kept.reshape(len(kept), -1, potential.dim)))


def agrees_with_quadrature(name, sampler, nbeta):
    mean, error = estimate(name, sampler, nbeta)
    exact = localized_llc(POTENTIALS[name], nbeta, localization=LOCALIZATION[nbeta])
    assert error < 0.12 * exact
    assert abs(mean - exact) < 4 * error, f"{mean} +- {error} against {exact}"


@pytest.mark.slow
@pytest.mark.parametrize("nbeta", LOCALIZATION)
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", LANDSCAPES)
def test_the_learning_coefficient_of_a_landscape_is_that_of_quadrature(name, sampler, nbeta):
    agrees_with_quadrature(name, sampler, nbeta)


@for_each(
    ("name", "sampler", "nbeta"),
    [
        ("x^4", "sgld", 10.0),
        ("x^2 y^2", "sghmc", 100.0),
        ("min(x^2, y^2)", "preconditioned", 10.0),
        ("x^2 + y^2", "mala", 10.0),
        ("x^2 y^4", "hmc", 100.0),
    ],
)
def test_the_learning_coefficient_of_one_landscape_for_each_sampler(name, sampler, nbeta):
    agrees_with_quadrature(name, sampler, nbeta)


# Quadratics


def spread(sampler, curvature, step_size, n_steps, copies=20_000, **settings):
    """Variance of copies of w under U = a w^2 / 2 after so many steps, with its standard error for normal draws."""
    target = quadratic(curvature, torch.zeros(1, copies, dtype=torch.float64))
    made = sampler(target, step_size=step_size, **settings)
    variance = draws(made, target.centre, n_steps)[-1].square().mean().item()
    return variance, math.sqrt(2 / copies) * variance


@pytest.mark.parametrize("stiffness", [0.4, 2.0, 3.6])  # epsilon a; the chain forgets by |1 - epsilon a / 2| a step
def test_sgld_is_too_wide_by_exactly_its_step(stiffness):
    variance, error = spread(sgld, curvature=5.0, step_size=stiffness / 5, n_steps=60)
    assert abs(variance - 1 / (5 * (1 - stiffness / 4))) < 4 * error
    assert abs(variance - 1 / 5) > 4 * error


EXACT_VARIANCES = {  # of coordinates with curvature 1: settings, steps that forget the start, variance
    "sgld": ({"step_size": 1.0}, 40, 1 / (1 - 1 / 4)),
    "mala": ({"step_size": 0.2}, 150, 1.0),
    "hmc": ({"step_size": 0.4}, 40, 1.0),
}


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("name", EXACT_VARIANCES)
def test_chains_on_a_device_have_their_exact_law_with_generators_of_their_own_there(name, device):
    """The last positions of many chains are as many independent numbers, whose squares have a variance of 2 squares."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    settings, steps, variance = EXACT_VARIANCES[name]
    at = torch.zeros(200, 8, dtype=torch.float64, device=device)
    sampler = SAMPLERS[name](quadratic(torch.ones_like(at[0]), at), **settings)
    chains, _ = sample(sampler, start_of_chains(sampler, at, range(len(at))), 1, n_burnin=steps)
    found = chains.state["position"]
    assert found.device.type == device
    assert abs(found.square().mean().item() / variance - 1) < 4 * math.sqrt(2 / found.numel())
    assert abs(found.mean().item()) < 4 * math.sqrt(variance / found.numel())


@pytest.mark.parametrize("stiffness", [4.0, 4.1])
def test_sgld_leaves_a_quadratic_from_four_on(stiffness):
    # At 4 the variance grows by epsilon a step, at 4.1 by a factor of 1.05^2 as well.
    variance, error = spread(sgld, curvature=1.0, step_size=stiffness, n_steps=100)
    expected = stiffness * sum((1 - stiffness / 2) ** (2 * i) for i in range(100))
    assert abs(variance - expected) < 4 * error
    assert expected > 99 * stiffness


def test_sgld_reports_the_learning_coefficient_of_its_own_law_not_of_the_limit():
    # 120 curvatures and 80 flat directions. Chains start where every w_i^2 is 1 / a_i, as it is on average in the limit
    # of small steps. 250 steps bring directions with epsilon a > 0.02 to their own law; for the others the two laws
    # differ by less than 0.5 %, together by less than 0.1.
    curvature = torch.cat([torch.logspace(-3, math.log10(2), 120, dtype=torch.float64), torch.zeros(80).double()])
    nbeta, gamma, step_size, copies = 1000.0, 1.0, 2e-4, 400
    a = nbeta * curvature + gamma
    limit = (nbeta * curvature / a).sum().item() / 2
    exact = (nbeta * curvature / (a * (1 - step_size * a / 4))).sum().item() / 2
    assert (limit, exact) == (pytest.approx(54.45, abs=5e-3), pytest.approx(55.30, abs=5e-3))
    target = quadratic(curvature.repeat(copies), torch.zeros(1, 200 * copies).double(), nbeta, gamma)
    start = (noise(copies, 200).sign() / a.sqrt()).reshape(1, -1)
    kept = draws(sgld(target, step_size=step_size), start, n_steps=400, n_burnin=250, every=5, seed=1)
    llc, error = mean_and_error(nbeta / 2 * (curvature * kept.reshape(-1, copies, 200).square()).sum(-1))
    assert abs(llc - exact) < 4 * error
    assert abs(llc - limit) > 4 * error


def lyapunov(curvature, step_size, friction):
    """Stationary covariance of (w, v) from the recursion itself."""
    from scipy.linalg import solve_discrete_lyapunov

    pull, kept = step_size * curvature / 2, 1 - friction
    step = torch.tensor([[1 - pull, kept], [-pull, kept]]).double()
    return torch.from_numpy(solve_discrete_lyapunov(step.numpy(), friction * step_size * torch.ones(2, 2).numpy()))


@pytest.mark.parametrize("friction", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("stiffness", [0.01, 0.5, 3.9])
def test_the_formula_for_sghmc_solves_the_lyapunov_equation(stiffness, friction):
    variance = lyapunov(5.0, stiffness / 5, friction)[0, 0].item()
    assert variance == pytest.approx(1 / (5 * (1 - stiffness / (4 * (2 - friction)))), rel=1e-6)


@pytest.mark.parametrize(("stiffness", "friction"), [(0.4, 0.3), (2.0, 0.3), (3.0, 0.1), (2.0, 1.0)])
def test_sghmc_has_the_covariance_of_the_lyapunov_equation(stiffness, friction):
    copies, step_size = 20_000, stiffness / 5
    target = quadratic(5.0, torch.zeros(1, copies, dtype=torch.float64))
    made, chain = sghmc(target, step_size=step_size, friction=friction), [generator(0)]
    state = made.init(target.centre, chain)
    for _ in range(int(20 / friction)):  # the slower root of the recursion has modulus sqrt(1 - friction) or less
        state, _ = made.step(state, chain)
    both = torch.cat([state["position"], state["velocity"]])
    expected = lyapunov(5.0, step_size, friction)
    of_errors = expected.diag()[:, None] * expected.diag() + expected.square()  # of products of normal numbers
    assert ((both @ both.T / copies - expected).abs() < 4 * (of_errors / copies).sqrt()).all()


@pytest.mark.parametrize("friction", [0.1, 0.3, 1.0])
def test_sghmc_tends_to_the_exact_variance_at_every_friction(friction):
    variance, error = spread(sghmc, curvature=1.0, step_size=0.02, n_steps=int(300 * friction) + 60, friction=friction)
    assert 0.02 / 4 < error < 0.02  # the bias is below an error, and an error is small
    assert abs(variance - 1) < 4 * error


@pytest.mark.parametrize("geometry", [FLAT, Sphere()])
def test_sghmc_without_memory_is_sgld(geometry):
    target, start = quadratic(2.0, noise(3, 5), localization=0.5), noise(3, 5, seed=1)
    one, other = (f(target, step_size=0.1, geometry=geometry) for f in (sgld, partial(sghmc, friction=1.0)))
    # Twenty steps that contract, of about ten roundings each, of numbers under 4.
    torch.testing.assert_close(draws(one, start, 20), draws(other, start, 20), rtol=0, atol=20 * 10 * 4 * 2**-52)


def test_each_coordinate_of_preconditioned_sgld_has_the_law_of_its_own_step_size():
    curvature = torch.tensor([4.0, 25.0, 100.0]).double().repeat_interleave(10_000)
    target = quadratic(curvature, torch.zeros(1, 30_000, dtype=torch.float64))
    made, chain = preconditioned_sgld(target, step_size=0.3, stability=10.0, n_adapt=100), [generator(0)]
    state = made.init(target.centre, chain)
    for _ in range(100):
        state, _ = made.step(state, chain)
    learnt = state["mean_square"]
    for _ in range(100):
        state, _ = made.step(state, chain)
    assert torch.equal(state["mean_square"], learnt)
    stiffness = 0.3 / (10.0 + learnt.sqrt()) * curvature
    expected = 1 / (curvature * (1 - stiffness / 4))
    standardized = (state["position"].square() / expected).reshape(3, -1).mean(-1)
    assert ((standardized - 1).abs() < 4 * math.sqrt(2 / 10_000)).all()
    biases = (state["position"].square() * curvature).reshape(3, -1).mean(-1)
    assert (biases[1:] > 1 + 4 * math.sqrt(2 / 10_000)).all()  # so that the factor was needed


def test_the_preconditioner_is_the_mean_of_the_squared_forces_at_first():
    target = quadratic(3.0, noise(2, 4), nbeta=2.0, localization=0.5)
    made, chains = (
        preconditioned_sgld(target, step_size=0.1, stability=1.0, n_adapt=5),
        [generator(i) for i in range(2)],
    )
    state = made.init(noise(2, 4, seed=1), chains)
    forces = [state["force"]]
    for _ in range(8):
        state, _ = made.step(state, chains)
        forces.append(state["force"])
    expected = torch.stack(forces[:6]).square().mean(0)
    torch.testing.assert_close(state["mean_square"], expected, rtol=1e-14, atol=0)


# What a test buys


class Recorder:
    """A geometry that remembers the last move and the last kick."""

    def __init__(self, geometry):
        self.geometry = geometry

    def tangent(self, position, vector):
        self.kick = self.geometry.tangent(position, vector)
        return self.kick

    def move(self, position, velocity):
        self.start, self.pushed = position, velocity
        self.position, self.carried = self.geometry.move(position, velocity)
        return self.position, self.carried

    def freedom(self, position):
        return self.geometry.freedom(position)

    @property
    def velocity(self):
        """At the end of a trajectory: what was carried along the last move, after the last kick."""
        return self.carried - self.kick


def quartic(chains=5, dim=3):
    """L = sum_i w_i^4 / 4, which is no constant on a sphere."""

    def loss(w):
        cube = w * w * w
        return LossGrad((cube * w).double().sum(-1) / 4, cube)

    return Target(loss, torch.zeros(chains, dim, dtype=torch.float64), nbeta=3.0, localization=0.5)


@for_each("geometry", [FLAT, Orthogonal(noise(5, 3, seed=7)), Sphere()])
def test_trajectories_can_be_retraced(geometry, monkeypatch):
    step_size, start, recorder = 0.04, noise(5, 3), Recorder(geometry)
    made = hmc(quartic(), step_size=step_size, n_leapfrog=7, geometry=recorder)
    _, there = made.step(made.init(start, []), [generator(i) for i in range(5)])
    turned = -recorder.velocity / math.sqrt(step_size)
    monkeypatch.setattr(hmc_module, "standard_normal", lambda like, generators: turned)
    _, back = made.step(made.init(recorder.position, []), [generator(i) for i in range(5)])
    torch.testing.assert_close(recorder.position, start, rtol=0, atol=1e-12)
    torch.testing.assert_close(back.energy_error, -there.energy_error, rtol=0, atol=1e-12)
    assert there.energy_error.abs().min() > 1e-6


@for_each("geometry", [FLAT, Sphere()])
def test_the_energy_error_falls_with_the_square_of_the_leapfrog(geometry):
    start = noise(500, 3) / 2
    errors = []
    for halvings in range(3):
        step_size, n_leapfrog = 0.01 / 4**halvings, 8 * 2**halvings  # h^2, at the same length and velocity
        made = hmc(quartic(500), step_size=step_size, n_leapfrog=n_leapfrog, geometry=geometry)
        _, info = made.step(made.init(start, []), [generator(i) for i in range(500)])
        errors.append(info.energy_error.abs().mean().item())
    # The next term of the error is of relative order h^2 a with a about 10, a share of 0.1 and then of 0.025.
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.025)


def test_acceptance_of_mala_is_the_ratio_of_densities_and_proposals():
    target, step_size, recorder = quartic(), 0.2, Recorder(FLAT)
    old = noise(5, 3)
    made = mala(target, step_size=step_size, geometry=recorder)
    chains = [generator(i) for i in range(5)]
    state, info = made.step(made.init(old, chains), chains)
    new = recorder.position

    def log_density(w):
        return -target.energy(w, target.loss(w))

    def log_proposal(to, at):
        mean = at - step_size / 2 * target.force(at, target.loss(at))
        return -(to - mean).square().sum(-1) / (2 * step_size)

    log_ratio = log_density(new) + log_proposal(old, new) - log_density(old) - log_proposal(new, old)
    torch.testing.assert_close(info.acceptance, log_ratio.exp().clamp(max=1), rtol=1e-12, atol=0)
    assert (info.acceptance < 0.9).any() and (info.acceptance == 1).any()
    moved = (state["position"] == new).all(-1)
    assert torch.equal(state["position"], torch.where(moved[:, None], new, old))
    torch.testing.assert_close(info.loss, target.loss(state["position"]).value, rtol=1e-14, atol=0)


@pytest.mark.parametrize("geometry", [FLAT, Sphere(), Orthogonal(noise(5, 3, seed=2))])
def test_sgld_takes_malas_proposal_and_reports_its_acceptance(geometry):
    target, start, recorder = quartic(), noise(5, 3), Recorder(geometry)
    made = mala(target, step_size=0.1, geometry=recorder)
    _, tested = made.step(made.init(start, []), [generator(i) for i in range(5)])
    plain = sgld(target, step_size=0.1, geometry=geometry)
    state, info = plain.step(plain.init(start, []), [generator(i) for i in range(5)])
    # one takes the tangent of a sum, the other the sum of tangents: equal to rounding, in flat space to the bit
    torch.testing.assert_close(state["position"], recorder.position, rtol=1e-14, atol=0 if geometry is FLAT else 1e-14)
    torch.testing.assert_close(info.acceptance, tested.acceptance, rtol=1e-12, atol=0)
    torch.testing.assert_close(info.energy_error, tested.energy_error, rtol=0, atol=1e-12)
    assert (info.acceptance < 1).any()


def test_a_proposal_is_accepted_as_often_as_its_acceptance_says():
    made, start = mala(quartic(4000), step_size=0.5), noise(4000, 3)
    state, info = made.step(made.init(start, []), [generator(0)] * 4000)
    accepted = (state["position"] != start).any(-1).double()
    error = (info.acceptance * (1 - info.acceptance)).sum().sqrt()
    assert abs(accepted.sum() - info.acceptance.sum()) < 4 * error
    assert (info.acceptance < 0.5).sum() > 400


def test_every_coordinate_of_a_gaussian_has_its_share_of_energy():
    # Of the energy of a coordinate a share cos^2 of its angle, 0.75 to 2.6, is remembered: half, at most.
    curvature = torch.tensor([0.25, 1.0, 2.0, 3.0]).double()
    target = quadratic(curvature.repeat(25), torch.zeros(100, 100, dtype=torch.float64))
    made = hmc(target, step_size=0.09, n_leapfrog=5)
    start = noise(100, 100) / curvature.repeat(25).sqrt()
    energies = curvature * draws(made, start, n_steps=120).reshape(120, -1, 4).square()
    shares, errors = zip(*[mean_and_error(energies[..., i]) for i in range(4)], strict=True)
    assert 4 * max(errors) < 0.03
    assert shares == pytest.approx([1.0] * 4, abs=0.02)


@for_each("bad", [math.nan, math.inf, -math.inf])
def test_proposals_without_finite_energy_are_rejected_and_neighbours_are_not(bad):
    def loss(w):
        beyond = w[:, 0] > 1
        return LossGrad(torch.where(beyond, bad, w.square().sum(-1) / 2), w.clone())

    target = Target(loss, torch.zeros(300, 2, dtype=torch.float64), nbeta=1.0, localization=0.0)
    recorder = Recorder(FLAT)
    made = hmc(target, step_size=0.5, n_leapfrog=2, geometry=recorder)
    chains = [generator(i) for i in range(300)]
    state, info = made.step(made.init(target.centre, chains), chains)
    beyond = recorder.position[:, 0] > 1
    assert 10 < beyond.sum() < 290
    assert (info.acceptance[beyond] == 0).all() and (info.energy_error[beyond] == math.inf).all()
    assert not state["position"][beyond].any() and (info.loss[beyond] == 0).all()
    assert (info.acceptance[~beyond] > 0).all() and state["position"].isfinite().all()


def test_a_gradient_that_is_not_finite_is_rejected_even_where_the_energy_is():
    def loss(w):
        return LossGrad(w.square().sum(-1) / 2, torch.where(w.abs() > 1, math.nan, w))

    target = Target(loss, torch.zeros(100, 1, dtype=torch.float64), nbeta=1.0, localization=0.0)
    kept = draws(mala(target, step_size=1.0), target.centre, 30)
    assert kept.abs().max() <= 1 and kept[-1].std() > 0.3


def test_samplers_without_an_acceptance_say_so():
    full = quartic()
    on_batches = replace(full, batch_loss=lambda w, generators: full.loss(w))
    for name, target in (("preconditioned", full), ("sghmc", full), ("sgld", on_batches)):
        made, chains = SAMPLERS[name](target, step_size=0.01), [generator(i) for i in range(5)]
        state, info = made.step(made.init(noise(5, 3), chains), chains)
        assert info.acceptance.isnan().all() and info.energy_error.isnan().all()
        torch.testing.assert_close(info.loss, quartic().loss(state["position"]).value, rtol=1e-14, atol=0)


# Curved and bounded ground


def linear(direction, nbeta, chains):
    """L = -<w, direction>: on the unit sphere the density of von Mises and Fisher, with nbeta for kappa."""

    def loss(w):
        return LossGrad(-(w * direction).double().sum(-1), -direction.expand_as(w))

    return Target(loss, torch.zeros(chains, 3, dtype=torch.float64), nbeta, localization=0.0)


@pytest.mark.parametrize(
    ("sampler", "step_size", "n_steps"),
    [
        (partial(hmc, n_leapfrog=4), 0.15, 60),
        (mala, 0.4, 120),
        (sgld, 0.02, 300),  # a bias of order epsilon kappa / 4, or 1 %, half of an error
        (partial(sghmc, friction=0.2), 0.01, 200),
    ],
)
def test_on_the_sphere_a_linear_energy_gives_von_mises_and_fisher(sampler, step_size, n_steps):
    kappa, chains = 2.0, 200
    direction = torch.tensor([1.0, 2.0, -2.0]).double() / 3
    start = noise(chains, 3)
    start = start / start.norm(dim=-1, keepdim=True)
    made = sampler(linear(direction, kappa, chains), step_size=step_size, geometry=Sphere())
    kept = draws(made, start, n_steps, n_burnin=n_steps // 3)
    mean, error = mean_and_error(kept @ direction)
    assert error < 0.02
    assert abs(mean - (1 / math.tanh(kappa) - 1 / kappa)) < 4 * error
    assert (kept.norm(dim=-1) - 1).abs().max() < 1e-13


@for_each("name", ON_CURVED_GROUND)
def test_nothing_moves_along_the_normal(name):
    normal, start = noise(4, 30, seed=5), noise(4, 30)
    target = quadratic(torch.linspace(0.1, 3.0, 30).double(), noise(4, 30, seed=2), localization=0.1)
    made = SAMPLERS[name](target, step_size=0.05, geometry=Orthogonal(normal))
    moved = draws(made, start, 50)[-1] - start
    assert moved.norm(dim=-1).min() > 0.5
    assert ((moved * normal).sum(-1) / normal.norm(dim=-1)).abs().max() < 1e-12


def test_on_a_hyperplane_a_gaussian_has_one_coordinate_less():
    curvature = torch.tensor([0.5, 1.0, 2.0]).double()
    target = quadratic(curvature, torch.zeros(300, 3, dtype=torch.float64))
    made = hmc(target, step_size=0.3, n_leapfrog=3, geometry=Orthogonal(torch.ones(300, 3, dtype=torch.float64)))
    kept = draws(made, target.centre, n_steps=60, n_burnin=15)
    mean, error = mean_and_error((curvature * kept.square()).sum(-1) / 2)
    assert abs(mean - 2 / 2) < 4 * error < 0.1


# Calibration: what was drawn from the posterior has a uniform rank among draws of the sampler


def ranks(sampler, step_size, thin, wider=1.0, n_chains=500, n_draws=19):
    """Five observations of a mean with a normal prior, both of unit variance; each chain has data of its own."""
    data_mean = noise(n_chains, 1) + noise(n_chains, 1, seed=1) / math.sqrt(5)
    centre = torch.zeros(n_chains, 1, dtype=torch.float64)
    target = Target(lambda w: LossGrad((w - data_mean).square().sum(-1) / 2, w - data_mean), centre, 5.0, 1.0)
    truth = 5 / 6 * data_mean + noise(n_chains, 1, seed=2) * math.sqrt(wider / 6)
    kept = draws(sampler(target, step_size=step_size), centre, n_draws * thin + 20, n_burnin=20, every=thin)
    return (kept < truth).sum(0).flatten()


@pytest.mark.parametrize(("sampler", "step_size", "thin"), [(mala, 0.2, 4), (partial(hmc, n_leapfrog=3), 0.05, 2)])
def test_ranks_among_tested_draws_are_uniform(sampler, step_size, thin):
    assert probability_of_uniform(ranks(sampler, step_size, thin), n_bins=20) > 1e-3


def test_ranks_among_draws_of_sgld_are_uniform_for_its_own_law_and_for_no_other():
    step_size = 2.4 / 6  # epsilon a = 2.4, so that variances are 1 / (1 - 0.6) of what they should be
    own = ranks(sgld, step_size, thin=3, wider=1 / (1 - 2.4 / 4))
    assert probability_of_uniform(own, n_bins=20) > 1e-3
    assert probability_of_uniform(ranks(sgld, step_size, thin=3), n_bins=20) < 1e-3


# Chains share nothing


def pulled(centre, dtype):
    """A loss whose arithmetic is the same for every row, with minibatches that are a shift of its minimum."""

    def shifted(w, shift):
        away = w - shift
        return LossGrad((away * away).double().sum(-1) / 2, away)

    def batch_loss(w, generators):
        draws_of_each = [torch.randn(w.shape[1], generator=chain, dtype=dtype) for chain in generators]
        return shifted(w, torch.stack(draws_of_each))

    full = Target(lambda w: shifted(w, 0.5), centre, nbeta=2.0, localization=0.3)
    return full, Target(full.loss, centre, nbeta=2.0, localization=0.3, batch_loss=batch_loss)


@for_each("dtype", [torch.float32, torch.float64])
@for_each("dim", [1, 17, 1000])
@for_each("name", SAMPLERS)
def test_a_chain_draws_the_same_bits_alone_and_in_a_stack(name, dim, dtype):
    centre, start = noise(4, dim).to(dtype), noise(4, dim, seed=1).to(dtype)
    geometries = [{}, {"geometry": Orthogonal(noise(4, dim, seed=2).to(dtype))}, {"geometry": Sphere()}]
    for settings in geometries if name in ON_CURVED_GROUND and dim > 1 else [{}]:
        for kind in range(2 if name in TAKING_MINIBATCHES else 1):

            def run(rows, settings=settings, kind=kind):
                if "geometry" in settings and isinstance(settings["geometry"], Orthogonal):
                    settings = {"geometry": Orthogonal(settings["geometry"].normal[rows])}
                made = SAMPLERS[name](pulled(centre[rows], dtype)[kind], step_size=0.05, **settings)
                chains = [generator(100 + i) for i in range(4)][rows]
                state, info = made.step(made.init(start[rows], chains), chains)
                for _ in range(3):
                    state, info = made.step(state, chains)
                return state, info

            state, info = run(slice(0, 4))
            assert state["position"].dtype == dtype and info.loss.dtype == torch.float64
            for i in (0, 3):
                alone, of_one = run(slice(i, i + 1))
                for field in state:
                    assert torch.equal(alone[field][0], state[field][i]), field
                torch.testing.assert_close(
                    of_one, type(info)(*(x[i : i + 1] for x in info)), rtol=0, atol=0, equal_nan=True
                )


@pytest.mark.parametrize("name", TAKING_MINIBATCHES)
def test_minibatches_of_chains_are_independent(name):
    made = SAMPLERS[name](pulled(torch.zeros(2000, 1).double(), torch.float64)[1], step_size=0.1)
    chains = [generator(i) for i in range(2000)]
    state = made.init(torch.zeros(2000, 1).double(), chains)  # force = -2 shift, with shift ~ N(0, 1)
    shifts = state["force"].flatten() / 2
    assert shifts.unique().numel() == 2000
    correlation = (shifts[::2] * shifts[1::2]).mean()
    assert abs(correlation) < 4 / math.sqrt(1000) and abs(shifts.var() - 1) < 4 * math.sqrt(2 / 2000)


@for_each("name", ["sgld", "hmc"])
def test_a_chain_of_a_stack_with_its_own_step_temperature_and_pull_is_as_it_is_alone(name):
    own = [torch.tensor(x).double() for x in ([0.01, 0.05, 0.2], [1.0, 4.0, 0.0], [0.0, 0.5, 3.0])]
    start, centre = noise(3, 5), noise(3, 5, seed=1)

    def moved(rows, step_size, nbeta, pull):
        target = replace(quadratic(torch.ones(5).double(), centre[rows]), nbeta=nbeta, localization=pull)
        made, chains = SAMPLERS[name](target, step_size=step_size), [generator(i) for i in range(3)][rows]
        state, info = made.step(made.init(start[rows], chains), chains)
        return made.step(state, chains)

    state, info = moved(slice(0, 3), *own)
    for i in range(2):  # the third has no temperature, which is none of a target of one chain
        alone, of_one = moved(slice(i, i + 1), *(x[i].item() for x in own))
        torch.testing.assert_close(alone["position"][0], state["position"][i], rtol=1e-14, atol=1e-15)
        torch.testing.assert_close(of_one.energy_error[0], info.energy_error[i], rtol=0, atol=1e-13)
    with pytest.raises(ValueError, match="step_size"):
        SAMPLERS[name](quadratic(torch.ones(5).double(), centre), step_size=torch.tensor([0.1, 0.0, 0.1]).double())


@for_each("name", SAMPLERS)
def test_a_step_leaves_the_state_it_was_given_alone(name):
    made, chains = SAMPLERS[name](quartic(), step_size=0.01), [generator(i) for i in range(5)]
    state = made.init(noise(5, 3), chains)
    before = {field: tensor.clone() for field, tensor in state.items()}
    made.step(state, chains)
    assert all(torch.equal(state[field], before[field]) for field in before)
    assert all(len(tensor) == 5 for tensor in state.values())


def test_gradients_of_minibatches_widen_sgld_by_their_variance():
    # With k = epsilon a / 2, w <- (1 - k) w + (epsilon nbeta / 2) shift + sqrt(epsilon) xi adds up both variances.
    copies, epsilon, nbeta, gamma = 20_000, 0.5, 2.0, 0.3
    _, target = pulled(torch.zeros(1, copies).double(), torch.float64)
    variance = draws(sgld(target, step_size=epsilon), target.centre, 60)[-1].var().item()
    pull = epsilon * (nbeta + gamma) / 2
    expected = (epsilon + (epsilon * nbeta / 2) ** 2) / (1 - (1 - pull) ** 2)
    assert abs(variance - expected) < 4 * math.sqrt(2 / copies) * expected


# Refusals


@for_each("name", SAMPLERS)
@for_each("step_size", [0.0, -1.0, math.inf, math.nan])
def test_a_step_size_that_is_none_is_refused(name, step_size):
    with pytest.raises(ValueError, match="step_size must be positive and finite; got"):
        SAMPLERS[name](quartic(), step_size=step_size)


@for_each("friction", [0.0, -0.1, 1.1, math.nan])
def test_friction_that_is_no_share_is_refused(friction):
    with pytest.raises(ValueError, match="friction must be above 0 and 1 at most; got"):
        sghmc(quartic(), step_size=0.1, friction=friction)


def test_a_trajectory_without_leapfrogs_is_refused():
    with pytest.raises(ValueError, match="n_leapfrog must be 1 or more; got 0"):
        hmc(quartic(), step_size=0.1, n_leapfrog=0)


@pytest.mark.parametrize("sampler", [mala, partial(hmc, n_leapfrog=2)])
def test_minibatches_are_refused_where_energies_are_compared(sampler):
    _, target = pulled(torch.zeros(1, 2), torch.float32)
    with pytest.raises(ValueError, match="minibatches: leave out batch_loss"):
        sampler(target, step_size=0.1)


@for_each("geometry", [Sphere(), Orthogonal(torch.ones(5, 3))])
def test_preconditioning_is_refused_on_ground_that_is_not_flat(geometry):
    with pytest.raises(ValueError, match=f"leaves {type(geometry).__name__}: use sgld"):
        preconditioned_sgld(quartic(), step_size=0.1, stability=1.0, n_adapt=1, geometry=geometry)


def test_a_preconditioner_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="stability must be positive and finite; got 0"):
        preconditioned_sgld(quartic(), step_size=0.1, stability=0.0, n_adapt=1)
    with pytest.raises(ValueError, match="n_adapt must be 1 or more; got 0"):
        preconditioned_sgld(quartic(), step_size=0.1, stability=1.0, n_adapt=0)


@for_each(("field", "value"), [("nbeta", 0.0), ("nbeta", math.inf), ("localization", -1.0)])
def test_a_posterior_that_is_none_is_refused(field, value):
    settings = {"nbeta": 1.0, "localization": 0.0, field: value}
    with pytest.raises(ValueError, match=f"{field} must be"):
        Target(quartic().loss, torch.zeros(1, 2), **settings)
