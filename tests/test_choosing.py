"""Which checkpoints a page shows, and of which it holds the weights."""

from hypothesis import given
from hypothesis import strategies as st

from circuitgrok.faces.inspector.choosing import ROOM, kept, spread
from circuitgrok.measures.learning.crossings import Event


@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=60), st.integers(2, 40), st.lists(st.integers(0, 10**6)))
def test_some_steps_are_ordered_at_most_as_many_with_both_ends(steps, most, wanted):
    ordered = sorted(steps)
    chosen = spread(ordered, most, wanted)
    assert chosen == sorted(set(chosen)) and set(chosen) <= steps
    assert len(chosen) == min(most, len(steps))
    assert chosen[0] == ordered[0] and chosen[-1] == ordered[-1]


def test_what_is_wanted_comes_before_what_is_even():
    assert {330, 780} <= set(spread(range(0, 1000, 10), 4, [333, 777]))


def test_weights_are_kept_after_what_happened_as_far_as_there_is_room():
    steps, found = list(range(0, 1000, 10)), {"memorised": Event(90, 95, None), "grokked": Event(700, 702, None)}
    assert kept(steps, found, ROOM // 4, runs=1) == [0, 100, 710, 990]
    assert kept(steps, found, ROOM // 3, runs=1) == [0, 710, 990]  # what grokking made before what memorising made
    assert kept(steps, found, ROOM // 4, runs=2) == [0, 990]
    assert kept(steps, found, ROOM, runs=2) == [990]  # one at least
    assert len(kept(steps, found, 1, runs=1, most=7)) == 7
