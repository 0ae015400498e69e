"""Sustained crossings: flickers do not count, censoring is told apart from never."""

from itertools import groupby, pairwise

import hypothesis.strategies as st
import pandas as pd
import pytest
from hypothesis import given, settings

from circuitgrok.measures.crossings import ACCURACY_RULES, HOLD, Event, crossing, events

NAN = float("nan")


def brute_force(steps: list[int], values: list[float], threshold: float, hold: int) -> Event:
    """The first stretch at or above the threshold that is long enough, or lasts to the end of the record."""
    start = 0
    for above, stretch in groupby(value >= threshold for value in values):
        length = len(list(stretch))
        if above and (length > hold or start + length == len(values)):
            return Event(steps[start - 1] if start else -1, steps[start], None)
        start += length
    return Event(steps[-1], None, steps[-1])


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    values=st.lists(st.sampled_from([0.0, 0.9499999, 0.95, 1.0, NAN]), min_size=1, max_size=14),
    gaps=st.lists(st.integers(1, 30), min_size=14, max_size=14),
    first=st.integers(0, 5),
    hold=st.integers(0, 4),
)
def test_crossing_equals_a_search_for_stretches(values, gaps, first, hold):
    steps = [first + sum(gaps[:i]) for i in range(len(values))]
    assert crossing(steps, values, 0.95, hold) == brute_force(steps, values, 0.95, hold)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=20), hold=st.integers(0, 6))
def test_interval_is_one_gap_between_evaluations_or_censored_at_the_end(values, hold):
    steps = [10 * i for i in range(len(values))]
    after, by, censored_at = crossing(steps, values, 0.5, hold)
    if by is None:
        assert after == censored_at == steps[-1] and values[-1] < 0.5
    else:
        assert (after, by) in {(-1, 0), *pairwise(steps)} and censored_at is None
        assert all(value >= 0.5 for value in values[by // 10 : by // 10 + hold + 1])
        assert by == 0 or values[by // 10 - 1] < 0.5


def test_flicker_is_no_crossing():
    values = [0.1, 0.99, 0.5, 0.96, 0.97, 0.98, 0.2, 1.0, 1.0, 1.0, 1.0]
    steps = list(range(0, 110, 10))
    assert crossing(steps, values, 0.95, hold=0) == Event(0, 10, None)
    assert crossing(steps, values, 0.95, hold=2) == Event(20, 30, None)
    assert crossing(steps, values, 0.95, hold=3) == Event(60, 70, None)


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


@pytest.mark.parametrize(("steps", "values"), [([], []), ([0, 10], [0.5])])
def test_record_without_evaluations_or_of_two_lengths_is_refused(steps, values):
    with pytest.raises(ValueError, match=f"got {len(steps)} and {len(values)}"):
        crossing(steps, values, 0.5)


def test_events_of_a_history_follow_the_rules_for_both_accuracies():
    ramp = {"train_acc": [0.2, 0.98, 0.99] + [1.0] * 9, "test_acc": [0.0] * 8 + [0.94, 0.95, 0.96, 0.97]}
    history = pd.DataFrame(ramp, index=range(0, 120, 10))
    assert events(history) == {"memorised": Event(10, 20, None), "grokked": Event(80, 90, None)}
    for name, (column, level) in ACCURACY_RULES.items():
        assert events(history)[name] == crossing(list(history.index), list(history[column]), level, HOLD)
