"""Diagnostics: closed forms for independent and AR(1) chains, slow twins, and chains with one planted fault each."""

import math

import pytest
import torch
from loops import for_each
from oracles import noise
from scipy.stats import chi2, norm, rankdata

from circuitgrok.samplers.diagnostics import ONE_CHAIN, burn_in, diagnose, faults, status

NAN = math.nan


def autoregressive(*shape, rho, seed=0):
    """Stationary x_t = rho x_(t-1) + sqrt(1 - rho^2) noise, variance 1, along the last axis."""
    shocks = noise(*shape, seed=seed)
    x = [shocks[..., 0]]
    for t in range(1, shape[-1]):
        x.append(rho * x[-1] + math.sqrt(1 - rho**2) * shocks[..., t])
    return torch.stack(x, dim=-1)


def error_of_mean(n, m, rho):
    """Exact standard error of the mean of m stationary AR(1) chains of n draws: sums of rho^|s - t|."""
    return math.sqrt((n + 2 * sum((n - k) * rho**k for k in range(1, n))) / (m * n**2))


def uncut(traces):
    return diagnose(traces, n_burnin=torch.zeros(traces.shape[:-2], dtype=torch.int64))


def assert_mean_is(values, expected, bias=0.0):
    """Four standard errors of the mean over independent repetitions, and what the estimator's bias may be."""
    error = values.std().item() / math.sqrt(len(values))
    assert abs(values.mean().item() - expected) < 4 * error + bias * expected


# R-hat


def slow_split_r_hat(chains):
    """Within and between the halves of chains, of ranks put on the normal scale (Blom's offsets)."""
    n = len(chains[0]) // 2
    halves = [half for chain in chains for half in (chain[:n], chain[len(chain) - n :])]
    ranks = rankdata([x for half in halves for x in half])
    scores = [norm.ppf((rank - 3 / 8) / (len(ranks) + 1 / 4)) for rank in ranks]
    halves = [scores[i : i + n] for i in range(0, len(scores), n)]
    means = [math.fsum(half) / n for half in halves]
    grand = math.fsum(means) / len(means)
    between = n * math.fsum((mean - grand) ** 2 for mean in means) / (len(means) - 1)
    squares = [math.fsum((x - mean) ** 2 for x in half) for half, mean in zip(halves, means, strict=True)]
    within = math.fsum(squares) / (n - 1) / len(halves)
    return math.sqrt(((n - 1) / n * within + between / n) / within)


