"""Gaps in an index, told from what happened to a run."""

import hypothesis.strategies as st
from hypothesis import given, settings

from circuitgrok.store.gaps import Gap, removed_ranges, split

EVENTS = st.lists(
    st.one_of(
        st.sets(st.integers(0, 19)).map(lambda steps: ("thinned", steps)),
        st.integers(0, 19).map(lambda step: ("resumed", step)),
    ),
    max_size=5,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(happened=EVENTS)
def test_what_is_there_is_what_a_folder_would_hold(happened):
    """A run that saves steps 0 to 19, its checkpoints removed and trained again from some step on."""
    there, events = {*range(20)}, []
    for what, value in happened:
        if what == "thinned":
            there -= value
            events.append({"event": what, "step": 19, "removed": [[step, step] for step in sorted(value)]})
        else:
            there |= {*range(value + 1, 20)} if value else {*range(20)}
            events.append({"event": what, "step": value})
    kept, gaps = split(list(range(20)), removed_ranges(events))
    assert kept == sorted(there)
    assert sum(gap.removed for gap in gaps) == 20 - len(there)
    for gap in gaps:
        inside = range(gap.after + 1, 20 if gap.before is None else gap.before)
        assert len(inside) == gap.removed and not there & {*inside}


def test_gaps_say_what_they_lie_between():
    assert split([0, 10, 20, 30], [(0, 0), (20, 25)]) == ([10, 30], [Gap(-1, 10, 1), Gap(10, 30, 1)])
    assert split([0, 10, 20], [(15, 99)]) == ([0, 10], [Gap(10, None, 1)])
    assert split([], [(0, 5)]) == ([], [])
    assert split([0, 1], []) == ([0, 1], [])
