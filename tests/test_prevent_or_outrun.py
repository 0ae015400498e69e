"""The race of true against random labels: what it predicts, and by how much seeds miss it, on planted times."""

import importlib
import math
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]


def planted_race(memorised: dict[float, float], grokked: dict[float, float], at=0.5, part="p = 29"):
    """Times by radius, of three seeds that agree; nan is censored at step 600."""
    lines = []
    for arm, event, times in (("true labels", "grokked", grokked), ("random labels", "memorised", memorised)):
        for alpha, time in times.items():
            line = {"part": part, "arm": arm, "f": at, "alpha": alpha, "steps": 600}
            line |= {"grokked_by": math.nan, "memorised_by": math.nan, f"{event}_by": time}
            lines += [{**line, "seed": seed} for seed in range(3)]
    return pd.DataFrame(lines)


def test_a_planted_race_gives_the_radius_at_which_it_is_lost_and_how_far_from_there_seeds_stop(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "analyses"))
    module = importlib.import_module("prevent_or_outrun")
    # ln(T_gen / T_random) is -ln 4 at 0.5, and ln 4 at 1: it crosses 0 in the middle, ln 2 at three quarters
    base = planted_race({0.5: 400.0, 1.0: 100.0}, {0.5: 100.0, 1.0: 400.0})
    assert module.predicted(base, 0.5) == pytest.approx(0.75)
    assert module.predicted(base, 1.0) == pytest.approx(0.875)
    assert math.isnan(module.predicted(base, 0.5 * 16))  # random labels lose everywhere
    censored = planted_race({0.5: math.nan, 1.0: 100.0}, {0.5: 150.0, 1.0: math.nan})  # bounds: -ln 4 and ln 6
    assert module.predicted(censored, 0.5) == pytest.approx(0.5 + 0.5 * math.log(4) / math.log(24))
    # at the other shares all seeds generalise at 0.6 and not at 0.8: the predictions at 0.4, 0.65 and 0.8 are
    # 0.75 + ln(f / 0.5) / (4 ln 4): above 0.65, within the gap at 0.4
    others = [planted_race({}, {0.6: 200.0, 0.8: math.nan}, f, "more pairs") for f in module.OTHERS]
    table = pd.concat([base, *others])
    at = {f: 0.75 + math.log(f / 0.5) / (4 * math.log(4)) for f in module.OTHERS}
    misses = [max(0.0, math.log(at[f] / 0.8)) / 0.1 for f in module.OTHERS]
    assert module.missed(table)["miss"].tolist() == pytest.approx([sum(misses) / 3] * 3)
    assert module.missed(table)["stays"].tolist() == [0, 0, 0]
    assert module.edges(table).query("f == 0.65")[["last", "next"]].drop_duplicates().values.tolist() == [[0.6, 0.8]]
