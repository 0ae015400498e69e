"""The loop: what it keeps, where it goes on from, and a chain that diverges beside others that do not."""

import math

import pytest
import torch
from loops import for_each
from oracles import noise
from safetensors.torch import load, save

from circuitgrok.samplers.sample import restored, sample, saved, start
from circuitgrok.samplers.sgld import sgld
from circuitgrok.samplers.target import Info, LossGrad, Sampler, Target

CHAINS, DIM = 3, 4
SEEDS = [5, 6, 7]


def quadratic(w):
    return LossGrad(w.square().sum(-1) / 2, w)


def on_minibatches(w, generators):
    """The quadratic about a centre that each chain draws for itself."""
    shift = torch.stack([torch.randn(DIM, generator=generator, dtype=w.dtype) for generator in generators])
    return LossGrad((w - shift).square().sum(-1) / 2, w - shift)


def posterior(loss=quadratic, batch_loss=None):
    return Target(loss, torch.zeros(CHAINS, DIM, dtype=torch.float64), 10.0, 1.0, batch_loss)


def begun(sampler):
    return start(sampler, noise(CHAINS, DIM), SEEDS)


def counting():
    """A sampler that counts its steps: the count n is its loss, n / 100 its acceptance, -n its energy error."""

    def init(position, generators):
        return {"position": position, "count": torch.zeros(len(position), dtype=torch.int64)}

    def step(state, generators):
        count = state["count"] + 1
        number = count.double()
        return {"position": state["position"] + 1, "count": count}, Info(number, number / 100, -number)

    return Sampler(init, step)


def sample_positions(sampler, chains, n_draws, **numbers):
    """What `sample` returns, observing the positions, and these."""
    chains, draws = sample(sampler, chains, n_draws, observe=lambda w: w, **numbers)
    assert draws.observed is not None
    return chains, draws, draws.observed


def assert_same_chains(one, other):
    left, right = saved(one), saved(other)
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


# What is kept


def test_burn_in_is_not_kept_and_thinning_keeps_the_last_of_its_steps():
    chains, draws = sample(counting(), begun(counting()), 2, n_burnin=3, n_thin=4, observe=lambda w: w[:, :1])
    assert draws.loss.tolist() == [[7.0] * CHAINS, [11.0] * CHAINS]
    assert draws.energy_error.tolist() == [[-7.0] * CHAINS, [-11.0] * CHAINS]
    mean = torch.tensor([5.5, 9.5]).double()[:, None].expand(2, CHAINS) / 100  # of 4..7 and of 8..11
    torch.testing.assert_close(draws.acceptance, mean, rtol=1e-12, atol=0)
    moved = noise(CHAINS, DIM)[:, :1]
    assert draws.observed is not None
    torch.testing.assert_close(draws.observed, torch.stack([moved + 7, moved + 11]), rtol=1e-12, atol=0)
    assert chains.steps == 11 and chains.state["count"].tolist() == [11] * CHAINS


def test_observation_is_made_at_the_kept_draws_only():
    asked = []
    sample(counting(), begun(counting()), 2, n_burnin=3, n_thin=4, observe=lambda w: asked.append(1) or w)
    assert len(asked) == 2


def test_losses_are_those_of_the_positions_observed():
    sampler = sgld(posterior(), step_size=0.01)
    _, draws, positions = sample_positions(sampler, begun(sampler), 20, n_thin=3)
    assert draws.loss.dtype == positions.dtype == torch.float64
    torch.testing.assert_close(draws.loss, positions.square().sum(-1) / 2, rtol=DIM * 2**-52, atol=0)
    assert ((draws.acceptance > 0) & (draws.acceptance <= 1)).all() and draws.energy_error.isfinite().all()


def test_thinned_draws_are_every_third_of_those_without_thinning():
    sampler = sgld(posterior(), step_size=0.01)
    _, all_draws = sample(sampler, begun(sampler), 35)
    _, thinned = sample(sampler, begun(sampler), 10, n_burnin=5, n_thin=3)
    assert torch.equal(thinned.loss, all_draws.loss[7::3])


def test_nothing_is_observed_unless_asked():
    assert sample(counting(), begun(counting()), 1)[1].observed is None


def test_every_step_is_told_with_its_mean_loss():
    told = []
    sample(counting(), begun(counting()), 2, n_burnin=1, n_thin=2, tick=lambda *news: told.append(news))
    assert told == [(step, 5, float(step)) for step in range(1, 6)]


# Going on


