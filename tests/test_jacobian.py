"""Products with the Jacobian against dense ones, Gauss-Newton against its definition, symmetries against generators."""

import pytest
import torch
from loops import for_each
from oracles import dense_hessian, generator, noise
from torch.autograd.functional import jacobian as second_jacobian

from circuitgrok.landscape import jacobian
from circuitgrok.landscape.flat import Flat, logits_on
from circuitgrok.landscape.hessian import as_matrix
from circuitgrok.landscape.jacobian import gauss_newton_operator, linearized, symmetry_rank
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.modular import modular_addition

EPS = torch.finfo(torch.float64).eps
MODEL = Transformer(p=5, d_model=4, d_head=2, n_heads=2, d_mlp=8)
TASK = modular_addition(p=5, frac_train=0.5)


def network_logits() -> Flat:
    return logits_on(MODEL, MODEL.init(generator(0), alpha=2.0), TASK.inputs)


def test_push_and_pull_are_the_dense_jacobian_and_its_transpose():
    logits, at, _ = network_logits()
    exact = second_jacobian(logits, at)  # [pair c dim]
    outputs, push, pull = linearized(logits, at)
    vectors, weightings = noise(40, len(at)), noise(3, *outputs.shape, seed=1)
    torch.testing.assert_close(outputs, logits(at), rtol=0, atol=1e-12)  # with derivatives and without
    torch.testing.assert_close(push(vectors), torch.einsum("pcd,kd->kpc", exact, vectors), rtol=0, atol=1e-12)
    torch.testing.assert_close(pull(weightings), torch.einsum("pcd,kpc->kd", exact, weightings), rtol=0, atol=1e-12)


def test_the_gauss_newton_matrix_is_its_definition_and_the_fisher_matrix():
    logits, at, _ = network_logits()
    J, probs = second_jacobian(logits, at), logits(at).softmax(-1)
    found = as_matrix(gauss_newton_operator(logits, at), len(at))
    covariance = torch.diag_embed(probs) - probs[:, :, None] * probs[:, None, :]
    defined = torch.einsum("pci,pcd,pdj->ij", J, covariance, J) / len(probs)
    # The gradient of -log q_c is the mean of J over classes less J_c; its square is averaged over c with weight q_c.
    scores = torch.einsum("pc,pci->pi", probs, J)[:, None] - J
    fisher = torch.einsum("pc,pci,pcj->ij", probs, scores, scores) / len(probs)
    for exact in (defined, fisher):
        torch.testing.assert_close(found, exact, rtol=0, atol=1e-12 * exact.abs().max().item())


def test_the_gauss_newton_matrix_is_the_hessian_where_the_labels_are_the_networks_own_distribution():
    logits, at, _ = network_logits()
    own = logits(at).softmax(-1)
    found = as_matrix(gauss_newton_operator(logits, at), len(at))
    hessian = dense_hessian(lambda w: -(own * logits(w).log_softmax(-1)).sum(-1).mean(), at)
    torch.testing.assert_close(found, hessian, rtol=0, atol=1e-12 * hessian.abs().max().item())
    true = dense_hessian(lambda w: torch.nn.functional.cross_entropy(logits(w), TASK.labels), at)
    assert (found - true).norm() > 0.01 * true.norm()


def test_the_gauss_newton_matrix_keeps_its_digits_where_all_labels_are_certain():
    """Two classes with logit difference 40 w: q (1 - q) = e^-40, of which 1 - q would lose every digit."""
    at = torch.ones(1, dtype=torch.float64)
    found = gauss_newton_operator(lambda w: torch.stack([40 * w[0], 0 * w[0]])[None], at)(at[None]).item()
    assert found == pytest.approx(1600 * torch.tensor(-40.0).double().exp().item(), rel=1e-14)


# Symmetries


@for_each(("n_in", "n_hidden", "n_out"), [(4, 2, 5), (3, 3, 3), (6, 1, 4)])
def test_a_product_of_matrices_misses_what_the_products_of_its_rank_do_not_fill(n_in, n_hidden, n_out):
    inputs = noise(20, n_in)

    def logits(w):
        first, second = w[: n_in * n_hidden].view(n_in, n_hidden), w[n_in * n_hidden :].view(n_hidden, n_out)
        return inputs @ first @ second

    at = noise(n_hidden * (n_in + n_out), seed=1)
    # Centred, the product is any n_in x (n_out - 1) matrix of rank min(h, n_in, n_out - 1).
    rank = min(n_hidden, n_in, n_out - 1)
    dimension = rank * (n_in + n_out - 1 - rank)
    found = symmetry_rank(logits, at)
    assert (found.rank, found.directions) == (dimension, len(at) - dimension)
    assert found.kept > 1e6 * found.dropped


