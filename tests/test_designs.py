"""Factorial designs: effects of a planted table, whatever the order of its rows; incomplete ones are refused."""

from itertools import product

import pandas as pd
import pytest

from circuitgrok.study.claims import Mean, where
from circuitgrok.study.designs import Design

LEVELS = {"arm": ["memoriser", "random", "generaliser"], "radius": [1.0, 2.0, 4.0], "temperature": [4.0, 1.0]}
OF_ARM, OF_RADIUS = (dict(zip(LEVELS[name], x, strict=True)) for name, x in (("arm", (0, 2, 5)), ("radius", (3, 0, 1))))


def planted(both: float = 0.0) -> pd.DataFrame:
    """Ten times as large in seed 1 as in seed 0; rows in a disorder, with one of another part."""
    rows = [
        {"seed": seed, "arm": arm, "radius": radius, "temperature": temperature, "part": "factorial", "acc":
         10**seed * (OF_ARM[arm] + OF_RADIUS[radius] + both * (arm == "random") * (temperature == 1))}
        for seed, (arm, radius, temperature) in product((0, 1), product(*LEVELS.values()))
    ]  # fmt: skip
    return pd.DataFrame([*rows, rows[0] | {"part": "other", "acc": 1e9}]).sample(frac=1, random_state=0)


DESIGN = Design(where(part="factorial"), LEVELS)


def test_a_planted_effect_is_told_seed_by_seed_in_the_order_of_its_levels():
    found = DESIGN.effect("acc", "arm")(planted())
    assert found["seed"].tolist() == [0, 1]
    assert found["rise"].tolist() == pytest.approx([5, 50]) and found["spread"].tolist() == pytest.approx([5, 50])
    of_radius = DESIGN.effect("acc", "radius")(planted())
    assert of_radius["rise"].tolist() == pytest.approx([-2, -20])
    assert of_radius["spread"].tolist() == pytest.approx([3, 30])
    # Sums of squares about the mean: of arms 38/3 times 6 cells, of radii 14/3 times 6.
    assert found["own"].tolist() == pytest.approx([38 / 52] * 2) == found["touched"].tolist()
    assert Mean(DESIGN.effect("acc", "radius"), "rise", "rise").found(planted()).n == 2


def test_an_interaction_touches_the_factors_that_have_a_part_in_it():
    assert DESIGN.effect("acc", "temperature")(planted())["touched"].tolist() == pytest.approx([0, 0], abs=1e-12)
    table = planted(both=3.0)
    of = {name: DESIGN.effect("acc", name)(table).iloc[0] for name in LEVELS}
    assert of["temperature"]["touched"] > of["temperature"]["own"] > 0
    assert of["arm"]["touched"] > of["arm"]["own"]
    assert of["radius"]["touched"] == pytest.approx(of["radius"]["own"])


def test_one_factor_alone_is_a_design():
    alone = Design(where(part="factorial", arm="random", temperature=1.0), {"radius": LEVELS["radius"]})
    assert alone.effect("acc", "radius")(planted())["rise"].tolist() == pytest.approx([-2, -20])


def test_a_cell_without_a_row_or_with_two_is_refused():
    table = planted()
    with pytest.raises(ValueError, match="no row for"):
        DESIGN.box(table[(table["arm"] != "random") | (table["radius"] != 2.0)], "acc")
    with pytest.raises(ValueError, match="several rows for a cell"):
        Design(where(), LEVELS).box(table, "acc")
