"""Runs that go on until something has happened: trained leg by leg, each from the end of the one before.

A budget for all would be spent by every run; here each stops soon after its event, and only those that are censored
cost the whole. Optimizer state goes with the weights and only the first leg warms up, so that legs are one course.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.measures.learning.crossings import HOLD, Event, crossing
from circuitgrok.store.run import Run
from circuitgrok.study.asked import Asked
from circuitgrok.study.question import train_missing

if TYPE_CHECKING:
    import pandas as pd


class Course(NamedTuple):
    """One course of training, in legs.

    Attributes:
        legs: The runs that make it up, in order.
        history: Their histories one after the other, steps counted from the beginning of the first.
    """

    legs: tuple[Run, ...]
    history: "pd.DataFrame"

    @property
    def config(self) -> TrainConfig:
        """That of the last leg."""
        return self.legs[-1].config

    @property
    def manifest(self) -> Mapping[str, Any]:
        """That of the first leg, which says where it all started."""
        return self.legs[0].manifest

    @property
    def state(self) -> str:
        """That of the last leg."""
        return self.legs[-1].state

    def crossed(self, column: str, level: float) -> Event:
        """When a column crossed a level for good."""
        return crossing([int(step) for step in self.history.index], self.history[column].tolist(), level)

    def is_over(self, column: str, level: float) -> bool:
        """Whether a column has crossed a level, with as many steps since as the rule asks for, or it diverged."""
        by = self.crossed(column, level).by
        return self.state == "diverged" or (by is not None and by + HOLD <= self.history.index[-1])


def course(*legs: Run) -> Course:
    """The legs as one; of a step that two have, where one starts from the other's end, the earlier line counts."""
    import pandas as pd

    begin, parts = 0, []
    for leg in legs:
        history = leg.history  # once: somebody may be writing it
        parts.append(history.set_index(history.index + begin))
        begin += leg.config.schedule.steps
    whole = pd.concat(parts)
    return Course(legs, whole[~whole.index.duplicated()])


def until(
    rule: tuple[str, float],
    starts: Mapping[str, Course],
    configs: Mapping[str, TrainConfig],
    leg: int,
    budget: int,
    given: Asked,
) -> dict[str, Course]:
    """The courses by name, each trained on until a column of its history has held a level, or the budget is spent.

    Args:
        rule: Column and level.
        starts: What each goes on from, with moments kept in its last checkpoint.
        configs: How each goes on.
        leg: Steps after which it is asked again.
        budget: Steps that a course may have, those of its start included; a last leg that exceeds it is not begun.
        given: Where runs lie, and threads.
    """
    courses = dict(starts)
    begin = max(int(known.history.index[-1]) for known in courses.values())
    for i in range((budget - begin) // leg):
        ahead = {}
        for name, known in courses.items():
            if not known.is_over(*rule):
                start = f"{known.legs[-1].path}@{known.legs[-1].steps[-1]}"
                go_on = {"start": start, "start_moments": True, "warmup": 0, "steps": leg, "checkpoint_every": leg}
                ahead[f"{name}-leg{i}"] = configs[name].with_(**go_on)
        for name, run in train_missing(ahead, given).items():
            before = name.rsplit("-leg", 1)[0]
            courses[before] = course(*courses[before].legs, run)
    return courses
