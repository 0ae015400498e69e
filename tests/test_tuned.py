"""Step sizes that follow acceptance: the rule by hand, what is frozen, and that chains are those of the plain loop."""

from functools import partial

import torch
from oracles import noise

from circuitgrok.samplers.hmc import hmc
from circuitgrok.samplers.sample import sample, start
from circuitgrok.samplers.sgld import sgld
from circuitgrok.samplers.target import LossGrad, Target
from circuitgrok.samplers.tuned import GAIN, WANTED, tuned

BOWL = Target(lambda w: LossGrad(w.double().square().sum(-1) / 2, w), torch.zeros(3, 40, dtype=torch.float64), 1.0, 0.0)
SIZES = torch.tensor([1e-3, 0.1, 2.0], dtype=torch.float64)


def of_hmc(size):
    return hmc(BOWL, step_size=size, n_leapfrog=4, jitter=0.2)


def test_sizes_follow_the_rule_in_the_first_half_and_stay_in_the_second():
    size, courses = SIZES, list(tuned(of_hmc, noise(3, 40), [0, 1, 2], SIZES, 10))
    for reached in courses:
        assert torch.equal(reached.step_size, size)
        if 0 < reached.draw <= 5:
            assert reached.kept is not None
            size = size * (GAIN * (reached.kept.acceptance[0] - WANTED)).exp()
    assert courses[-1].draw == 10 and (size != SIZES).all()
    held = list(tuned(of_hmc, noise(3, 40), [0, 1, 2], SIZES, 10, gain=0.0))
    assert all(torch.equal(reached.step_size, SIZES) for reached in held)


def test_it_is_the_plain_loop_at_each_draws_size():
    chains = start(of_hmc(SIZES), noise(3, 40), [0, 1, 2])
    for reached in tuned(of_hmc, noise(3, 40), [0, 1, 2], SIZES, 6):
        if reached.kept is not None:
            chains, kept = sample(of_hmc(reached.step_size), chains, 1)
            assert torch.equal(kept.loss, reached.kept.loss)
        assert torch.equal(chains.state["position"], reached.chains.state["position"])


def test_acceptance_comes_to_what_is_wanted_from_steps_far_too_short_and_too_long():
    courses = list(tuned(of_hmc, noise(3, 40), [0, 1, 2], torch.tensor([1e-6, 0.1, 3.9]).double(), 400))
    accepted = [reached.kept.acceptance[0] for reached in courses[1:] if reached.kept is not None]
    late = torch.stack(accepted[200:])
    assert len(accepted) == 400
    # one draw's acceptance spreads by 0.3, which moves ln of the last size by 0.2, and what is accepted by half of that
    assert (late.mean(0) - WANTED).abs().max() < 0.2
    assert late.mean(0).min() > 0.5 and accepted[0][2] < 1e-3


def test_several_steps_of_a_draw_count_by_their_mean_and_a_chain_that_diverged_takes_shorter_ones():
    made = partial(sgld, BOWL)
    *_, last = tuned(
        lambda size: made(step_size=size), noise(3, 40), [0, 1, 2], torch.tensor([0.01, 0.1, 1e6]).double(), 8, n_thin=3
    )
    assert last.chains.steps == 24 and last.step_size[0] > 0.01 and last.step_size[2] < 1e6
