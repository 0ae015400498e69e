"""Potentials as losses of chains: gradients by hand, and the largest curvature where the density is."""

import torch
from loops import for_each

from circuitgrok.exact.potentials import POTENTIALS
from circuitgrok.landscape.potential_loss import differentiated, stiffness


def test_value_and_gradient_are_those_of_the_formula_for_each_chain_and_leave_no_graph():
    w = torch.tensor([[1.0, 2.0], [-0.5, 0.25]], dtype=torch.float64, requires_grad=True)
    found, (x, y) = differentiated(POTENTIALS["x^2 y^2"])(w), w.detach().unbind(1)
    scale = (POTENTIALS["x^2 y^2"].energy(w.detach()) / (x * y) ** 2).unique()
    assert len(scale) == 1 and not found.value.requires_grad and not found.gradient.requires_grad
    torch.testing.assert_close(found.value, scale * (x * y) ** 2)
    torch.testing.assert_close(found.gradient, scale * torch.stack([2 * x * y**2, 2 * x**2 * y], dim=1))


@for_each(("nbeta", "localization"), [(10.0, 10.0), (1000.0, 10.0)])
def test_the_stiffness_of_a_quartic_is_at_the_edge_of_its_density(nbeta, localization):
    # U = nbeta c x^4 + localization x^2 / 2 reaches 6 at x^2 = (-l / 2 + sqrt(l^2 / 4 + 24 nbeta c)) / (2 nbeta c)
    c = POTENTIALS["x^4"].energy(torch.ones(1)).item()
    edge = (-localization / 2 + (localization**2 / 4 + 24 * nbeta * c) ** 0.5) / (2 * nbeta * c)
    exact = localization + 12 * nbeta * c * edge
    found = stiffness(POTENTIALS["x^4"], nbeta, localization)
    spacing = (12 / localization) ** 0.5 / 149  # the last point of the grid is less than that below the edge
    assert localization + 12 * nbeta * c * (edge**0.5 - spacing) ** 2 <= found <= exact