@pytest.mark.parametrize("batch_loss", [None, on_minibatches], ids=["full batch", "minibatches"])
@pytest.mark.bits
def test_twice_a_hundred_draws_are_two_hundred_also_when_saved_between(batch_loss):
    sampler = sgld(posterior(batch_loss=batch_loss), step_size=0.01)
    end, whole = sample(sampler, begun(sampler), 200)
    middle, first = sample(sampler, begun(sampler), 100)
    written = save(saved(middle))
    for chains in (middle, restored(load(written))):
        last, second = sample(sampler, chains, 100)
        assert torch.equal(torch.cat([first.loss, second.loss]), whole.loss)
        assert_same_chains(last, end)
    assert end.steps == 200


def test_sampling_leaves_the_chains_it_is_given_as_they_are():
    sampler = sgld(posterior(batch_loss=on_minibatches), step_size=0.01)
    chains = begun(sampler)
    before = saved(chains)
    _, one = sample(sampler, chains, 10)
    assert all(torch.equal(before[name], part) for name, part in saved(chains).items())
    _, other = sample(sampler, chains, 10)
    assert torch.equal(one.loss, other.loss)


def test_an_interrupted_loop_leaves_chains_to_start_again_from():
    sampler = sgld(posterior(), step_size=0.01)
    chains = begun(sampler)

    def interrupt(done, total, mean_loss):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(sampler, chains, 10, tick=interrupt)
    assert_same_chains(chains, begun(sampler))
    assert torch.equal(sample(sampler, chains, 10)[1].loss, sample(sampler, begun(sampler), 10)[1].loss)


def test_a_chain_depends_on_its_own_seed_and_on_no_other():
    sampler = sgld(posterior(), step_size=0.01)
    _, draws = sample(sampler, start(sampler, noise(CHAINS, DIM), [5, 6, 7]), 10)
    _, others = sample(sampler, start(sampler, noise(CHAINS, DIM), [5, 8, 7]), 10)
    assert torch.equal(draws.loss[:, [0, 2]], others.loss[:, [0, 2]])
    assert (draws.loss[:, 1] != others.loss[:, 1]).all()


def test_moving_the_position_that_was_handed_in_does_not_move_the_chains():
    position, sampler = noise(CHAINS, DIM), sgld(posterior(), step_size=0.01)
    chains = start(sampler, position, SEEDS)
    position += 1
    assert torch.equal(chains.state["position"], noise(CHAINS, DIM))


# Diverging

RADIUS = 0.9  # the clean chain 1 crosses it after several steps


def failing(part):
    """The quadratic, of which `part` becomes nan, inf or huge for chain 1 once it is inside a radius."""

    def loss(w):
        value, gradient = quadratic(w)
        failed = (w.norm(dim=-1) < RADIUS) & (torch.arange(CHAINS) == 1)
        if part == "loss":
            return LossGrad(torch.where(failed, torch.nan, value), gradient)
        return LossGrad(value, torch.where(failed[:, None], torch.nan if part == "gradient" else 1e308, gradient))

    return loss


@for_each(("part", "later"), [("loss", 0), ("gradient", 1), ("infinite step", 1)])
def test_a_chain_that_diverges_is_frozen_and_its_neighbours_never_notice(part, later):
    clean, broken = (sgld(posterior(loss), step_size=0.01) for loss in (quadratic, failing(part)))
    end, expected, path = sample_positions(clean, begun(clean), 60)
    crossed = int((path[:, 1].norm(dim=-1) < RADIUS).nonzero()[0]) + 1  # steps are counted from 1
    assert 3 < crossed < 50
    stopped_at = crossed + later
    means = []
    chains, draws, positions = sample_positions(broken, begun(broken), 60, tick=lambda *news: means.append(news[2]))

    assert chains.stopped_at.tolist() == [-1, stopped_at, -1]
    for kept, clean_part in ((draws.loss, expected.loss), (positions, path)):
        assert torch.equal(kept[:, [0, 2]], clean_part[:, [0, 2]])
        assert torch.equal(kept[: stopped_at - 1, 1], clean_part[: stopped_at - 1, 1])
        assert kept[stopped_at - 1 :, 1].isnan().all()
    for name, of_end in end.state.items():
        assert torch.equal(chains.state[name][[0, 2]], of_end[[0, 2]])
    assert torch.equal(chains.state["position"][1], path[stopped_at - 2, 1])  # where it last was finite
    assert means[-1] == pytest.approx(expected.loss[-1, [0, 2]].mean().item(), rel=1e-12)


