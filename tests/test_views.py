"""Tables of neurons and of two checkpoints side by side."""

import math

import numpy as np
import pytest
import torch
from loops import for_each
from oracles import wave
from tiny_kinds import NUMBERS, tiny_kind

import circuitgrok as cg
from circuitgrok.errors import UserError
from circuitgrok.measures.parts.last_block import last_block
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.tasks.modular import modular_addition
from circuitgrok.training.loop import train

RUN = cg.load("checkpoints/reference")


class Planted:
    """A network of planted neurons, as checkpoints."""

    def __init__(self, p=13):
        self.model, self.task, self.steps = QuadraticMLP(p=p, n_neurons=2), modular_addition(p=p), [0]
        x = torch.arange(p)
        into = torch.stack([2 * wave(3, x, p, 0.5), wave(5, x, p, -1.0)], dim=1)
        out_of = torch.stack([2 * wave(3, x, p, 0.25), wave(5, x, p, 2.0)], dim=1)
        writes = torch.stack([4 * wave(3, x, p, 0.75), wave(5, x, p, 1.0)])
        self.params = {"blocks.0.mlp.W_in": torch.cat([into, out_of]), "unembed.W_U": writes}

    def at(self, step):
        return self.params


def test_planted_neurons_have_their_frequency_phases_and_norms():
    table = cg.neurons(Planted())
    # (c cos x + c cos y)^2 less its mean is 2 c^2 cos x cos y, of mean square c^4, and c^2 / 2 cos 2 x and the same of
    # y, of mean square c^4 / 8 each: the share that k explains is 4 / 5.
    assert table.index.name == "neuron" and list(table.index) == [0, 1]
    assert table.freq.tolist() == [3, 5] and table.cluster.tolist() == [0, 0]
    assert table.purity.tolist() == pytest.approx([0.8, 0.8])
    first = table.loc[0]
    assert [first.phase_a, first.phase_b, first.phase_out] == pytest.approx([0.5, 0.25, 0.75], abs=1e-9)
    half = math.sqrt(13 / 2)  # the norm of a wave over 13 residues
    assert [first.norm_in, first.norm_out] == pytest.approx([2 * half * math.sqrt(2), 4 * half])


def test_neurons_of_one_frequency_stand_together_the_purest_first():
    table = cg.neurons(RUN, 4000)
    assert sorted(table.index) == list(range(256))
    assert table.freq.is_monotonic_increasing
    assert all(rows.purity.is_monotonic_decreasing for _, rows in table.groupby("freq"))
    assert (table.cluster == np.where(table.purity >= 0.85, table.freq, 0)).all()
    block = last_block(RUN.at(4000), RUN.config.transformer, RUN.task.inputs)
    assert (table.freq.sort_index().to_numpy() == block.tuned.freq.numpy()).all()
    into = torch.cat([RUN.at(4000)["blocks.0.mlp.W_in"], RUN.at(4000)["blocks.0.mlp.b_in"][None]]).double()
    assert table.norm_in.sort_index().to_numpy() == pytest.approx(into.norm(dim=0).numpy())


@for_each("name", NUMBERS)
def test_every_kind_on_numbers_has_a_table_of_neurons(name, tmp_path):
    [run] = train([tiny_kind(name)], tmp_path)
    table = cg.neurons(run)
    assert len(table) == run.config.model.neuron_to_logit(run.at(0)).shape[0] and not table.norm_in.isna().any()


def test_neurons_without_numbers_are_refused(tmp_path):
    [run] = train([tiny_kind("digits")], tmp_path)
    with pytest.raises(UserError, match="pairs of numbers modulo p"):
        cg.neurons(run)


def test_two_checkpoints_side_by_side():
    table = cg.compare((RUN, 500), (RUN, 4000))
    polar = cg.measure(RUN, ["polar"], steps=[500, 4000])
    assert [*table.loc["norm"]] == pytest.approx(polar.norm.tolist())
    for column, step, other in (("a", 500, 4000), ("b", 4000, 500)):
        assert tuple(table[column]["train_loss":"test_acc"]) == cg.edited(RUN, step).after
        for part in ("mlp", "head 2", "radius"):
            swapped = cg.patch(RUN, step, source=(RUN, other), part=part)
            assert table[column][f"test_loss[{part} swapped]"] == swapped.test_loss
    assert [*table.loc["shared_key_freqs"]] == [3, 3] and table.attrs["key_freqs"]["a"] == [5, 6, 9]
    parts = table[table.index.str.startswith("norm[")]
    assert (parts**2).sum().tolist() == pytest.approx((table.T["norm"] ** 2).tolist())


def test_a_checkpoint_beside_itself():
    table = cg.compare((RUN, 4000), RUN)
    assert table.a["angle"] == 0 and table.a.equals(table.b)
    swaps = table.a[table.index.str.startswith("test_loss[")]
    assert swaps.tolist() == pytest.approx([table.a["test_loss"]] * len(swaps), rel=1e-3)  # the radius is rounded anew


def test_networks_of_other_shapes_have_no_angle_and_no_swaps(finished):
    table = cg.compare(RUN, finished)
    assert not [name for name in table.index if "swapped" in name or "angle" in name]
    assert not table.isna().any().any()
