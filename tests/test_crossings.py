"""Sustained crossings: flickers do not count, censoring is told apart from never."""

import random
from itertools import accumulate, pairwise

import hypothesis.strategies as st
import pandas as pd
import pytest
from hypothesis import given, settings
from loops import for_each

from circuitgrok.measures.learning.crossings import (
    ACCURACY_RULES,
    HOLD,
    Event,
    afterwards,
    crossing,
    events,
    events_afterwards,
)

NAN = float("nan")


def brute_force(steps: list[int], values: list[float], threshold: float, hold: int) -> Event:
    """The first evaluation from which the level is kept, each tried by itself."""
    for i in range(len(steps)):
        within = [value for step, value in zip(steps, values, strict=True) if steps[i] <= step <= steps[i] + hold]
        if all(value >= threshold for value in [*within, *(values[i + 1 : i + 2] if hold else [])]):
            return Event(steps[i - 1] if i else -1, steps[i], None)
    return Event(steps[-1], None, steps[-1])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    values=st.lists(st.sampled_from([0.0, 0.9499999, 0.95, 1.0, NAN]), min_size=1, max_size=14),
    gaps=st.lists(st.integers(1, 30), min_size=14, max_size=14),
    first=st.integers(0, 5),
    hold=st.sampled_from([0, 1, 10, 30, 60, 100]),
)
def test_crossing_equals_a_search_among_all_evaluations(values, gaps, first, hold):
    steps = [first + sum(gaps[:i]) for i in range(len(values))]
    assert crossing(steps, values, 0.95, hold) == brute_force(steps, values, 0.95, hold)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=20), hold=st.integers(0, 60))
