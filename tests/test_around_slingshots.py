"""Checkpoints on either side of planted slingshots, what changes between them, and when the first one came."""

import math

import numpy as np

import circuitgrok as cg
from circuitgrok.measures.learning.slingshots import CALM, RISE_WITHIN, Slingshot
from circuitgrok.study.around_slingshots import CHANGES, either_side, first_time, keys_change


def planted(onset: int, peak: int) -> Slingshot:
    return Slingshot(onset, peak, 3.0, onset, 1.0)


def test_checkpoints_enclose_onset_and_the_steps_after_the_peak():
    steps = [0, 250, 500, 750, 1000]
    found = either_side([planted(250, 260), planted(499, 560), planted(790, 800), planted(801, 801)], steps)
    assert found == [(250, 500), (250, 1000), (750, 1000)]  # the last one's plateau is not kept
    assert all(after - CALM >= 260 for _, after in found)


def test_changes_are_differences_of_the_tables_rows_in_the_mean():
    run = cg.reference()
    pairs = [(0, 500), (500, 4000)]
    table = cg.measure(run, "circuits", [0, 500, 4000], n_keys=4)
    shown = dict(zip(CHANGES, ("frac_explained", "restricted_loss[all]", "excluded_loss[train]"), strict=True))
    found = keys_change(run, pairs, 4)
    for name, column in shown.items():
        values = table[column].to_dict()
        assert found[name] == np.mean([values[after] - values[before] for before, after in pairs])
    assert all(math.isnan(value) for value in keys_change(run, [], 4).values())


def test_the_first_one_counts_and_without_one_the_time_is_censored_where_one_would_have_been_seen():
    assert first_time([planted(600, 640), planted(900, 910)], 1800) == {"slung_after": 600, "slung_by": 640}
    none = first_time([], 1800)
    assert none["slung_after"] == 1800 - CALM - RISE_WITHIN and math.isnan(none["slung_by"])
