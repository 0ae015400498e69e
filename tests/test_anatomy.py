"""The anatomy of a run: columns are those of cg.measure, key frequencies of when it is said, events as planted."""

import numpy as np
import pandas as pd
import pytest

import circuitgrok as cg
from circuitgrok.errors import RunError
from circuitgrok.study.anatomy import anatomy, events_of
from circuitgrok.table.needs import Group

GROUPS: list[Group] = ["polar", "fourier", "circuits", "memorization"]


@pytest.fixture(scope="module")
def at_the_end():
    run = cg.reference()
    return anatomy(run, 3, known_at=run.steps[-1])


def test_in_hindsight_the_columns_are_those_of_measure_with_as_many_key_frequencies(at_the_end):
    measured = cg.measure(cg.reference(), GROUPS, n_keys=3)
    common = [column for column in at_the_end if column in measured]
    assert len(common) == 13 and set(at_the_end) - set(common) == {
        "restricted_acc_unseen", "pairs_circuit[train]", "pairs_rest[train]",
    }  # fmt: skip
    pd.testing.assert_frame_equal(at_the_end[common], measured[common], rtol=1e-9, check_dtype=False)
    for who in ("circuit", "rest"):
        pairs = measured[f"pairs_{who}_only[train]"] + measured["pairs_both[train]"]
        np.testing.assert_allclose(at_the_end[f"pairs_{who}[train]"], pairs)


def test_known_at_the_time_a_row_is_that_of_its_own_checkpoint_alone(at_the_end):
    run, own = cg.reference(), anatomy(cg.reference(), 3)
    pd.testing.assert_series_equal(own.iloc[-1], at_the_end.iloc[-1])
    step = run.steps[3]
    pd.testing.assert_frame_equal(own.loc[[step]], anatomy(run, 3, known_at=step).loc[[step]])
    assert not np.allclose(own["excluded_loss[train]"], at_the_end["excluded_loss[train]"], rtol=1e-6)


def test_a_checkpoint_that_is_not_there_is_refused():
    with pytest.raises(RunError, match="4001"):
        anatomy(cg.reference(), 3, known_at=4001)


def planted(**changed):
    """A run at steps 0, 100, ... 900 that memorises at once, whose circuit comes, whose memories and norm go."""
    columns = {
        "excluded_loss[train]": [4, 1, 0.2, 0.1, 0.5, 2, 5, 8, 8, 8],
        "restricted_acc_unseen": [0, 0, 0, 0.2, 0.6, 1, 1, 1, 1, 1],
        "circuit_share[train]": [np.nan, -0.2, 0, 0.1, 0.3, 0.4, 0.6, 0.9, 1, 1],
        "pairs_rest[train]": [0, 0.5, 0.8, 0.8, 0.7, 0.5, 0.3, 0.1, 0.1, 0.1],
        "accuracy[test_mirror_unseen]": [0, 0, 0, 0, 0, 0.1, 0.2, 0.7, 1, 1],
        "norm": [30, 50, 49, 48, 47, 46, 45, 39, 31, 30],
    }
    return pd.DataFrame(columns | changed, index=range(0, 1000, 100))


def test_events_are_dated_as_planted():
    found = {name: (event.after, event.by) for name, event in events_of(planted()).items()}
    assert found == {
        "excluded_minimum": (200, 400),
        "circuit_reaches": (300, 400),
        "circuit_carries": (500, 600),
        "rest_fell": (500, 600),  # half of 0.8, the most that it did
        "network_reaches": (600, 700),
        "norm_fell": (600, 700),  # 40 is half-way from its peak, not from its start
    }


def test_what_does_not_happen_is_censored():
    table = planted(
        **{"excluded_loss[train]": 1e-3, "restricted_acc_unseen": 0.01, "circuit_share[train]": 0.1},
        **{"pairs_rest[train]": 1.0, "accuracy[test_mirror_unseen]": 0.0, "norm": np.linspace(50, 48, 10)},
    )
    assert {(event.by, event.censored_at) for event in events_of(table).values()} == {(None, 900)}
