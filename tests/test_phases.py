"""Phases: boundaries planted into curves are found again, through noise, and censored where they are not shown."""

import math

import hypothesis.strategies as st
import pandas as pd
import pytest
from hypothesis import given, settings
from loops import for_each

from circuitgrok.measures.learning.crossings import Event, crossing
from circuitgrok.measures.learning.phases import (
    PHASES,
    RULES,
    Phase,
    boundaries,
    fell,
    minimum,
    phases,
    plateau,
    settled,
)

NAN = float("nan")
CENSORED = Event(1000, None, 1000)
STEPS = list(range(0, 1001, 10))


def ramp(points: dict[int, float], steps=STEPS, log: bool = True) -> list[float]:
    """The polygon through some points, straight in the logarithm or as it stands."""
    at = sorted(points)
    values = []
    for step in steps:
        low = max(x for x in at if x <= step)
        high = min(x for x in at if x >= step)
        share = (step - low) / (high - low) if high > low else 0.0
        one, other = points[low], points[high]
        values.append(one * (other / one) ** share if log else one + share * (other - one))
    return values


# A run in which memorisation ends at 100, formation starts at 200 and ends at 600, and clean-up ends at 800.
GROKKING = {
    "accuracy[train]": ramp({0: 0.02, 100: 0.99, 110: 1.0, 1000: 1.0}, log=False),
    "excluded_loss[train]": ramp({0: 5.0, 200: 0.3, 600: 9.0, 650: 10.0, 1000: 6.0}),
    "restricted_loss[all]": ramp({0: 5.0, 200: 5.0, 500: 0.05, 800: 1e-8, 1000: 1e-8}),
    "loss[test]": ramp({0: 5.0, 200: 20.0, 500: 20.0, 650: 2.0, 800: 1e-6, 1000: 1e-6}),
    "accuracy[test]": ramp({0: 0.02, 500: 0.2, 700: 0.95, 720: 1.0, 1000: 1.0}, log=False),
    "norm": ramp({0: 40.0, 150: 60.0, 600: 50.0, 800: 30.6, 850: 30.0, 1000: 30.0}, log=False),
}


def table(changed: dict[str, list[float]] | None = None) -> pd.DataFrame:
    return pd.DataFrame(GROKKING | (changed or {}), index=STEPS)


def seen(event: Event) -> tuple[int, int]:
    """The interval of an event that is not censored."""
    assert event.by is not None and event.censored_at is None
    return event.after, event.by


def test_every_planted_boundary_lies_in_the_interval_of_its_rule():
    found = boundaries(table())
    assert list(found) == list(RULES)
    assert found["train_accuracy"] == Event(90, 100, None)
    # ln 30 over 400 steps: 10 % more than the minimum is reached 11 steps after it; ln (5 / 0.3) over 200: 7 before.
    assert found["excluded_minimum"] == Event(190, 220, None)
    assert found["excluded_plateau"].by in (600, 610)  # nine tenths of the maximum, give or take a rounding
    assert found["restricted_fell"].by in (500, 510)
    assert found["test_loss_fell"].by in (650, 660)
    assert found["test_accuracy"].by in (700, 710)
    assert found["norm_settled"].by in (800, 810)
    for name in found.keys() - {"excluded_minimum"}:
        after, by = seen(found[name])
        assert by - after == 10


def test_phases_are_assembled_from_the_named_rules():
    found, by_rule = phases(table()), boundaries(table())
    assert found == {
        "memorisation": Phase(Event(-1, 0, None), by_rule["train_accuracy"]),
        "circuit_formation": Phase(by_rule["excluded_minimum"], by_rule["excluded_plateau"]),
        "cleanup": Phase(by_rule["excluded_plateau"], by_rule["norm_settled"]),
    }
    other = phases(table(), PHASES | {"cleanup": ("test_loss_fell", "test_accuracy")})
    assert other["cleanup"] == Phase(by_rule["test_loss_fell"], by_rule["test_accuracy"])
    assert other["memorisation"] == found["memorisation"]