def test_interval_is_one_gap_between_evaluations_or_censored_at_the_end(values, hold):
    steps = [10 * i for i in range(len(values))]
    after, by, censored_at = crossing(steps, values, 0.5, hold)
    if by is None:
        assert after == censored_at == steps[-1] and values[-1] < 0.5
    else:
        assert (after, by) in {(-1, 0), *pairwise(steps)} and censored_at is None
        assert all(value >= 0.5 for value in values[by // 10 : (by + hold) // 10 + 1])
        assert by == 0 or values[by // 10 - 1] < 0.5


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    values=st.lists(st.sampled_from([0.0, 0.95, 1.0, NAN]), min_size=1, max_size=16),
    gaps=st.lists(st.integers(1, 30), min_size=16, max_size=16),
    hold=st.sampled_from([0, 1, 10, 30, 60, 100]),
)
def test_what_comes_afterwards_equals_a_search_among_all_evaluations(values, gaps, hold):
    steps = [sum(gaps[:i]) for i in range(len(values))]
    event, later = crossing(steps, values, 0.95, hold), afterwards(steps, values, 0.95, hold)
    if event.by is None:
        assert later is None
        return
    since = values[steps.index(event.by) :]
    below = [-1.0 if value >= 0.95 else 1.0 for value in since]
    assert later is not None
    assert later.lost == brute_force(steps[-len(since) :], below, 0.0, hold)
    assert (later.n_below, later.n_later) == (below.count(1.0), len(since) - 1)
    assert later.is_below_at_end == (not values[-1] >= 0.95)


# --- what does not depend on who looks, and what does ------------------------------------------------


def coarser(steps, values, seen):
    """The record of a coarser grid, which has the first evaluation of the fine one."""
    kept = [i for i in range(len(steps)) if i == 0 or seen[i]]
    return [steps[i] for i in kept], [values[i] for i in kept]


def last_possible(event):
    return float("inf") if event.by is None else event.by


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    gaps=st.lists(st.integers(1, 25), min_size=2, max_size=20),
    seen=st.lists(st.booleans(), min_size=20, max_size=20),
    hold=st.sampled_from([1, 10, HOLD, 200]),
    at=st.integers(0, 300),
)
def test_a_monotone_curve_has_its_event_within_that_of_every_coarser_grid(gaps, seen, hold, at):
    grid = [sum(gaps[:i]) for i in range(len(gaps))]
    values = [0.9 + 0.1 * (step >= at) for step in grid]
    fine, coarse = crossing(grid, values, 0.95, hold), crossing(*coarser(grid, values, seen), 0.95, hold)
    assert coarse.after <= fine.after and last_possible(fine) <= last_possible(coarse)
    if fine.by is not None:
        assert fine.after < at <= fine.by


@for_each("seed", range(300))
def test_of_a_noisy_curve_a_coarser_grid_waits_for_no_more_than_what_the_finer_one_keeps(seed):
    """Up to its own next evaluation. What lies between its evaluations it does not see: it may be earlier."""
    draw, values = random.Random(seed), [0.5]
    grid = list(accumulate((draw.randint(1, 25) for _ in range(39)), initial=0))
    for _ in grid[1:]:
        values.append(values[-1] if draw.random() < 0.8 else 1.5 - values[-1])
    hold, seen = draw.choice([1, 10, HOLD, 200]), [draw.random() < 0.5 for _ in grid]
    rows, coarse = coarser(grid, values, seen), crossing(*coarser(grid, values, seen), 0.95, hold)
    for step, upto in pairwise([*rows[0], grid[-1]]):
        needed = [v for s, v in zip(grid, values, strict=True) if step <= s <= max(step + hold, upto)]
        if all(value >= 0.95 for value in needed):
            assert coarse.by is not None and coarse.by <= step
            break
    if coarse.by is not None:
        assert values[grid.index(coarse.by)] >= 0.95
        assert coarse.after == -1 or values[grid.index(coarse.after)] < 0.95


@for_each("eval_every", [1, 2, 5, 10, 25])
def test_a_flicker_is_none_on_any_grid_that_sees_its_end_within_the_hold(eval_every):
    """40 steps at the level, lost for 100, then kept. Five further evaluations were 5 steps on the finest grid."""
    steps = list(range(0, 1000, eval_every))
    values = [1.0 if 200 <= step < 240 or step >= 340 else 0.5 for step in steps]
    assert crossing(steps, values, 0.95).by == -(-340 // eval_every) * eval_every
    assert crossing(steps, values, 0.95, hold=30).by == 200


def test_on_a_grid_that_is_coarser_than_the_hold_the_next_evaluation_must_agree():
    assert crossing([0, 100, 200, 300, 400], [0.5, 1.0, 0.5, 1.0, 1.0], 0.95) == Event(200, 300, None)
    assert crossing([0, 40, 80, 120], [0.5, 1.0, 1.0, 0.5], 0.95, hold=80) == Event(120, None, 120)
    assert crossing([0, 40, 80, 120], [0.5, 1.0, 1.0, 0.5], 0.95, hold=79) == Event(0, 40, None)


def test_grokked_and_lost_again_flickered_and_kept_are_told_apart():
    """The record that ends below its level at 40 of the 269 evaluations after it had been reached."""
    lost = [0.5] * 10 + [0.96] * 230 + [0.943] * 40
    steps = list(range(0, 2800, 10))
    later = afterwards(steps, lost, 0.95)
    assert later == (Event(2390, 2400, None), 40, 269, True)
    assert str(later) == "lost again at step 2390–2400, below at 40 of 269 later evaluations, and at the end"
    back = [0.5] * 10 + [0.96] * 100 + [0.5] * 6 + [0.96] * 164  # below from step 1100 to 1150: 50 steps
    assert str(afterwards(steps, back, 0.95)).startswith("lost again at step 1090–1100, below at 6 of 269")
    flicker = [0.5] * 10 + [0.96] * 100 + [0.5] * 5 + [0.96] * 165
    later = afterwards(steps, flicker, 0.95)
    assert later is not None and later.lost == Event(2790, None, 2790)
    assert str(later) == "below at 5 of 269 later evaluations, not at the end"
    assert str(afterwards(steps, [0.5] * 10 + [0.96] * 270, 0.95)) == "kept at all 269 later evaluations"
    assert afterwards(steps, [0.5] * 280, 0.95) is None


def test_flicker_is_no_crossing():
    values = [0.1, 0.99, 0.5, 0.96, 0.97, 0.98, 0.2, 1.0, 1.0, 1.0, 1.0]
    steps = list(range(0, 110, 10))
    assert crossing(steps, values, 0.95, hold=0) == Event(0, 10, None)
    assert crossing(steps, values, 0.95, hold=29) == Event(20, 30, None)
    assert crossing(steps, values, 0.95, hold=30) == Event(60, 70, None)


def test_level_reached_at_the_end_of_the_record_counts_as_far_as_it_can_be_seen():
    assert crossing([0, 10, 20], [0.1, 0.2, 0.97], 0.95, hold=5) == Event(10, 20, None)
    assert crossing([0, 10, 20], [0.1, 0.97, 0.2], 0.95, hold=5) == Event(20, None, 20)


def test_threshold_itself_is_reached_and_nan_is_below():
    assert crossing([0, 10], [0.0, 0.95], 0.95).by == 10
    assert crossing([0, 10, 20], [1.0, NAN, 1.0], 0.95, hold=1) == Event(10, 20, None)


def test_event_says_its_interval_or_how_long_was_looked():
    assert str(Event(-1, 0, None)) == "step 0–0"
    assert str(Event(20, 30, None)) == "step 20–30"
    assert str(Event(400, None, 400)) == "not within 400 steps"


@for_each(("steps", "values"), [([], []), ([0, 10], [0.5])])
def test_record_without_evaluations_or_of_two_lengths_is_refused(steps, values):
    with pytest.raises(ValueError, match=f"got {len(steps)} and {len(values)}"):
        crossing(steps, values, 0.5)


def test_events_of_a_history_follow_the_rules_for_both_accuracies():
    ramp = {"train_acc": [0.2, 0.98, 0.99] + [1.0] * 9, "test_acc": [0.0] * 8 + [0.94, 0.95, 0.96, 0.97]}
    history = pd.DataFrame(ramp, index=range(0, 120, 10))
    assert events(history) == {"memorised": Event(10, 20, None), "grokked": Event(80, 90, None)}
    for name, (column, level) in ACCURACY_RULES.items():
        assert events(history)[name] == crossing(list(history.index), list(history[column]), level, HOLD)
    afterwards_of = events_afterwards(history)
    assert afterwards_of["grokked"] == (Event(110, None, 110), 0, 2, False)
    for step, test_acc in {120: 0.97, 130: 0.97, 140: 0.97, 150: 0.5}.items():
        history.loc[step, ["train_acc", "test_acc"]] = [1.0, test_acc]
    assert events_afterwards(history)["grokked"] == (Event(140, 150, None), 1, 6, True)
    assert events_afterwards(history)["memorised"] == (Event(150, None, 150), 0, 13, False)
    assert events_afterwards(history * 0) == {"memorised": None, "grokked": None}