def slow_r_hat(chains):
    n = len(chains[0]) // 2
    middle = sorted(x for chain in chains for half in (chain[:n], chain[len(chain) - n :]) for x in half)
    median = (middle[len(middle) // 2] + middle[len(middle) // 2 - 1]) / 2
    return max(slow_split_r_hat(chains), slow_split_r_hat([[abs(x - median) for x in chain] for chain in chains]))


R_HAT_CASES = {
    "independent": noise(4, 40),
    "odd number of draws": noise(3, 41),
    "shifted chains": noise(4, 40) + torch.arange(4)[:, None],
    "chains of unequal width": noise(4, 400) * torch.tensor([[1.0], [1], [1], [9]]),
    "ties": noise(4, 40).round(),
    "heavy tails": 1 / noise(4, 40),
    "tiny": 3 + noise(4, 40) * 1e-12,
}


@for_each("name", R_HAT_CASES)
def test_r_hat_is_the_split_one_of_ranks_the_slow_way(name):
    traces = R_HAT_CASES[name]
    assert uncut(traces).r_hat.item() == pytest.approx(slow_r_hat(traces.tolist()), rel=1e-10)


def test_chains_of_unequal_width_are_seen_by_the_folded_part_only():
    traces = R_HAT_CASES["chains of unequal width"]
    assert slow_split_r_hat(traces.tolist()) < 1.05 < uncut(traces).r_hat


# Independent and AR(1) chains

REPEATS, CHAINS, DRAWS = 60, 4, 500


@pytest.fixture(scope="module", params=[0.0, 0.5, 0.8], ids="rho {}".format)
def stationary(request):
    """The correlation, many runs of four chains, and their diagnosis."""
    traces = autoregressive(REPEATS, CHAINS, DRAWS, rho=request.param, seed=3)
    return request.param, traces, uncut(traces)


# Geyer's rule stops the sum of autocorrelations where noise takes a pair below zero. What it leaves out or lets in is
# of the order of the noise of one pair, 1 / sqrt(CHAINS * DRAWS) times a few lags: at 2000 draws, within 5 %.
GEYER = 0.05


def test_the_effective_sample_size_of_ar1_chains_is_the_closed_form(stationary):
    rho, _, diagnosis = stationary
    assert_mean_is(diagnosis.ess_bulk, CHAINS * DRAWS * (1 - rho) / (1 + rho), bias=GEYER)


def test_the_error_of_the_mean_of_ar1_chains_is_the_closed_form(stationary):
    rho, _, diagnosis = stationary
    assert_mean_is(diagnosis.mcse, error_of_mean(DRAWS, CHAINS, rho), bias=GEYER)


def test_means_miss_the_truth_by_as_much_as_they_say(stationary):
    diagnosis = stationary[-1]
    squares = (diagnosis.mean / diagnosis.mcse).square().sum().item()
    assert abs(squares - REPEATS) < 4 * math.sqrt(2 * REPEATS)  # chi-squared with a degree for each run


def tail_ess(rho, n, p=0.05):
    """Of the indicator that a Gaussian AR(1) chain is below its quantile: Mehler's series, summed over lags."""
    q, series, before, hermite = norm.ppf(p), 0.0, 0.0, 1.0  # Hermite polynomials over sqrt(j!)
    for j in range(1, 200):
        series += (norm.pdf(q) * hermite) ** 2 / j * rho**j / (1 - rho**j)
        before, hermite = hermite, (q * hermite - math.sqrt(j - 1) * before) / math.sqrt(j)
    return n / (1 + 2 * series / (p * (1 - p)))


def test_the_tail_sample_size_of_ar1_chains_is_the_closed_form(stationary):
    rho, _, diagnosis = stationary
    # The smaller of two estimates lies below their mean by at most sqrt(2 / pi) times the spread of each, and has
    # itself at least 0.8 of that spread.
    expected, spread = tail_ess(rho, CHAINS * DRAWS), diagnosis.ess_tail.std()
    assert expected * (1 - GEYER) - spread < diagnosis.ess_tail.mean() < expected * (1 + GEYER)


def test_stationary_chains_are_ok(stationary):
    diagnosis = stationary[-1]
    assert [status(diagnosis.at(i)) for i in range(REPEATS)] == ["diagnostics_passed"] * REPEATS
    assert diagnosis.n_burnin.tolist() == [0] * REPEATS and diagnosis.n_draws.tolist() == [DRAWS] * REPEATS


def test_the_drift_of_stationary_chains_is_within_bounds_and_as_wide_as_it_says(stationary):
    diagnosis = stationary[-1]
    assert diagnosis.drift.abs().max() < 4
    squares = diagnosis.drift.square().sum().item()
    # Chi-squared; the error, from 100 draws of 4 chains, is itself known to some 15 % only, which adds 3 * 0.15^2 to
    # the mean of a square over its square.
    assert abs(squares - REPEATS) < 4 * math.sqrt(2 * REPEATS) + 0.07 * REPEATS


@for_each("chains", [2, CHAINS])
def test_the_drift_is_the_difference_of_two_windows_over_its_error(stationary, chains):
    rho, traces, _ = stationary
    traces = traces[:30].reshape(-1, chains, DRAWS).clone()
    traces[..., :100] += 7  # common to all chains: the error is none the larger, and known from the drift
    traces[..., 250:] += 4
    difference = traces[..., :100].mean((-2, -1)) - traces[..., 250:].mean((-2, -1))
    expected = math.hypot(error_of_mean(100, chains, rho), error_of_mean(250, chains, rho))
    # The first window has a fifth of the draws or, of two chains, a tenth: Geyer's bias is up to sqrt(10) times larger.
    assert_mean_is(difference / uncut(traces).drift, expected, bias=3.2 * GEYER)


# Burn-in


def slow_burn_in(chains):
    path = [math.fsum(column) / len(column) for column in zip(*chains, strict=True)]
    best, cut = math.inf, 0
    for d in range(len(path) // 2 + 1):
        rest = path[d:]
        mean = math.fsum(rest) / len(rest)
        error = math.fsum((x - mean) ** 2 for x in rest) / len(rest) ** 2
        if error < best:
            best, cut = error, d
    return cut


@pytest.mark.parametrize("n", [1, 2, 3, 10, 81])
def test_burn_in_is_the_smallest_standard_error_the_slow_way(n):
    transient = 20 * torch.exp(-torch.arange(n) / 5.0) * torch.arange(6)[:, None, None] + 1e6
    traces = noise(6, 3, n) + transient
    assert burn_in(traces).tolist() == [slow_burn_in(chains) for chains in traces.tolist()]


def test_a_transient_is_cut_where_it_sinks_into_the_noise():
    # With noise of +-s the rule's sum changes at d by 2 s^2 - (b +- s)^2, in pairs by s^2 - b^2 each: the smallest is
    # at b = s, d = tau ln(A / s). Beside it the pairs add up to x^2 / tau, against single steps of up to 2 (in s^2),
    # so that the cut is off by at most sqrt(2 tau) and the pair itself.
    tau, height, n = 20.0, 100.0, 2000
    t = torch.arange(n).double()
    path = height * torch.exp(-t / tau) + (-1.0) ** t
    assert abs(burn_in(path.expand(4, n)).item() - tau * math.log(height)) <= math.sqrt(2 * tau) + 2


def test_after_the_cut_the_mean_is_right_to_its_error_and_was_not_before():
    tau, height, repeats, n = 20.0, 50.0, 20, 1000
    transient = height * torch.exp(-torch.arange(n) / tau)
    traces = autoregressive(repeats, CHAINS, n, rho=0.5, seed=4) + transient
    diagnosis = diagnose(traces)
    # Left of the transient at the cut: 4 standard deviations of the mean of four chains at most, which over 900 draws
    # is 4 * 0.5 * tau / 900 = 0.044 at the very worst, in errors of sqrt(3 / 3600) = 0.029 a shift of 1.5.
    assert (diagnosis.mean / diagnosis.mcse).abs().max() < 4 + 1.5
    assert diagnosis.drift.abs().max() < 4
    assert (uncut(traces).mean.min() > 0.5) and (uncut(traces).drift.abs().min() > 4)  # height * tau / n = 1


def test_independent_draws_lose_as_many_to_the_rule_as_a_random_walk_says():
    # Cutting a draw changes the sum by 2 - z^2: a walk S_k = 2 k - chi2_k whose first minimum is sought. By Spitzer's
    # identity it is at 0 with probability exp(-sum P(S_k < 0) / k), and in the mean at sum P(S_k < 0).
    below = [float(chi2.sf(2 * k, k)) for k in range(1, 200)]
    cuts = burn_in(noise(4000, 2, 600, seed=2)).double()
    at_zero = math.exp(-math.fsum(p / k for k, p in enumerate(below, start=1)))
    assert_mean_is((cuts == 0).double(), at_zero)
    assert_mean_is(cuts, math.fsum(below))


def test_at_most_half_is_cut():
    assert burn_in(torch.arange(100.0).expand(2, 100)).item() == 50
    assert burn_in(torch.arange(101.0).expand(2, 101)).item() == 50


@for_each("value", [0.0, 0.1, 1e9])
def test_a_constant_trace_is_not_cut(value):
    assert burn_in(torch.full((3, 50), value)).item() == 0


# Chains with one fault each


def spoilt(traces, chain, draws, value):
    traces = traces.clone()
    traces[chain, draws] = value
    return traces


GOOD = noise(4, 1000, seed=1)
BAD = {  # each has one fault, and would be found ok without it
    "drift": GOOD + 0.6 * torch.linspace(0, 1, 1000),
    "stuck": spoilt(GOOD, 2, slice(None), 0.3),
    "R-hat": noise(16, 250, seed=1) + 0.4 * (-1.0) ** torch.arange(16)[:, None],  # of few chains, ESS is low as well
    "diverged": spoilt(GOOD, 1, slice(900, None), NAN),
    "too short": GOOD[:, :19],
    "ESS": autoregressive(2, 1000, rho=0.94),  # worth 2000 * 0.06 / 1.94 = 62; of more, R-hat is high as well
}


@for_each("fault", BAD)
def test_bad_chains_are_flagged_for_their_own_reason_and_no_other(fault):
    diagnosis = uncut(BAD[fault])
    [found] = faults(diagnosis)
    assert found.startswith(fault)
    assert status(diagnosis) == ("diverged" if fault == "diverged" else "not_converged")


def test_good_chains_have_no_fault():
    assert faults(uncut(GOOD)) == [] and status(diagnose(GOOD)) == "diagnostics_passed"


GROSS = {
    "drift": GOOD + 20 * torch.linspace(0, 1, 1000),
    "stuck": torch.full((4, 1000), 2.0),
    "R-hat": GOOD + torch.tensor([[-5.0], [-5.0], [5.0], [5.0]]),
    "diverged": spoilt(GOOD, slice(None), slice(3, None), torch.inf),
    "too short": GOOD[:, :1],
    "ESS": GOOD.cumsum(-1),
}


@for_each("fault", GROSS)
def test_grossly_bad_chains_are_flagged_for_their_own_reason_among_others(fault):
    diagnosis = diagnose(GROSS[fault])
    assert any(found.startswith(fault) for found in faults(diagnosis))
    assert status(diagnosis) == ("diverged" if fault == "diverged" else "not_converged")


def test_halves_that_are_constant_are_flagged_though_no_chain_is():
    step = torch.cat([torch.zeros(4, 500), torch.ones(4, 500)], dim=1)
    assert status(uncut(step)) == "not_converged"
    blip = torch.zeros(4, 1001)
    blip[:, 500] = 1  # the draw that splitting leaves out
    assert status(uncut(blip)) == "not_converged"


def test_copies_of_one_chain_are_flagged_though_they_agree():
    assert status(uncut(GOOD[:1].expand(4, 1000))) == "not_converged"


def test_a_transient_that_was_left_in_is_flagged_though_r_hat_and_ess_pass():
    traces = autoregressive(4, 1000, rho=0.5) + 20 * torch.exp(-torch.arange(1000) / 20.0)
    assert [found[:5] for found in faults(uncut(traces))] == ["drift"]
    assert status(diagnose(traces)) == "diagnostics_passed"


def test_one_chain_alone_is_never_ok():
    assert faults(uncut(GOOD[:1])) == [ONE_CHAIN] and status(uncut(GOOD[:1])) == "one_chain"
    drifting = GOOD[:1] + torch.linspace(0, 3, GOOD.shape[1])
    assert status(uncut(drifting)) == "not_converged"  # what one chain can know, it says


@for_each("value", [NAN, torch.inf, -torch.inf])
def test_a_diverged_chain_is_never_averaged(value):
    diagnosis = diagnose(spoilt(GOOD, 1, slice(-1, None), value))
    assert diagnosis.n_diverged == 1 and diagnosis.n_burnin == 0
    assert all(part.isnan() for part in diagnosis[:6])


def test_a_stuck_chain_leaves_the_mean_and_nothing_else():
    diagnosis = uncut(BAD["stuck"])
    assert diagnosis.n_stuck == 1 and diagnosis.mean == BAD["stuck"].mean()
    assert all(part.isnan() for part in diagnosis[1:6])


@for_each(("field", "limit", "fault"), [("r_hat", 1.05, "R-hat"), ("drift", -4.0, "drift")])
def test_limits_are_the_last_good_values(field, limit, fault):
    good = uncut(GOOD)
    at, beyond = (good._replace(**{field: torch.tensor(limit * factor).double()}) for factor in (1, 1.001))
    assert faults(at) == [] and faults(beyond)[0].startswith(fault)


# Stacks


def test_an_entry_of_a_stack_is_diagnosed_as_if_alone():
    moved = GOOD.clone()
    moved[:, :100] += 30
    entries = [GOOD, moved, BAD["stuck"], BAD["diverged"], GROSS["ESS"], GOOD.flip(-1)]
    stacked = diagnose(torch.stack(entries).reshape(2, 3, 4, 1000))
    assert stacked.mean.shape == (2, 3) and stacked.n_burnin[0, 1] >= 100
    for i, traces in enumerate(entries):
        for together, alone in zip(stacked.at(i // 3, i % 3), diagnose(traces), strict=True):
            torch.testing.assert_close(together, alone, rtol=1e-12, atol=0, equal_nan=True)


def test_burn_in_that_is_given_is_what_is_left_out():
    stacked = diagnose(torch.stack([GOOD, GOOD]), n_burnin=torch.tensor([0, 300]))
    alone = uncut(GOOD[:, 300:])
    assert stacked.n_burnin.tolist() == [0, 300] and stacked.n_draws.tolist() == [1000, 700]
    for i in range(6):
        torch.testing.assert_close(stacked[i][1], alone[i], rtol=1e-12, atol=0)


def test_an_empty_stack_has_an_empty_diagnosis():
    assert all(part.shape == (0,) for part in diagnose(torch.empty(0, 4, 100)))


def test_units_change_the_mean_and_its_error_only():
    unit, small = uncut(GOOD), uncut(GOOD * 2.0**-70)  # a power of two: no digit changes
    assert [part.item() for part in unit[1:4]] == [part.item() for part in small[1:4]]
    assert unit.drift.item() == small.drift.item()
    assert unit.mcse.item() == 2.0**70 * small.mcse.item()


# Refusals


@for_each("shape", [(4, 0), (0, 10), (2, 0, 10)])
def test_traces_have_a_chain_and_a_draw(shape):
    for judge in (burn_in, diagnose):
        with pytest.raises(ValueError, match="with a chain and a draw; got"):
            judge(torch.empty(shape))


@for_each("n_burnin", [torch.tensor(-1), torch.tensor(1000)])
def test_burn_in_leaves_a_draw(n_burnin):
    with pytest.raises(ValueError, match=r"in 0\.\.999 for each entry"):
        diagnose(GOOD, n_burnin=n_burnin)


def test_faults_are_of_one_entry():
    with pytest.raises(ValueError, match=r"pick one of \[2\] with at"):
        faults(diagnose(torch.stack([GOOD, GOOD])))
