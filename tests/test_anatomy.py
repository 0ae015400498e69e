"""The sheet of a run's anatomy: every column has its line, phases that are known their bands, and others none."""

from collections import defaultdict
from itertools import chain

import numpy as np
import pandas as pd

import circuitgrok as cg
from circuitgrok.measures.learning.crossings import Event
from circuitgrok.measures.learning.phases import Phase
from circuitgrok.study.anatomy import CUTS, FORMS, NORMS, PAIRS, STRUCTURE, UPDATES, draw_anatomy


def test_a_sheet_has_a_line_for_each_column_and_a_band_for_each_known_phase():
    run = cg.load("checkpoints/reference")
    columns = {line[0] for line in chain(STRUCTURE, NORMS, UPDATES, CUTS, FORMS)} | {f"pairs_{n}[train]" for n in PAIRS}
    columns |= {"loss[waves 2, zero, test]", "restricted_loss_random", "restricted_loss_random_sd"}
    columns |= {f"loss[head {h}, mean, test]" for h in range(run.config.transformer.n_heads)}
    steps = run.history.index[:30]
    table = pd.DataFrame(dict.fromkeys(sorted(columns), 0.5), index=steps)
    table.attrs["key_freqs"] = [2]
    at, never = Event(1, 40, None), Event(90, None, 90)
    found = {"memorisation": Phase(at, at), "circuit_formation": Phase(at, at), "cleanup": Phase(at, never)}
    figure = draw_anatomy(run, table, found)
    lines = defaultdict(list, {ax.get_ylabel(): ax.get_lines() for ax in figure.axes})
    for label, shown in (
        ("structure, 0..1", STRUCTURE),
        ("weight norm", NORMS),
        ("clock or pizza; radial descent", FORMS),
    ):
        assert [line.get_label() for line in lines[label]] == [name for _, name, _, _ in shown]
    assert len(lines["test loss without … (nats)"]) == 1 + run.config.transformer.n_heads + len(CUTS)
    assert all(np.size(line.get_xdata()) == len(table) - 1 for line in lines["part of one step (units of the weights)"])
    assert len(figure.axes[3].patches) == 2
    assert "circuit formation 40–40, cleanup 40–…" in figure.get_suptitle()