def test_rules_give_the_phases_that_the_paper_saw_in_its_main_run():
    """Points read off figure 7 of Nanda et al.; the paper says 1.4, 9.4 and 14 thousand steps."""
    at = [0, 200, 1000, 1311, 1400, 3000, 5000, 7000, 9000, 10000, 10300, 11000, 12500, 14000, 20000, 39000]
    squares = [1780, 3560, 3650, 3450, 3390, 2800, 2600, 2420, 2110, 1750, 1620, 1330, 1100, 996, 965, 956]
    excluded = [4.8, 1.4, 0.34, 0.312, 0.32, 0.61, 1.5, 4.3, 10, 13, 13.6, 11, 8.3, 6.2, 5.9, 6.0]
    test = [4.8, 15, 23, 25.7, 26, 24, 21, 16, 6.8, 0.56, 0.1, 2.2e-3, 7.6e-5, 7.5e-7, 3.1e-7, 3.0e-7]
    steps = list(range(0, 39001, 100))
    columns = {
        "excluded_loss[train]": excluded,
        "loss[test]": test,
        "norm": [math.sqrt(square) for square in squares],
    }
    curves = {name: ramp(dict(zip(at, values, strict=True)), steps) for name, values in columns.items()}
    found = boundaries(pd.DataFrame(curves, index=steps))
    assert list(found) == ["excluded_minimum", "excluded_plateau", "test_loss_fell", "norm_settled"]
    after, by = seen(found["excluded_minimum"])
    assert after <= 1400 <= by
    for name, step in (("excluded_plateau", 9400), ("test_loss_fell", 9400), ("norm_settled", 14000)):
        assert found[name].by == pytest.approx(step, rel=0.06)


# Noise


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    errors=st.lists(st.floats(-0.047, 0.047), min_size=101, max_size=101),
    at=st.integers(1, 60),
    down=st.floats(0.5, 40),
    up=st.floats(2.5, 40),
)
def test_bounded_errors_never_move_the_minimum_out_of_its_interval(errors, at, down, up):
    curve = ramp({0: 0.3 * down + 0.3, 10 * at: 0.3, 1000: 0.3 * up})
    noisy = [value * (1 + error) for value, error in zip(curve, errors, strict=True)]
    after, by = seen(minimum(STEPS, noisy))
    assert after < 10 * at < by


@settings(max_examples=60, deadline=None, derandomize=True)
@given(errors=st.lists(st.floats(-0.02, 0.02), min_size=101, max_size=101))
def test_noise_of_two_percent_moves_a_fall_by_what_the_slope_makes_of_it(errors):
    rate = math.log(1e3) / 500  # per step: 20 from 100 on, falling by 10^3 until 600
    curve = ramp({0: 20.0, 100: 20.0, 600: 0.02, 1000: 0.02})
    noisy = [value * (1 + error) for value, error in zip(curve, errors, strict=True)]
    exact = 100 + math.log(10) / rate
    # Peak and value may each be 2 % off: ln (1.02 / 0.98) / rate = 2.9 steps, less than a gap between checkpoints.
    after, by = seen(fell(STEPS, noisy, left=0.1))
    assert after - 10 <= exact <= by + 10 and by - after == 10


