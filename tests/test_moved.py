"""Networks that are moved: on the diagonal and at factor one they are where they were, and one way is the other."""

import pytest
import torch
from tiny import tiny

import circuitgrok as cg
from circuitgrok.polar.transplants import globally
from circuitgrok.table.moved import at_radius_of, rays, spread, swaps


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return cg.train([tiny(steps=20, checkpoint_every=10)], tmp_path_factory.mktemp("runs"))[0]


def test_swaps_and_rays_are_the_networks_own_scores_where_nothing_is_moved(run):
    steps = spread(run.steps, 3)
    assert (steps[0], steps[-1]) == (0, 20)
    matrices, along = swaps(run, steps, globally), rays(run, steps, torch.tensor([0.5, 1.0]))
    table = cg.measure(run, ["circuits"]).loc[steps]
    for column in ("restricted_loss[all]", "excluded_loss[train]"):
        own = torch.tensor(table[column].tolist(), dtype=torch.float64)
        # the table's networks are float32, the moved ones float64
        assert torch.allclose(matrices[column].diagonal(), own, rtol=1e-5)
        assert torch.allclose(along[column][:, 1], own, rtol=1e-5)


def test_a_direction_at_anothers_radius_is_an_entry_of_the_swap_matrix(run):
    steps = [0, 20]
    matrix = swaps(run, steps, globally)
    own = at_radius_of(run, direction=20, radius=0)
    assert own["loss[test]"] == pytest.approx(matrix["loss[test]"][0, 1].item(), rel=1e-6)
    assert own["loss[test]"] != pytest.approx(matrix["loss[test]"][1, 0].item(), rel=1e-4)
    assert own["loss[test]"] != pytest.approx(matrix["loss[test]"][1, 1].item(), rel=1e-4)
