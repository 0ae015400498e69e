"""Curvature: closed forms, dense float64 Hessians built another way, and geodesics differentiated twice."""

import pytest
import torch
from loops import for_each
from oracles import dense_hessian, generator, noise

from circuitgrok.landscape.flat import Flat, logits_on, loss_on
from circuitgrok.landscape.hessian import as_matrix, extreme_eigenpairs, hessian_operator
from circuitgrok.landscape.polar_hessian import polar_blocks, sphere_hessian_operator
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.modular import modular_addition

EPS = torch.finfo(torch.float64).eps


def network_loss(names=None, **shape) -> Flat:
    model = Transformer(p=5, d_model=4, d_head=2, n_heads=2, d_mlp=8, **shape)
    task = modular_addition(p=5, frac_train=0.5)
    return loss_on(model, model.init(generator(0), alpha=2.0), task, task.is_train, names)


def written(loss, at):
    """The matrix that products with the Hessian write down."""
    return as_matrix(hessian_operator(loss, at), len(at))


def symmetric(dim, seed=0):
    matrix = noise(dim, dim, seed=seed)
    return matrix + matrix.T


def applied(matrix):
    return lambda rows: rows @ matrix


def with_spectrum(eigenvalues, seed=0):
    """A dense symmetric matrix in a random basis."""
    rotation = torch.linalg.qr(noise(len(eigenvalues), len(eigenvalues), seed=seed)).Q
    return rotation * eigenvalues @ rotation.T


# Products and the dense matrix


@for_each(
    ("names", "shape"),
    [
        (["embed", "*.W_K", "*.b_in"], {}),
        (["mlp", "*.W_Q"], {"act": "gelu"}),
        (["*.1.attn.W_V", "*.0.mlp.*"], {"n_layers": 2}),
        (["*.W_Q", "*.W_in", "normalization"], {"normalization": "LN"}),
    ],
)
def test_products_with_a_networks_hessian_agree_with_one_built_row_by_row(names, shape):
    loss, at, _ = network_loss(names, **shape)
    assert len(at) <= 400
    exact = dense_hessian(loss, at)
    vectors = noise(40, len(at))  # more than are taken at once
    expected = vectors @ exact
    torch.testing.assert_close(
        hessian_operator(loss, at)(vectors), expected, rtol=0, atol=1e-8 * expected.abs().max().item()
    )
    largest = exact.abs().max().item()
    torch.testing.assert_close(written(loss, at), exact, rtol=0, atol=1e-8 * largest)


def test_products_agree_with_central_differences_of_the_gradient():
    loss, at, _ = network_loss(act="gelu")
    vector, step = noise(len(at)), 1e-5
    ahead, behind = ((at + sign * step * vector).requires_grad_() for sign in (1, -1))
    slopes = [torch.autograd.grad(loss(x), x)[0] for x in (ahead, behind)]
    difference = (slopes[0] - slopes[1]) / (2 * step)
    # Truncation is step^2 / 6 times a third derivative, of the size of the second times a few; rounding eps / step.
    exact = hessian_operator(loss, at)(vector[None])[0]
    assert (difference - exact).norm() < 1e-7 * exact.norm()


def test_the_hessian_of_softmax_regression_is_the_mean_of_covariance_times_input_products():
    n, width, classes = 6, 3, 4
    x, labels, at = noise(n, width), torch.tensor([0, 1, 2, 3, 0, 1]), noise(width * classes, seed=1)

    def loss(w):
        return torch.nn.functional.cross_entropy(x @ w.view(width, classes), labels)

    probs = (x @ at.view(width, classes)).softmax(-1)
    covariance = torch.diag_embed(probs) - probs[:, :, None] * probs[:, None, :]
    exact = torch.einsum("ni,nj,ncd->icjd", x, x, covariance).reshape(width * classes, -1) / n
    torch.testing.assert_close(written(loss, at), exact, rtol=0, atol=64 * EPS)


def test_a_bias_is_eliminated_from_the_hessian_of_least_squares_as_gauss_would():
    """With the bias fixed the curvature is the second moment of x; with the bias free it is the covariance."""
    x, y, at = noise(20, 3) + 2.0, noise(20, seed=1), noise(4, seed=2)
    full = written(lambda w: (x @ w[:3] + w[3] - y).square().mean() / 2, at)
    fixed = written(lambda w: (x @ w + at[3] - y).square().mean() / 2, at[:3])
    eliminated = full[:3, :3] - torch.outer(full[:3, 3], full[3, :3]) / full[3, 3]
    torch.testing.assert_close(fixed, x.T @ x / 20, rtol=0, atol=256 * EPS)
    torch.testing.assert_close(eliminated, torch.cov(x.T, correction=0), rtol=0, atol=256 * EPS)


