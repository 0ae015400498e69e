"""Rows that need neither a file nor training: theorems, analytic networks, and the toy of gradient surfing."""

import math
from collections.abc import Callable
from functools import cache
from itertools import product

import torch
from published.given import EXACT, JUDGED, Given, Rows
from torch import Tensor

import circuitgrok as cg
from circuitgrok.exact.analytic import gromov_network, max_margin, max_margin_network, normalized_margin
from circuitgrok.exact.learning_coefficients import deep_linear_network_llc, reduced_rank_regression_llc
from circuitgrok.exact.surfing import occupancy, surf
from circuitgrok.interventions.losses import accuracy, cross_entropy
from circuitgrok.measures.circuits.explained import frac_explained
from circuitgrok.measures.circuits.restricted import logit_circuit, restricted_losses, together
from circuitgrok.measures.spectra.key_freqs import logit_energy
from circuitgrok.models.dense import DenseMLP
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.models.transformer import Transformer
from circuitgrok.polar.orbits import inflate, orbit_minimal_norm, part_norms
from circuitgrok.study.sheet import Band, Got, Row, about, at_least, at_most, got
from circuitgrok.tree import Params

AOYAGI = "Aoyagi 2024, Neural Networks 172 (106132), theorem 1"
RRR = "Aoyagi and Watanabe 2005, Neural Networks 18(7)"
MORWANI, GROMOV = "Morwani et al. 2023, arXiv:2311.07568, theorem 7", "Gromov 2023, arXiv:2301.02679, section 3"
SURFING = "Hoogland 2023, 'Gradient surfing', claim"
PARTICLES = 40_000
OURS = "no public number: computed here, as a check"
DEEP: dict[tuple[int, ...], tuple[int, float, int]] = {  # widths: rank, lambda, multiplicity
    (5, 3, 5): (0, 6.5, 2), (4, 3, 8): (0, 6, 1), (10, 10, 10): (1, 40, 2), (10, 10, 10, 10): (3, 42, 3),
    (8, 8, 8, 8, 8): (2, 25.5, 5),
}  # fmt: skip


def deep_linear(widths: tuple[int, ...]) -> Got:
    """Lambda of a deep linear network; nan if its multiplicity is another."""
    rank, _, multiplicity = DEEP[widths]
    found = deep_linear_network_llc(widths, rank)
    same = found.multiplicity == multiplicity
    return got(float(found.llc) if same else math.nan, f"multiplicity {found.multiplicity}, published {multiplicity}")


def theorems_agree(given: Given) -> Got:
    """Share of three-layer networks for which the theorem of 2024 gives what that of 2005 gives."""
    cases = [(m, h, n, r) for m, h, n in product(range(1, 9), repeat=3) for r in range(min(m, h, n) + 1)]
    same = sum(deep_linear_network_llc([m, h, n], r) == reduced_rank_regression_llc(m, h, n, r) for m, h, n, r in cases)
    return got(same / len(cases), f"{same} of {len(cases)} networks of widths up to 8, all ranks")


def margin_ratio(p: int) -> Got:
    """Normalised margin of the constructed network over the bound."""
    return got(normalized_margin(max_margin_network(p)).item() / max_margin(p))


@cache
def analytic(p: int) -> tuple[Tensor, Tensor]:
    """Logits of Gromov's solution of 5.6 p neurons on all pairs, and their labels."""
    n_neurons, task = math.ceil(5.6 * p), cg.modular_addition(p=p)
    params = gromov_network(p, n_neurons, torch.Generator().manual_seed(0))
    return QuadraticMLP(p=p, n_neurons=n_neurons).logits(params, task.inputs), task.labels


