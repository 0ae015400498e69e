"""Slingshots: planted cycles are found on any grid, and nothing that lacks one of the three rules is."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from loops import for_each
from oracles import generator, noise

from circuitgrok.measures.learning.cycles import cycles, gain, last_tenth
from circuitgrok.measures.learning.slingshots import CALM, COLUMNS, Slingshot, slingshots, summary

SPIKES = [3000, 5000, 8000]  # of the planted record; steps from peak to peak are 2000 and 3000


def record(steps, loss, accuracy, norm) -> pd.DataFrame:
    """Each column a function of the step."""
    columns = dict(zip(COLUMNS, (loss, accuracy, norm), strict=True))
    return pd.DataFrame({name: [float(of(step)) for step in steps] for name, of in columns.items()}, index=list(steps))


def calm_loss(step: float) -> float:
    """1 at the start, 1e-7 from step 700 on."""
    return 10 ** -min(step / 100, 7)


def sawtooth(step: float) -> float:
    """Five decades up in the 30 steps to a spike, down again in 500."""
    rises = [5 - (spike - step) / 6 if step <= spike else 5 - (step - spike) / 100 for spike in SPIKES]
    return calm_loss(step) * 10 ** max(0.0, *rises)


def memorises(step: float) -> float:
    return 1.0 if step >= 400 else step / 400


def staircase(step: float) -> float:
    """From 10 up by 2 in the 400 steps to each spike, level everywhere else."""
    return 10 + sum(2 * min(max((step - spike + 400) / 400, 0), 1) for spike in SPIKES)


def level(step: float) -> float:
    return 10.0


def evenly(every: int) -> range:
    return range(0, 10001, every)


def unevenly(seed: int) -> list[int]:
    """Gaps of 1 to 20 steps, and an evaluation at each peak and where each rise begins."""
    drawn = np.random.default_rng(seed).integers(1, 21, size=2000).cumsum()
    return sorted({*drawn[drawn <= 10000].tolist(), *SPIKES, *(spike - 30 for spike in SPIKES)})


PLANTED = (sawtooth, memorises, staircase)


@for_each("steps", [evenly(1), evenly(10), unevenly(0), unevenly(1)], ids="1 10 one other".split())
def test_planted_cycles_are_found_on_any_grid_with_their_onset_peak_jump_bend_and_growth(steps):
    found = slingshots(record(steps, *PLANTED))
    assert [(cycle.onset, cycle.peak, cycle.bend) for cycle in found] == [(at - 30, at, at) for at in SPIKES]
    assert [cycle.jump for cycle in found] == pytest.approx([5.0] * 3, rel=1e-12)
    assert [cycle.norm_change for cycle in found] == pytest.approx([2.0] * 3, rel=1e-12)
    assert summary(found)[:2] == (3, 2500.0)
    assert summary(found).median_norm_change == pytest.approx(2.0, rel=1e-12)


@for_each("every", [7, 33, 50])
def test_onset_and_peak_are_known_to_one_evaluation_up_to_fifty_steps_apart(every):
    found = slingshots(record(evenly(every), *PLANTED))
    assert len(found) == 3
    for cycle, spike in zip(found, SPIKES, strict=True):
        assert abs(cycle.peak - spike) < every and spike - 30 - every < cycle.onset <= spike - 30
        assert abs(cycle.bend - spike) < every


def test_a_record_in_other_units_of_norm_has_the_same_cycles():
    ten = slingshots(record(evenly(10), sawtooth, memorises, lambda step: 10 * staircase(step)))
    one = slingshots(record(evenly(10), *PLANTED))
    assert [cycle[:4] for cycle in ten] == [cycle[:4] for cycle in one]
    assert ten[1].norm_change == pytest.approx(10 * one[1].norm_change, rel=1e-12)


def test_ringing_after_a_peak_is_one_slingshot_with_its_peak_at_the_highest():
    def ringing(step: float) -> float:
        tip = {3000: 4.0, 3040: 0.5, 3080: 5.0, 3120: 0.5, 3160: 4.5}
        return calm_loss(step) * 10 ** tip.get(int(step), 0.0)

    [cycle] = slingshots(record(evenly(10), ringing, memorises, staircase))
    assert (cycle.onset, cycle.peak, cycle.jump) == (3070, 3080, pytest.approx(5.0, rel=1e-12))


@for_each(("second", "peak"), [(3240, 3240), (3250, 3000)])
def test_a_spike_within_two_hundred_steps_of_the_last_rise_belongs_to_it_and_a_later_one_does_not(second, peak):
    def two(step: float) -> float:  # seen from up to fifty steps before: 2990 to second - 50
        return calm_loss(step) * 10 ** {3000: 4.0, second: 5.0}.get(int(step), 0.0)

    [cycle] = slingshots(record(evenly(10), two, memorises, staircase))  # no growth of its own for the later one
    assert cycle.peak == peak


@for_each(("again", "peaks"), [(0.0, [3000]), (1.0, [3000, 3500])])
def test_a_second_slingshot_needs_growth_of_its_own(again, peaks):
    def two(step: float) -> float:
        return calm_loss(step) * 10 ** (4.0 * (step in (3000, 3500)))

    def grows(step: float) -> float:
        return 10 + min(max(step - 2600, 0), 400) / 200 + again * min(max(step - 3200, 0), 300) / 200

    assert [cycle.peak for cycle in slingshots(record(evenly(10), two, memorises, grows))] == peaks


# What is not a slingshot


def test_a_smooth_descent_has_none_even_where_the_norm_turns_level():
    assert slingshots(record(evenly(10), calm_loss, memorises, staircase)) == []


def test_oscillations_before_memorisation_are_not_counted():
    def late(step: float) -> float:
        return 1.0 if step >= 9000 else 0.9989

    assert slingshots(record(evenly(10), sawtooth, late, staircase)) == []


@for_each(("since", "count"), [(2780, 3), (2790, 2)])
def test_accuracy_must_have_been_high_for_two_hundred_steps_before_the_loss_rises(since, count):
    # The last evaluation from which the first spike is two decades up is that of step 2980.
    found = slingshots(record(evenly(10), sawtooth, lambda step: 0.999 if step >= since else 0.99, staircase))
    assert len(found) == count


def test_a_record_that_begins_just_before_a_spike_cannot_say_that_all_was_calm():
    history = record(evenly(10), *PLANTED)
    assert [cycle.peak for cycle in slingshots(history.loc[2600:])] == SPIKES
    assert [cycle.peak for cycle in slingshots(history.loc[2800:])] == SPIKES[1:]


@for_each(
    "norm",
    [
        level,
        lambda step: 10 + step / 1000,  # 2 % in 200 steps, straight on
        lambda step: 10 * math.log(100 + step),  # slows down, as every norm does, but does not stop
        lambda step: 10 - staircase(step) / 10,  # shrinks, then stops
        lambda step: 10 + 1e-5 * math.sin(step),  # trembles
    ],
    ids=["level", "linear", "logarithmic", "shrinking", "trembling"],
)
def test_loss_spikes_without_growth_that_turns_into_a_plateau_are_not_counted(norm):
    assert slingshots(record(evenly(10), sawtooth, memorises, norm)) == []


@for_each(("shift", "count"), [(0, 3), (200, 3), (-200, 3), (420, 0), (-500, 0)])
def test_the_plateau_must_begin_within_two_hundred_steps_of_the_rise(shift, count):
    def moved(step: float) -> float:  # growth of 200 steps only, so that no other step can pass for its end
        return 10 + sum(2 * min(max((step - shift - spike + 200) / 200, 0), 1) for spike in SPIKES)

    assert len(slingshots(record(evenly(10), sawtooth, memorises, moved))) == count


@for_each(("slope", "count"), [(0.49, 3), (0.51, 0)])
def test_a_plateau_grows_half_as_fast_at_most(slope, count):
    def broken(step: float) -> float:
        kinks = sum(min(max(step - spike, -1000), 0) + slope * min(max(step - spike, 0), 600) for spike in SPIKES)
        return 100 + kinks / 100

    assert len(slingshots(record(evenly(10), sawtooth, memorises, broken))) == count


@for_each(("gain", "count"), [(1.01e-3, 3), (0.99e-3, 0)])
def test_growth_is_a_thousandth_in_two_hundred_steps_at_least(gain, count):
    def small(step: float) -> float:  # the last 200 steps to each spike, by a share of what there was
        return 10 * math.prod(1 + gain * min(max((step - spike + 200) / 200, 0), 1) for spike in SPIKES)

    assert len(slingshots(record(evenly(10), sawtooth, memorises, small))) == count


@for_each(("decades", "count"), [(2.01, 3), (1.99, 0)])
def test_the_loss_must_rise_by_two_decades(decades, count):
    def spiked(step: float) -> float:
        return calm_loss(step) * 10 ** (decades * (step in SPIKES))

    assert len(slingshots(record(evenly(10), spiked, memorises, staircase))) == count


@for_each(("steps_up", "count"), [(120, 3), (130, 0)])
def test_the_loss_must_rise_by_two_decades_within_fifty_steps(steps_up, count):
    def slow(step: float) -> float:  # five decades: two of them take 48 or 52 steps
        return calm_loss(step) * 10 ** max(0.0, *(5 - abs(spike - step) * 5 / steps_up for spike in SPIKES))

    assert len(slingshots(record(evenly(1), slow, memorises, staircase))) == count


def test_a_spike_whose_plateau_the_record_does_not_reach_is_not_counted():
    history = record(evenly(10), *PLANTED)
    assert [cycle.peak for cycle in slingshots(history.loc[:8200])] == SPIKES
    # Where the record ends at 8010, no step later than 7810 can be a bend, and until there the norm grows on.
    assert [cycle.peak for cycle in slingshots(history.loc[:8010])] == SPIKES[:2]


# Losses of zero


def test_a_loss_of_zero_is_the_smallest_positive_loss_of_the_record():
    def vanishing(step: float) -> float:
        return {2900: 1e-9, 3000: 1e-4}.get(int(step), 0.0 if step > 700 else 1.0)

    [cycle] = slingshots(record(evenly(10), vanishing, memorises, staircase))
    assert (cycle.onset, cycle.peak, cycle.jump) == (2990, 3000, pytest.approx(5.0, rel=1e-12))


def test_a_loss_of_zero_is_at_most_what_float32_can_tell_from_it():
    def vanishing(step: float) -> float:
        return 0.0 if step > 700 and step not in SPIKES else 1.0

    found = slingshots(record(evenly(10), vanishing, memorises, staircase))
    assert [cycle.jump for cycle in found] == pytest.approx([23 * math.log10(2)] * 3, rel=1e-12)


def test_a_loss_that_flickers_between_zero_and_its_smallest_value_is_calm():
    def flickering(step: float) -> float:
        return 3e-11 * (step // 10 % 3) if step > 700 else 1.0

    assert slingshots(record(evenly(10), flickering, memorises, staircase)) == []


# A network that does it


def memorising_network(loss_dtype: torch.dtype) -> pd.DataFrame:
    """History of a float32 ReLU network that fits random labels with Adam and then goes on without weight decay."""
    inputs, labels = noise(200, 64).float(), torch.randint(10, (200,), generator=generator(1))
    sizes = [(64, 128), (128, 128), (128, 10)]
    layers = [(noise(*size, seed=2 + i) / size[0] ** 0.5).float() for i, size in enumerate(sizes)]
    optimizer = torch.optim.Adam([layer.requires_grad_() for layer in layers], lr=2e-3)
    rows = {}
    for step in range(20001):
        logits = (inputs @ layers[0]).relu().matmul(layers[1]).relu() @ layers[2]
        loss = torch.nn.functional.cross_entropy(logits.to(loss_dtype), labels)
        if step % 10 == 0:
            right = (logits.argmax(-1) == labels).double().mean()
            rows[step] = [loss.item(), right.item(), layers[2].norm().item()]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_float32_loss_makes_slingshots_and_a_float64_loss_none():
    assert len(slingshots(memorising_network(torch.float32))) >= 1
    assert slingshots(memorising_network(torch.float64)) == []


# The summary, and refusals


def test_summary_of_none_and_of_one_has_no_period():
    none, one = summary([]), summary([Slingshot(90, 100, 3.0, 100, 0.5)])
    assert none.n_cycles == 0 and math.isnan(none.median_period) and math.isnan(none.median_norm_change)
    assert one.n_cycles == 1 and math.isnan(one.median_period) and one.median_norm_change == 0.5


def test_an_empty_record_has_none():
    assert slingshots(record([], *PLANTED)) == []


@for_each("column", COLUMNS)
def test_a_missing_column_is_named(column):
    with pytest.raises(ValueError, match=f"this history lacks {column}: it has"):
        slingshots(record(evenly(10), *PLANTED).drop(columns=column))


def test_a_grid_that_is_too_coarse_is_refused_and_says_what_to_set():
    with pytest.raises(ValueError, match="got 51 steps after step 0: train with eval_every at most 50"):
        slingshots(record(range(0, 10000, 51), *PLANTED))
    with pytest.raises(ValueError, match="got 70 steps after step 40"):
        slingshots(record(evenly(10), *PLANTED).drop(index=range(50, 101, 10)))


def test_steps_that_do_not_increase_are_refused():
    with pytest.raises(ValueError, match="must increase; they do not after step 20"):
        slingshots(record([0, 10, 20, 20, 30], *PLANTED))


@for_each(("column", "value"), [("train_loss", -1.0), ("train_loss", math.nan), ("norm_unembed", math.inf)])
def test_numbers_that_cannot_be_are_refused(column, value):
    history = record(evenly(10), *PLANTED)
    history.loc[130, column] = value
    with pytest.raises(ValueError, match="not so at step 130"):
        slingshots(history)


def test_a_slingshots_gain_is_test_accuracy_after_it_less_that_before():
    steps = list(range(0, 1001, 10))
    history = pd.DataFrame({"test_acc": [0.75 if step > 500 else 0.25 for step in steps]}, index=steps)
    assert gain(history, [500]) == 0.5 and gain(history, [300]) == 0
    assert gain(history, [500, 300]) == 0.25  # the mean over slingshots; all numbers are binary fractions
    assert pd.isna(gain(history, []))


def test_what_comes_with_slingshots_is_taken_at_the_first_onset_and_beside_the_twin():
    steps = evenly(10)
    history = record(steps, *PLANTED).assign(test_acc=0.25, softmax_collapse=[s / 16384 for s in steps])
    [first, *_] = found = slingshots(history)
    twin = history.assign(test_acc=[0.75 if s > first.onset else 0.5 for s in steps])
    line = cycles(history.assign(gradient_sum=[s > first.onset - CALM for s in steps]), twin)
    assert line["n_slingshots"] == 3 and line["onsets"] == " ".join(str(cycle.onset) for cycle in found)
    assert line["collapsed_at_onset"] == first.onset / 16384
    assert (line["gradient_sum_late"], line["gradient_sum_early"]) == (1, 0)
    assert line["change_at_slingshots"] == 0 and line["change_of_twin"] == gain(twin, [c.onset for c in found]) > 0
    assert (line["end_test_acc"], line["twin_end_test_acc"]) == (0.25, last_tenth(twin))
    alone = cycles(record(steps, calm_loss, memorises, lambda step: 1.0).assign(test_acc=0.25))
    gone = ["median_jump", "change_of_twin", "collapsed_at_onset", "gradient_sum_late", "zero_losses_max"]
    assert alone["n_slingshots"] == 0 and all(pd.isna(alone[name]) for name in gone)