def test_a_linear_loss_has_no_curvature_and_weights_that_it_ignores_have_none():
    at = noise(3)
    assert hessian_operator(lambda w: w.sum(), at)(noise(2, 3)).abs().max() == 0
    assert torch.equal(written(lambda w: w[0] ** 3, at)[1:], torch.zeros(2, 3, dtype=torch.float64))


def test_float32_and_matrices_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="must be float64.*got torch.float32"):
        hessian_operator(lambda w: w.sum(), torch.ones(2))
    with pytest.raises(ValueError, match="20001 would take 3.2 GB"):
        as_matrix(lambda rows: rows, 20_001)


# Neurons


def neuron_direction(loss: Flat, neuron: int):
    """d/dt of scaling a ReLU neuron's inputs by exp(t) and its outputs by exp(-t), and its generator's diagonal."""
    signs = {name: torch.zeros_like(value) for name, value in loss.like.items()}
    signs["blocks.0.mlp.W_in"][:, neuron] = 1.0
    signs["blocks.0.mlp.b_in"][neuron] = 1.0
    signs["blocks.0.mlp.W_out"][neuron] = -1.0
    diagonal = torch.cat([value.flatten() for value in signs.values()])
    return diagonal * loss.at, diagonal


def test_rescaling_a_neuron_is_not_a_null_vector_away_from_critical_points_but_turns_the_gradient():
    """L(exp(t X) w) = L(w) for all t and w gives H X w = -X g, which is zero only where X g is."""
    flat = network_loss()
    vector, diagonal = neuron_direction(flat, 3)
    point = flat.at.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(flat.function(point), point)
    product = hessian_operator(flat.function, flat.at)(vector[None])[0]
    torch.testing.assert_close(product, -diagonal * gradient, rtol=0, atol=1e-14)
    assert product.norm() > 1e-3


def test_rescaling_a_neuron_is_a_null_vector_at_a_critical_point():
    model, task = Transformer(p=5, d_model=4, d_head=2, n_heads=2, d_mlp=8), modular_addition(p=5, frac_train=0.5)
    params = model.init(generator(0), alpha=2.0)
    logits, at, like = logits_on(model, params, task.inputs)
    target = logits(at)

    def distillation(w):  # zero, and so critical, at the teacher itself
        return (logits(w) - target).square().mean()

    vector, _ = neuron_direction(Flat(distillation, at, like), 3)
    other = noise(len(at)) * vector.norm() / len(at) ** 0.5
    products = hessian_operator(distillation, at)(torch.stack([vector, other]))
    assert products[0].norm() < 1e-12 * products[1].norm()


# Extreme eigenvalues


def test_extreme_eigenvalues_of_a_network_agree_with_the_dense_spectrum():
    loss, at, _ = network_loss()
    exact = torch.linalg.eigvalsh(written(loss, at)).flip(0)
    found = extreme_eigenpairs(hessian_operator(loss, at), len(at), n_top=5, n_bottom=3, generator=generator(0))
    expected = torch.cat([exact[:5], exact[-3:]])
    torch.testing.assert_close(found.values, expected, rtol=1e-6, atol=0)


def test_residuals_are_those_of_the_vectors_given_and_small():
    matrix = symmetric(60)
    found = extreme_eigenpairs(applied(matrix), 60, n_top=4, n_bottom=4, generator=generator(1))
    residuals = (found.vectors @ matrix - found.values[:, None] * found.vectors).norm(dim=1)
    torch.testing.assert_close(found.residuals, residuals, rtol=1e-6, atol=1e-13)
    assert found.residuals.max() < 2e-8 * found.values[0]
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-7)


def test_both_copies_of_a_double_eigenvalue_are_found():
    """Translations of Z_p make the eigenvalues of a clock come in pairs."""
    spectrum = torch.cat([torch.tensor([9.0, 9.0, 7.0, 7.0]), torch.linspace(0, 1, 96)]).double()
    found = extreme_eigenpairs(applied(with_spectrum(spectrum)), 100, n_top=4, n_bottom=0, generator=generator(2))
    torch.testing.assert_close(found.values, spectrum[:4], rtol=1e-9, atol=0)