def generators(flat: Flat):
    """Tangents of the network's known symmetry groups at the point, `[direction dim]`."""
    like, directions = flat.like, []

    def add(**changes):
        full = {name: torch.zeros_like(value) for name, value in like.items()}
        for short, change in changes.items():
            full[next(name for name in like if name.endswith(short))] += change
        directions.append(torch.cat([value.flatten() for value in full.values()]))

    part = {name.rsplit(".", 1)[-1]: value for name, value in like.items()}
    for i in range(MODEL.d_mlp):  # a ReLU neuron in and out
        on = torch.eye(MODEL.d_mlp).double()[i]
        add(W_in=part["W_in"] * on, b_in=part["b_in"] * on, W_out=-part["W_out"] * on[:, None])
    for h in range(MODEL.n_heads):  # values against outputs, queries against keys
        for i in range(MODEL.d_head):
            for j in range(MODEL.d_head):
                turn, on = torch.zeros(MODEL.d_head, MODEL.d_head).double(), torch.eye(MODEL.n_heads).double()[h]
                turn[i, j] = 1.0
                head = on[:, None, None]
                add(W_V=head * (part["W_V"] @ turn), W_O=-head * (turn @ part["W_O"]))
                add(W_Q=head * (part["W_Q"] @ turn), W_K=-head * (part["W_K"] @ turn.T))
    for i in range(MODEL.d_model):  # the residual stream, and a shift of all classes
        for j in range(MODEL.d_model):
            turn = torch.zeros(MODEL.d_model, MODEL.d_model).double()
            turn[i, j] = 1.0
            writes = {name: part[name] @ turn for name in ("W_E", "W_pos", "W_O", "W_out", "b_out")}
            add(**writes, **{name: -turn @ part[name] for name in ("W_Q", "W_K", "W_V", "W_in", "W_U")})
        add(W_U=torch.eye(MODEL.d_model).double()[i][:, None].expand_as(part["W_U"]))
        for position in (0, 2):  # what goes to the positions comes off every token of theirs
            if position == 2:
                at_position, tokens = torch.eye(3)[2].double(), torch.eye(MODEL.p + 1)[MODEL.p].double()
            else:
                at_position, tokens = (
                    torch.tensor([1.0, 1.0, 0.0]).double(),
                    (torch.arange(MODEL.p + 1) < MODEL.p).double(),
                )
            unit = torch.eye(MODEL.d_model).double()[i]
            add(W_pos=at_position[:, None] * unit, W_E=-tokens[:, None] * unit)
    return torch.stack(directions)


def test_every_known_symmetry_of_a_tiny_transformer_is_missed_and_they_are_not_all():
    flat = network_logits()
    known = generators(flat)
    change = linearized(flat.function, flat.at).push(known)
    change = change - change.mean(-1, keepdim=True)
    assert change.abs().max() < 1e-12 * known.norm(dim=1).max()
    independent = int(torch.linalg.matrix_rank(known))
    found = symmetry_rank(flat.function, flat.at)
    # The last query is one constant vector, so that W_Q enters through one d_model vector of each head alone.
    query = MODEL.n_heads * (2 * MODEL.d_model * MODEL.d_head - MODEL.d_model)
    assert found.directions >= independent > MODEL.d_mlp + MODEL.d_model**2
    assert found.directions >= query + MODEL.d_mlp
    assert found.kept > 1e3 * found.dropped


def test_the_count_does_not_depend_on_which_side_of_the_jacobian_is_longer():
    def logits(w):
        return torch.stack([w[0] * w[1], w[1] * w[2], w[0] + w[2]])[None]

    def repeated(w):
        return logits(w).expand(5, -1)

    at = noise(3)
    short, long = symmetry_rank(logits, at), symmetry_rank(repeated, at)
    assert (short.rank, short.directions) == (long.rank, long.directions) == (2, 1)


def test_a_jacobian_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(jacobian, "JACOBIAN_LIMIT", 10)
    with pytest.raises(ValueError, match="got 4 logits times 4 weights"):
        symmetry_rank(lambda w: w[None], noise(4))