def restricted_over_full(p: int) -> Got:
    """Restricted loss over full loss of Gromov's solution, all frequencies being key."""
    logits, labels = analytic(p)
    circuit = together(logit_circuit(logits, torch.arange(1, p // 2 + 1)))
    restricted, full = restricted_losses(circuit, labels).mean().item(), cross_entropy(logits, labels).mean().item()
    return got(restricted / full, f"{restricted:.5g} and {full:.5g} nats")


def max_margin_circuit(given: Given) -> Got:
    """Share of the variance of the maximum-margin network's logits in the clock of its key frequencies."""
    p = 23
    params, task = max_margin_network(p), cg.modular_addition(p=p)
    logits = QuadraticMLP(p=p, n_neurons=9 * (p - 1) // 2).logits(params, task.inputs)
    keys = logit_energy(logits)
    return got(frac_explained(logits, keys).item(), f"{len(keys)} of {p // 2} frequencies are key at p = {p}")


@cache
def near(noise: float, decay: float, momentum: float, n: int) -> dict[int, float]:
    """Share of particles with |x|_inf < .25 after 0, 10, .. 200 steps of .1, from a uniform start on [-2, 2]^2."""
    plain = {"n_particles": n, "steps": 200, "record": 10, "lr": 0.1, "half_width": 2.0}
    walk = surf(torch.Generator().manual_seed(0), noise=noise, decay=decay, momentum=momentum, **plain)
    return dict(zip(walk.steps.tolist(), occupancy(walk.positions, 0.25).fraction.tolist(), strict=True))


def at_crossing(noise: float, decay: float = 0.0, steps: int = 100) -> Callable[[Given], Got]:
    """That share at one time."""
    return lambda given: got(near(noise, decay, 0.0, particles(given))[steps])


def over(noise: float, other: float, momentum: float = 0.0) -> Callable[[Given], Got]:
    """That share at T = 100 with one noise, and a momentum, over that with another and none."""

    def ratio(given: Given) -> Got:
        one, two = (near(e, 0.0, m, particles(given))[100] for e, m in ((noise, momentum), (other, 0.0)))
        return got(one / two, f"{one:.4f} and {two:.4f}")

    return ratio


def particles(given: Given) -> int:
    """How many."""
    return 2000 if given.quick else PARTICLES


def peak(given: Given) -> Got:
    """When the share with decay .1 and noise .01 is largest."""
    shares = near(0.01, 0.1, 0.0, particles(given))
    return got(max(shares, key=shares.__getitem__), f"{max(shares.values()):.3f} of the particles then")


@cache
def drawn(seed: int = 0) -> tuple[Transformer, Params]:
    """The published network at its start."""
    model = Transformer(p=113)
    return model, model.init(torch.Generator().manual_seed(seed))


def excess(part: str) -> Callable[[Given], Got]:
    """Squared norm of a part over the least on its orbit, at the start."""

    def ratio(given: Given) -> Got:
        model, params = drawn()
        return got(
            (getattr(part_norms(params, model), part) / getattr(orbit_minimal_norm(params, model), part)).item() ** 2
        )

    return ratio


def grokked_excess(given: Given) -> Got:
    """The same of all of a network that grokked under decay: the run that comes with the package."""
    run = cg.reference()
    params, model = run.at(run.steps[-1]), run.config.transformer
    return got((part_norms(params, model).total / orbit_minimal_norm(params, model).total).item() ** 2)


def orbit_moves(given: Given) -> Got:
    """Relative change of the least norm when a network is written elsewhere on its orbit, with beta from .1 to 10."""
    model, params = drawn()
    draws = torch.Generator().manual_seed(1)
    beta = 10 ** (2 * torch.rand(1, model.d_mlp, generator=draws, dtype=torch.float64) - 1)
    turns = torch.eye(32).double() + torch.randn(2, 1, 4, 32, 32, generator=draws, dtype=torch.float64) / 12
    moved = inflate(params, model, beta=beta, qk=turns[0], vo=turns[1])
    r = part_norms(moved, model).total / part_norms(params, model).total
    least = orbit_minimal_norm(moved, model).total / orbit_minimal_norm(params, model).total
    return got(abs(least.item() - 1), f"while the norm is {r.item():.2f} times what it was")


def euler(depth: int) -> Callable[[Given], Got]:
    """Relative error of Euler's identity for a bias-free ReLU network of homogeneous degree depth + 1, in float64."""

    def error(given: Given) -> Got:
        model, draws = DenseMLP(n_in=20, n_out=7, width=30, depth=depth, train_biases=()), torch.Generator()
        params = {name: value.double() for name, value in model.init(draws.manual_seed(0), scheme="fan_in").items()}
        inputs = torch.randn(50, 20, generator=draws, dtype=torch.float64)
        labels = torch.randint(7, (50,), generator=draws)

        def loss(weights: Params) -> Tensor:
            return cross_entropy(model.logits(weights, inputs), labels).mean()

        slope = torch.func.grad(loss)(params)
        radial = sum(float((slope[name] * params[name]).sum()) for name in params)
        logits = model.logits(params, inputs)
        pull = (logits.softmax(-1) - torch.nn.functional.one_hot(labels, 7)) * logits
        expected = (depth + 1) * pull.sum(-1).mean().item()
        return got(abs(radial / expected - 1))

    return error


def along_the_stream(given: Given) -> Got:
    """Cosine of all that writes to a LayerNorm network's residual stream to its gradient.

    Written a thousand times larger, the stream is far above LayerNorm's epsilon of 1e-5.
    """
    model = Transformer(p=11, n_heads=2, d_model=16, d_head=8, d_mlp=32, normalization="LN")
    task, params = cg.modular_addition(p=11), model.init(torch.Generator().manual_seed(0))
    writes = ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out")
    params = {name: value.double() for name, value in params.items()}
    params = {name: 1e3 * value if name.endswith(writes) else value for name, value in params.items()}

    def loss(weights: Params) -> Tensor:
        return cross_entropy(model.logits(weights, task.inputs), task.labels).mean()

    slope = torch.func.grad(loss)(params)
    pairs = [(slope[name].flatten(), params[name].flatten()) for name in params if name.endswith(writes)]
    gradient, weights = (torch.cat(side) for side in zip(*pairs, strict=True))
    return got(abs(torch.cosine_similarity(gradient, weights, dim=0).item()))


def rows() -> Rows:
    """All of them."""
    found: Rows = [
        Row(
            f"A1 {'-'.join(map(str, widths))}", f"λ of the deep linear network, rank {rank}", AOYAGI,
            f"{llc:g}, multiplicity {m}", about(llc, 0, EXACT), lambda given, widths=widths: deep_linear(widths),
        )
        for widths, (rank, llc, m) in DEEP.items()
    ]  # fmt: skip
    found += [
        Row("A1 theorems", "share of cases in which the two theorems agree", f"{RRR}; {AOYAGI}", "1 (1808 of 1808)",
            about(1, 0, EXACT), theorems_agree),
        Row("A3 QK", "‖QK‖² over its orbit's least, Gaussian start", OURS, "1.066 to 1.070",
            Band(1.056, 1.08, JUDGED), excess("qk")),
        Row("A3 MLP", "‖MLP‖² over its orbit's least, Gaussian start", OURS, "1.0035 to 1.0037",
            about(1.0036, 0.002, JUDGED), excess("mlp")),
        Row("A3 grokked", "‖θ‖² over its orbit's least, grokked under decay", "Du et al. 2018, arXiv:1806.00900",
            "1 (decay balances)", Band(1, 1.01, JUDGED), grokked_excess),
        Row("A3 orbit", "relative change of the least norm along the orbit", OURS, "0", at_most(1e-6, "rounding"),
            orbit_moves),
        *[Row(f"A4 margin {p}", f"margin of the construction over the bound, p = {p}", MORWANI, "1",
              about(1, 1e-9, "rounding"), lambda given, p=p: margin_ratio(p)) for p in (5, 7, 11, 13, 23)],
        Row("A4 frequencies", "clock share of the maximum-margin network", MORWANI, "1, by all (p − 1)/2 frequencies",
            about(1, 1e-9, "rounding"), max_margin_circuit),
    ]  # fmt: skip
    for p in (23, 47, 97):
        found += [
            Row(f"A4 accuracy {p}", f"accuracy of the analytic network of 5.6 p neurons, p = {p}", GROMOV, "1",
                about(1, 0, EXACT), lambda given, p=p: got(accuracy(*analytic(p)).item())),
            Row(f"A4 restricted {p}", f"its restricted over its full loss, p = {p}", GROMOV, "1",
                about(1, 0.01, JUDGED), lambda given, p=p: restricted_over_full(p)),
        ]  # fmt: skip
    area = 0.125**2
    spread = 4 * math.sqrt(area * (1 - area) / PARTICLES)
    return found + [
        Row("A11 still", "share near the crossing without noise and decay, T = 100", f"{SURFING} 1; (q/R)²",
            "0.0156 (q/R = 0.125 if uniform on the cross)", about(area, spread, "4 binomial sd"), at_crossing(0.0)),
        Row("A11 claim 1", "the same with noise .01: the crossing repels", f"{SURFING} 1", "below 0.125",
            at_most(0.125, "quoted direction"), at_crossing(0.01)),
        Row("A11 claim 2", "share with noise .1 over that with .01: noise favours", f"{SURFING} 2", "above 1",
            at_least(1, "quoted direction"), over(0.1, 0.01)),
        Row("A11 claim 2, more", "share with noise .1: more than on a uniform cross", f"{SURFING} 2", "above 0.125",
            at_least(0.125, "quoted direction"), at_crossing(0.1)),
        Row("A11 claim 3", "share with decay .1 at T = 100: decay favours the crossing", f"{SURFING} 3", "above 0.125",
            at_least(0.125, "quoted direction"), at_crossing(0.01, 0.1)),
        Row("A11 claim 3, later", "the same at T = 200: does it stay?", f"{SURFING} 3", "above 0.125",
            at_least(0.125, "quoted direction"), at_crossing(0.01, 0.1, 200)),
        Row("A11 transit", "time of the largest share with decay .1", "drift along the arm, ln(1 + R)/(λη) = 110",
            "85 to 110", Band(85, 110, "derived"), peak),
        Row("A11 claim 4", "share with momentum .9 over that without, noise .01", f"{SURFING} 4", "1 (no effect)",
            about(1, 0.2, JUDGED), over(0.01, 0.01, 0.9)),
        *[Row(f"A12 Euler {depth + 1}", f"error of ⟨θ, ∇L⟩ = {depth + 1} E Σ z ∂ℓ/∂z", "Euler; homogeneous networks",
              "0", at_most(1e-10, "rounding"), euler(depth)) for depth in (1, 2)],
        Row("A12 LayerNorm", "cosine of a LayerNorm network's writing weights to their gradient",
            "scale invariance; van Laarhoven 2017, arXiv:1706.05350", "0", at_most(1e-8, "epsilon and rounding"),
            along_the_stream),
    ]  # fmt: skip