def test_tiny_smallest_eigenvalues_beside_many_zeros_are_found():
    spectrum = torch.cat([torch.linspace(1e-3, 1, 40), torch.zeros(60), torch.tensor([-1e-6, -2e-6])]).double()
    found = extreme_eigenpairs(applied(with_spectrum(spectrum)), 102, n_top=1, n_bottom=2, generator=generator(3))
    assert ((found.values[1:] - spectrum[-2:]).abs() <= found.residuals[1:] + 102 * EPS).all()
    assert found.residuals.max() < 2e-8


def test_the_same_generator_gives_the_same_bits_and_too_many_eigenvalues_are_refused():
    matrix = symmetric(30)
    one, two = (
        extreme_eigenpairs(applied(matrix), 30, n_top=2, n_bottom=1, generator=generator(4)).vectors for _ in range(2)
    )
    assert torch.equal(one, two)
    with pytest.raises(ValueError, match="at most dim - 1 = 29; got 20 and 10"):
        extreme_eigenpairs(applied(matrix), 30, n_top=20, n_bottom=10, generator=generator(0))


# Polar blocks


def test_radial_mixed_and_tangential_blocks_put_together_are_the_matrix():
    matrix, at = symmetric(7), noise(7, seed=1)
    radial, mixed, tangential = polar_blocks(applied(matrix), at)
    u = at / at.norm()
    whole = radial * torch.outer(u, u) + torch.outer(u, mixed) + torch.outer(mixed, u) + as_matrix(tangential, 7)
    torch.testing.assert_close(whole, matrix, rtol=0, atol=64 * EPS)
    assert abs(mixed @ u) < 16 * EPS and tangential(u[None]).norm() < 64 * EPS


def test_the_sphere_hessian_is_the_second_derivative_along_geodesics():
    loss, at, _ = network_loss(act="gelu")
    r, u = at.norm(), at / at.norm()
    operator = sphere_hessian_operator(loss, at)
    for seed in range(3):
        e = noise(len(at), seed=seed)
        e = e - (e @ u) * u
        e = e / e.norm()

        def along(s, e=e):
            return loss(r * torch.cos(s / r) * u + r * torch.sin(s / r) * e)

        exact = dense_hessian(along, torch.zeros((), dtype=torch.float64)).item()
        assert (operator(e[None])[0] @ e).item() == pytest.approx(exact, rel=1e-10)
        straight = (polar_blocks(hessian_operator(loss, at), at).tangential(e[None])[0] @ e).item()
        assert abs(straight - exact) > 1e-3 * abs(exact)  # the curvature of the sphere is no small correction


def test_a_loss_of_the_direction_alone_has_no_radial_curvature_and_bends_its_gradient_with_the_norm():
    """L(c w) = L(w): u^T H u = 0, P H u = -g / r, and the sphere's Hessian is P H P."""
    matrix, at = symmetric(6), noise(6, seed=3)

    def loss(w):
        return w @ matrix @ w / (w @ w)

    point = at.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(point), point)
    radial, mixed, tangential = polar_blocks(hessian_operator(loss, at), at)
    assert abs(radial) < 1e-13
    torch.testing.assert_close(mixed, -gradient / at.norm(), rtol=0, atol=1e-13)
    sphere = as_matrix(sphere_hessian_operator(loss, at), 6)
    torch.testing.assert_close(sphere, as_matrix(tangential, 6), rtol=0, atol=1e-13)


def test_a_squared_norm_is_flat_on_the_sphere_and_curved_straight_ahead():
    at = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64)
    loss = lambda w: w @ w / 2  # noqa: E731
    assert as_matrix(sphere_hessian_operator(loss, at), 3).abs().max() < 8 * EPS
    straight = as_matrix(polar_blocks(hessian_operator(loss, at), at).tangential, 3)
    assert torch.linalg.eigvalsh(straight).tolist() == pytest.approx([0, 1, 1], abs=8 * EPS)


def test_the_origin_has_no_polar_coordinates():
    with pytest.raises(ValueError, match="got the origin"):
        polar_blocks(lambda rows: rows, torch.zeros(3, dtype=torch.float64))
