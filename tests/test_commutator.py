"""Steps on two batches that do not commute: exact on quadratics, by two real steps on a network, and without a unit."""

import pytest
import torch
from oracles import generator, noise

import circuitgrok as cg
from circuitgrok.errors import UserError
from circuitgrok.landscape.commutator import commutator, halves
from circuitgrok.landscape.flat import loss_on

N = 7
AT = noise(N, seed=9)


def bowl(seed):
    """A quadratic with a Hessian that is not definite, and its matrix."""
    A = noise(N, N, seed=seed)
    A, b = A + A.T, noise(N, seed=seed + 100)
    return (lambda w: w @ A @ w / 2 + b @ w), A, b


def stepped(losses, at, eta):
    """Where gradient steps on some losses end, one after the other."""
    for loss in losses:
        point = at.detach().clone().requires_grad_()
        at = point.detach() - eta * torch.autograd.grad(loss(point), point)[0]
    return at


def test_of_quadratics_it_is_the_closed_form_and_that_of_steps_of_any_length():
    (one, A, a), (other, B, b) = bowl(1), bowl(2)
    g, h = A @ AT + a, B @ AT + b
    exact = (A @ h - B @ g).norm() / g.norm() / h.norm()
    found = commutator(one, other, AT)
    assert found.defect == pytest.approx(exact.item(), rel=1e-12)
    assert found.cosine == pytest.approx((g @ h / g.norm() / h.norm()).item(), rel=1e-12)
    for eta in (1e-3, 0.3):
        apart = stepped([one, other], AT, eta) - stepped([other, one], AT, eta)
        assert (apart.norm() / (eta * g).norm() / (eta * h).norm()).item() == pytest.approx(exact.item(), rel=1e-9)


def test_losses_that_share_their_curvature_and_slope_commute_and_its_scale_does_not_count():
    one, A, a = bowl(1)
    assert commutator(one, lambda w: 3 * one(w), AT).share < 1e-12
    (other, *_), found = bowl(2), commutator(one, bowl(2)[0], AT)
    scaled = commutator(lambda w: 1e-6 * one(w), lambda w: 1e-3 * other(w), AT)
    assert scaled.defect == pytest.approx(found.defect, rel=1e-9)
    assert scaled.share == pytest.approx(found.share, rel=1e-9) and 0 < found.share <= 1
    wider = commutator(lambda w: one(w / 10), lambda w: other(w / 10), 10 * AT)  # weights ten times as large
    assert wider.defect == pytest.approx(found.defect / 10, rel=1e-9)


def test_of_a_network_it_is_what_two_short_steps_do():
    run = cg.reference()
    batches = halves(run.task.is_train, generator(0))
    one, other = (loss_on(run.model, run.at(1000), run.task, batch) for batch in batches)
    found, eta, losses = commutator(one.function, other.function, one.at), 1e-3, [one.function, other.function]
    apart = stepped(losses, one.at, eta) - stepped(losses[::-1], one.at, eta)
    lengths = [(stepped([loss], one.at, eta) - one.at).norm() for loss in losses]
    assert (apart.norm() / lengths[0] / lengths[1]).item() == pytest.approx(found.defect, rel=1e-2)


def test_halves_are_disjoint_and_within():
    where = torch.rand(101, generator=generator(0)) < 0.6
    one, other = halves(where, generator(1))
    assert not bool((one & other).any()) and not bool(((one | other) & ~where).any())
    assert int(one.sum()) == int(other.sum()) == int(where.sum()) // 2
    with pytest.raises(UserError, match="two pairs"):
        halves(torch.tensor([True, False]), generator(0))
