"""Radii that are found, scaled, given or shared out: numbers by hand."""

import torch
from loops import for_each
from oracles import noise
from torch import Tensor

from circuitgrok.interventions.spheres import Spheres
from circuitgrok.tree import norm

EPS = torch.finfo(torch.float64).eps


def network(runs: int = 2) -> dict[str, Tensor]:
    shapes = {
        "embed.W_E": (5, 4),
        "pos_embed.W_pos": (3, 4),
        "blocks.0.attn.W_Q": (2, 4, 3),
        "blocks.0.attn.b_Q": (2, 3),
        "blocks.0.attn.W_O": (2, 3, 4),
        "blocks.0.ln1.w": (4,),
        "blocks.0.mlp.W_in": (4, 6),
        "blocks.0.mlp.b_in": (6,),
        "unembed.W_U": (4, 5),
    }
    return {name: noise(runs, *shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}


@for_each("grain", ["global", "tensor", "neuron"])
def test_radii_are_found_scaled_or_shared_out_and_those_of_other_runs_stay(grain):
    weights = {name: value[:1].expand(4, *value.shape[1:]).clone() for name, value in network().items()}
    weights["unembed.W_U"][:, :, 2] = 0  # a class without a vector
    whole = norm(weights, axes=1)[0].item()
    nan = torch.nan
    spheres = Spheres(grain, radius=torch.tensor([nan, nan, 7.0, 7.0]).double(), factor=torch.ones(4).double() * 0.25)
    spheres.factor[0] = 1.0
    unset = spheres.start(weights)
    assert all(of.isnan().all() for of in unset.values())
    begun = spheres.begin(torch.tensor([True, True, True, False]), weights, unset)
    for name, every in spheres.vectors(weights).items():
        found = norm(*every)[0]
        torch.testing.assert_close(begun[name][0], found, rtol=0, atol=0)
        torch.testing.assert_close(begun[name][1], 0.25 * found, rtol=0, atol=0)
        torch.testing.assert_close(begun[name][2], 7.0 / whole * found, rtol=4 * EPS, atol=0)
        assert begun[name][3].isnan().all()
    if grain == "global":
        assert begun["radius"][2].item() == 7.0  # without a rounding
    if grain == "neuron":
        assert begun["unembed.W_U"][:3, 2].tolist() == [0.0, 0.0, 0.0]
    later = {name: 2 * value for name, value in weights.items()}
    again = spheres.begin(torch.tensor([False, False, False, True]), later, begun)
    assert all(torch.equal(again[name][:3], begun[name][:3]) for name in begun)
    assert all(again[name].isfinite().all() for name in again)
