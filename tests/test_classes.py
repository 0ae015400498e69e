"""Each class of a run from planted histories, and where one ends and the next begins."""

import pandas as pd
from loops import for_each

from circuitgrok.measures.learning.classes import CLASSES, DELAY, class_of
from circuitgrok.measures.learning.crossings import ACCURACY_RULES, HOLD, events

END = 3000


def history(memorised: int | None, grokked: int | None, train: float = 1.0, test: float = 1.0) -> pd.DataFrame:
    """Accuracies that rise to these levels at these steps (never, if None) and stay there."""
    steps = range(0, END + 1, 10)
    rise = [(0.0 if at is None else float(step >= at) * level) for step in steps for at, level in [(memorised, train)]]
    late = [(0.0 if grokked is None else float(step >= grokked) * test) for step in steps]
    return pd.DataFrame({"train_acc": rise, "test_acc": late}, index=pd.Index(steps, name="step"))


PLANTED = {
    "at once": (history(100, 100), "comprehension"),
    "the last step before it is a delay": (history(100, 100 + DELAY - 10), "comprehension"),
    "the first step of a delay": (history(100, 100 + DELAY), "grokking"),
    "the rest before the training set": (history(2000, 100), "comprehension"),
    "the rest alone": (history(None, 100), "comprehension"),
    "the training set alone": (history(100, None), "memorisation"),
    "memorised with the last evaluation": (history(END, None), "memorisation"),
    "neither": (history(None, None), "confusion"),
    "train accuracy at its level": (history(100, None, train=ACCURACY_RULES["memorised"][1]), "memorisation"),
    "train accuracy just below": (history(100, None, train=0.9899), "confusion"),
    "test accuracy at its level": (history(100, 2000, test=ACCURACY_RULES["grokked"][1]), "grokking"),
    "test accuracy just below": (history(100, 2000, test=0.9499), "memorisation"),
}


@for_each(("table", "expected"), PLANTED.values(), ids=PLANTED)
def test_a_planted_history_is_of_its_class(table, expected):
    assert class_of(events(table)) == expected


def test_every_class_is_planted():
    assert {expected for _, expected in PLANTED.values()} == set(CLASSES)


def test_the_delay_can_be_chosen():
    found = events(history(100, 300))
    assert [class_of(found, delay) for delay in (200, 201)] == ["grokking", "comprehension"]


def test_a_flicker_is_not_grokking():
    table = history(100, None)
    table.loc[2000 : 2000 + HOLD - 10, "test_acc"] = 1.0  # one evaluation too few
    assert class_of(events(table)) == "memorisation"
    table.loc[2000 + HOLD, "test_acc"] = 1.0
    assert class_of(events(table)) == "grokking"