@pytest.mark.bits
def test_a_diverged_chain_stays_so_when_sampling_goes_on():
    sampler = sgld(posterior(failing("loss")), step_size=0.01)
    end, whole = sample(sampler, begun(sampler), 100)
    middle, _ = sample(sampler, begun(sampler), 60)
    last, second = sample(sampler, restored(load(save(saved(middle)))), 40)
    assert last.stopped_at.tolist() == middle.stopped_at.tolist() == end.stopped_at.tolist()
    assert 0 < last.stopped_at[1] < 60
    assert torch.equal(second.loss[:, [0, 2]], whole.loss[60:, [0, 2]]) and second.loss[:, 1].isnan().all()
    assert torch.equal(last.state["position"], end.state["position"])


def test_the_step_of_divergence_is_counted_from_the_start_of_the_chains():
    sampler = sgld(posterior(failing("loss")), step_size=0.01)
    step = int(sample(sampler, begun(sampler), 60)[0].stopped_at[1])
    before, _ = sample(sampler, begun(sampler), step - 1)
    assert before.stopped_at.tolist() == [-1] * CHAINS
    assert sample(sampler, before, 5)[0].stopped_at.tolist() == [-1, step, -1]


@for_each("value", [math.nan, math.inf])
def test_a_weight_that_is_not_finite_stops_its_chain_whatever_the_loss(value):
    def step(state, generators):
        new, info = counting().step(state, generators)
        new["position"][1, 2] = torch.where(info.loss[1] == 3, value, new["position"][1, 2])
        return new, info

    sampler = Sampler(counting().init, step)
    chains, _ = sample(sampler, begun(sampler), 5)
    assert chains.stopped_at.tolist() == [-1, 3, -1]
    expected = noise(CHAINS, DIM)
    for _ in range(2):
        expected[1] += 1
    assert torch.equal(chains.state["position"][1], expected[1])


def test_divergence_within_thinned_steps_is_seen_in_their_draw():
    sampler = sgld(posterior(failing("loss")), step_size=0.01)
    step = int(sample(sampler, begun(sampler), 60)[0].stopped_at[1])
    for n_thin in (2, 7):
        chains, draws = sample(sampler, begun(sampler), 10, n_burnin=step // 2, n_thin=n_thin)
        assert chains.stopped_at.tolist() == [-1, step, -1]
        finite = math.ceil((step - step // 2) / n_thin) - 1  # draws that were complete before the step
        assert draws.loss[:, 1].isfinite().tolist() == [True] * finite + [False] * (10 - finite)


def test_a_row_of_acceptance_is_nan_once_the_chain_stopped():
    def step(state, generators):
        new, info = counting().step(state, generators)
        return new, info._replace(loss=torch.where(torch.arange(CHAINS) < info.loss - 4, torch.inf, info.loss))

    sampler = Sampler(counting().init, step)  # chain c fails at step 5 + c
    chains, draws = sample(sampler, begun(sampler), 4, n_thin=2)
    assert chains.stopped_at.tolist() == [5, 6, 7]
    assert chains.state["count"].tolist() == [4, 5, 6]
    for part in (draws.loss, draws.acceptance, draws.energy_error):
        assert part.isfinite().sum(0).tolist() == [2, 2, 3]


def test_the_mean_that_is_told_is_nan_when_no_chain_is_left():
    sampler = sgld(posterior(lambda w: LossGrad(torch.full((CHAINS,), torch.nan).double(), w)), step_size=0.01)
    told = []
    chains, draws = sample(sampler, begun(sampler), 2, tick=lambda *news: told.append(news[2]))
    assert chains.stopped_at.tolist() == [1] * CHAINS and draws.loss.isnan().all()
    assert all(math.isnan(mean) for mean in told)
    assert torch.equal(chains.state["position"], noise(CHAINS, DIM))


# Refusals


@for_each("numbers", [{"n_draws": 0}, {"n_draws": 1, "n_burnin": -1}, {"n_draws": 1, "n_thin": 0}])
def test_numbers_of_steps_are_in_range(numbers):
    with pytest.raises(ValueError, match="n_draws and n_thin must be 1 or more and n_burnin 0 or more"):
        sample(counting(), begun(counting()), **numbers)


@for_each("seeds", [[1, 2], [1, 2, 3, 4], [1, 2, 1]])
def test_each_chain_has_a_seed_of_its_own(seeds):
    with pytest.raises(ValueError, match="3 chains needs a seed of its own; got"):
        start(counting(), noise(CHAINS, DIM), seeds)


def test_chains_start_at_finite_positions():
    position = noise(CHAINS, DIM)
    position[1, 2] = torch.inf
    with pytest.raises(ValueError, match=r"chains \[1\] do not"):
        start(counting(), position, SEEDS)


def test_saved_chains_that_are_not_whole_are_refused():
    tensors = saved(begun(counting()))
    del tensors["generators"]
    with pytest.raises(ValueError, match="saved chains need .'generators'."):
        restored(tensors)
