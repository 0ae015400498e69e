"""A run stops when its event has lasted, at the step that the table's rule says, and goes on without being asked to."""

import random

import pytest

from circuitgrok.errors import UserError
from circuitgrok.measures.learning.crossings import ACCURACY_RULES, HOLD, crossing
from circuitgrok.training.until import Until, Watch, until_of


def test_words_are_events_and_steps():
    for text, meant in {
        "grokked": ("grokked", 0),
        "memorised+0": ("memorised", 0),
        "grokked+99": ("grokked", 99),
    }.items():
        assert until_of(text) == Until(*meant) and str(until_of(text)) == text.removesuffix("+0")
    for text in ("grok", "grokked-5", "grokked+", "grokked+1.5", "", "GROKKED", "grokked + 5"):
        with pytest.raises(UserError, match="until is memorised or grokked, or such as grokked"):
            until_of(text)
    with pytest.raises(UserError, match="did you mean 'grokked'"):
        until_of("groked+5")


def test_the_step_is_that_of_the_crossing_and_is_told_when_its_hold_is_whole():
    """Over a thousand random histories."""
    draw, happened, steps = random.Random(0), 0, [10 * i for i in range(60)]
    for _ in range(1000):
        event, stays, more = draw.choice(list(ACCURACY_RULES)), draw.choice((0.6, 0.9)), draw.choice((0, 35))
        column, level = ACCURACY_RULES[event]
        values = [1.0]
        for _ in steps[1:]:
            values.append(values[-1] if draw.random() < stays else 1.5 - values[-1])
        watch = Watch(Until(event, more))
        stopped = next((s for s, v in zip(steps, values, strict=True) if watch.see({"step": s, column: v})), None)
        found = crossing(steps, values, level).by
        if found is None or found + 10 * HOLD > steps[-1]:  # at the end of a record `crossing` takes a shorter hold
            assert (watch.happened, stopped) == (None, None)
            continue
        happened += 1
        due = max(found + 10 * HOLD, -(-(found + more) // 10) * 10)
        assert (watch.happened, stopped) == (found, due if due <= steps[-1] else None)
    assert happened > 500


def test_an_event_that_is_lost_again_stays_an_event():
    watch = Watch(Until("grokked", 100))
    seen = [watch.see({"step": step, "test_acc": 1.0 if step <= 50 else 0.0}) for step in range(0, 130, 10)]
    assert seen.index(True) == 10 and watch.happened == 0