def test_a_dip_that_does_not_last_is_no_fall():
    values = [20.0, 1.0, 20.0, 20.0, 1.9, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert fell(STEPS[:11], values, left=0.1) == Event(30, 40, None)


# What a record does not show


def test_a_run_that_only_memorises_has_no_circuit_formation_and_no_clean_up():
    memorised = table(
        {
            "excluded_loss[train]": ramp({0: 5.0, 200: 0.01, 1000: 1e-5}),
            "restricted_loss[all]": ramp({0: 5.0, 1000: 4.0}),
            "loss[test]": ramp({0: 5.0, 200: 20.0, 1000: 30.0}),
            "accuracy[test]": ramp({0: 0.02, 1000: 0.1}, log=False),
            "norm": ramp({0: 40.0, 1000: 70.0}, log=False),
        }
    )
    found = boundaries(memorised)
    assert found.pop("train_accuracy") == Event(90, 100, None)
    assert set(found.values()) == {CENSORED}
    assert [phase.end for phase in phases(memorised).values()] == [Event(90, 100, None), CENSORED, CENSORED]


def test_a_run_cut_short_in_circuit_formation_has_a_start_of_it_and_no_end():
    cut = table().loc[:500]
    found = phases(cut)
    assert found["circuit_formation"].start == Event(190, 220, None)
    assert found["circuit_formation"].end == found["cleanup"].start == found["cleanup"].end == Event(500, None, 500)


def test_a_norm_still_falling_at_the_end_has_not_settled_and_one_that_never_fell_neither():
    falling = ramp({0: 60.0, 1000: 30.0}, log=False)
    assert settled(STEPS, falling) == CENSORED
    assert settled(STEPS, ramp({0: 60.0, 500: 57.5, 1000: 57.5}, log=False)) == CENSORED
    assert settled(STEPS, ramp({0: 60.0, 500: 56.0, 1000: 56.0}, log=False)).by in (490, 500)
    assert settled(STEPS, [40.0] * 101) == CENSORED


def test_an_exponential_fall_settles_where_two_percent_of_it_are_left():
    values = [30 + 30 * math.exp(-step / 100) for step in STEPS]
    left = 30 * math.exp(-10)
    at = -100 * math.log((left + 0.02 * (30 - left)) / 30)
    after, by = seen(settled(STEPS, values))
    assert after < at <= by == after + 10


def test_excluded_loss_that_wobbles_without_doubling_has_neither_minimum_nor_plateau():
    values = [0.5 + 0.3 * math.sin(step / 40) ** 2 for step in STEPS]
    assert minimum(STEPS, values) == plateau(STEPS, values) == CENSORED


def test_a_network_that_generalises_at_once_forms_its_circuit_from_the_first_checkpoint():
    values = ramp({0: 4.0, 300: 12.0, 1000: 10.0})
    assert minimum(STEPS, values).after == -1
    assert plateau(STEPS, values).by in (270, 280)  # ln 0.9 / ln 3 * 300 = 28.8 steps before the maximum


def test_a_maximum_before_the_minimum_is_not_the_plateau():
    values = ramp({0: 90.0, 200: 0.3, 600: 9.0, 700: 9.5, 1000: 6.0})
    event = plateau(STEPS, values)
    assert event == crossing(STEPS[20:], values[20:], 0.9 * max(values[20:]), hold=0)
    assert 500 < event.after < 700


def test_nan_is_passed_over():
    curve = ramp({0: 5.0, 200: 0.3, 600: 9.0, 650: 10.0, 1000: 6.0})
    holes = [NAN if i % 3 == 2 else value for i, value in enumerate(curve)]
    kept = [(step, value) for step, value in zip(STEPS, holes, strict=True) if not math.isnan(value)]
    for rule in (minimum, plateau, settled):
        assert rule(STEPS, holes) == rule([step for step, _ in kept], [value for _, value in kept])


# Refusals


def test_an_unknown_rule_and_a_missing_column_are_refused():
    with pytest.raises(ValueError, match="unknown rule 'by_eye' for a phase; there are train_accuracy"):
        phases(table(), {"cleanup": ("by_eye", "norm_settled")})
    with pytest.raises(ValueError, match="rule 'norm_settled' needs the column norm"):
        phases(table().drop(columns="norm"))


@for_each(("steps", "values"), [([], []), ([0, 10], [0.5]), ([0, 10], [NAN, NAN])])
def test_a_record_without_values_or_of_two_lengths_is_refused(steps, values):
    for rule in RULES.values():
        with pytest.raises(ValueError, match=f"got {len(steps)} steps"):
            rule.event(steps, values)
