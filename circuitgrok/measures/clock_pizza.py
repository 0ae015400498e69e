"""Clock or pizza: which of the two known algorithms for modular addition a network runs.

Both place the numbers on circles. A clock multiplies the two positions and so finds the sum of the angles; a pizza adds
them and finds it from the slice that their midpoint lies in. Midpoints of nearly opposite numbers are near the centre,
where slices are thin, so that a pizza's logits fade with the distance of a and b:

    clock   sum_k alpha_k cos(w_k (a + b - c)),                                w_k = 2 pi k / p
    pizza   sum_k beta_k |cos(w_k (a - b) / 2)| cos(w_k (a + b - c))

All of these waves live in a small table, the height of cos(w_k (a + b - c)) among the pairs of equal a - b
(`wave_heights`), because every d = a - b and s = a + b - c occur together in exactly p triples, for odd and even p
alike. Waves of different frequencies are orthogonal there, so that a joint fit falls apart into one for each frequency,
and a clock and a pizza of the same frequency have the cosine sqrt(2) S / p with S = sum_d |cos(pi k d / p)|. Squared
that is about 8 / pi^2: either form explains .81 of the other, and only the rest tells them apart.

A pizza can help its thin slices out: a circle of frequency 2 k, added up, holds cos(w_k (a - b)) times
cos(w_k (a + b - c)), which evens out the heights, so that the logits of the whole network look like a clock's. The
forms tell more of one circle at a time (`one_circle`).

Measures of logits take leading stack axes and go through `torch.func.vmap`; all answer in float64.

Source: Z. Zhong, Z. Liu, M. Tegmark, J. Andreas 2023 (arXiv:2306.17844), sections 3 and 4, and the authors' code.
"""

import math
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitgrok.measures.circuits import check_freqs, squares_about_mean
from circuitgrok.measures.fourier import fourier_basis, frequency_power, grid_side, numbers
from circuitgrok.models.forward import embedded, logits_of_streams
from circuitgrok.models.fused import PLAIN, Rows
from circuitgrok.models.transformer import Transformer
from circuitgrok.tree import Params

N_TRIPLES = 100  # the authors' code
N_CIRCLE_COMPONENTS = 4  # two circles; the authors' code
PIZZA_SYMMETRICITY, PIZZA_IRRELEVANCE = 0.98, 0.6  # Zhong et al. 2023, section 4, from a logistic regression


def sample_triples(p: int, generator: torch.Generator, *, n: int = N_TRIPLES) -> Int[Tensor, "triple 3"]:
    """Triples (a, b, c) of numbers and a class, drawn independently; for `logit_gradients`.

    Args:
        p: The modulus.
        generator: Source of the draw. Along a run use the same triples at every checkpoint.
        n: How many.

    Example:
        >>> sample_triples(59, torch.Generator().manual_seed(42)).shape
        torch.Size([100, 3])
    """
    return torch.randint(p, (n, 3), generator=generator)


class LogitGradients(NamedTuple):
    """What would raise one logit: its gradients by the two things that the network reads.

    Attributes:
        of_a: Gradient of the logit of c by the embedding of a, where a stands.
        of_b: The same of b. Apart from that of a also if a = b.
    """

    of_a: Float[Tensor, "*stack triple d_model"]
    of_b: Float[Tensor, "*stack triple d_model"]


def logit_gradients(model: Transformer, params: Params, triples: Int[Tensor, "triple 3"]) -> LogitGradients:
    """Gradients of logits by the embeddings of a and b, for some triples (a, b, c): one backward pass for all.

    Args:
        model: The network's shape.
        params: One network, or a stack of them.
        triples: Two numbers and a class each, all below p.

    Returns:
        In float64, in logits per unit of the embedding.

    Raises:
        ValueError: A triple is not of numbers in 0..p - 1.

    Example:
        >>> model = Transformer(p=5, d_model=8, d_head=8, n_heads=1, d_mlp=16)
        >>> params = model.init(torch.Generator().manual_seed(0))
        >>> logit_gradients(model, params, torch.tensor([[0, 3, 3], [4, 4, 1]])).of_a.shape
        torch.Size([2, 8])
    """
    if not bool(((triples >= 0) & (triples < model.p)).all()):
        raise ValueError(f"triples must be (a, b, c) with all three in 0..{model.p - 1}")
    exact = {name: value.double() for name, value in params.items()}
    equals = torch.full_like(triples[:, :1], model.p)
    first, second, *rest = embedded(model, exact, torch.cat([triples[:, :2], equals], dim=1))

    with torch.enable_grad():
        at_a, at_b = (stream.spread().detach().requires_grad_() for stream in (first, second))
        logits = logits_of_streams(model, exact, [Rows(at_a, None), Rows(at_b, None), *rest], PLAIN)
        picked = logits[..., torch.arange(len(triples), device=triples.device), triples[:, 2]]
        return LogitGradients(*torch.autograd.grad(picked.sum(), (at_a, at_b)))


def in_components(gradients: LogitGradients, table: Float[Tensor, "*stack p d_model"], n: int) -> LogitGradients:
    """Coordinates of the gradients along the first principal components of the embedding.

    What a gradient has outside of them would move a number off its circles; here only motion along them counts.

    Args:
        gradients: From `logit_gradients`.
        table: The embedding of the numbers, without '='.
        n: Number of components, 1..min(p - 1, d_model); six are three circles.

    Raises:
        ValueError: There are not so many components.

    Example:
        >>> gradients = LogitGradients(torch.ones(1, 3), torch.ones(1, 3))
        >>> table = torch.tensor([[0.0, 5.0, 0.0], [0.0, -5.0, 0.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
        >>> in_components(gradients, table, 1).of_a.abs()  # the second axis
        tensor([[1.]], dtype=torch.float64)

    Source: Zhong et al. 2023, section 4.1, where gradients are drawn along the first six components.
    """
    _, axes = _principal(table, n)
    return LogitGradients(*(gradient.double() @ axes.mT for gradient in gradients))


class Symmetricity(NamedTuple):
    """Mean over triples, and its error.

    Attributes:
        mean: -1..1.
        stderr: Standard error of the mean if the triples were drawn independently; nan for a single one.
    """

    mean: Float[Tensor, "*stack"]
    stderr: Float[Tensor, "*stack"]


def gradient_symmetricity(gradients: LogitGradients) -> Symmetricity:
    """Mean cosine between the gradients of a logit by the embeddings of a and of b.

    A pizza sees the sum of the two embeddings, which enter alike; a clock multiplies each by the other.

    Args:
        gradients: From `logit_gradients`: in the whole space of the embedding, where the published numbers and the
            threshold are taken; or from `in_components`.

    Returns:
        1 if the embeddings of a and b only enter by their sum; .99 and .33 in the authors' two examples of a pizza and
        a clock. nan if a gradient vanishes.

    Example:
        >>> gradients = LogitGradients(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0], [1.0, 0.0]]))
        >>> gradient_symmetricity(gradients)
        Symmetricity(mean=tensor(0.5000, dtype=torch.float64), stderr=tensor(0.5000, dtype=torch.float64))

    Source: Zhong et al. 2023, definition 4.1; 100 random triples in the authors' code.
    """
    of_a, of_b = (gradient.double() for gradient in gradients)
    norms = torch.linalg.vector_norm(of_a, dim=-1) * torch.linalg.vector_norm(of_b, dim=-1)
    cosines = (of_a * of_b).sum(-1) / norms
    n, mean = cosines.shape[-1], cosines.mean(-1)
    variance = (cosines - mean.unsqueeze(-1)).square().sum(-1) / (n - 1 if n > 1 else math.nan)
    return Symmetricity(mean, (variance / n).sqrt())


def distance_irrelevance(
    logits: Float[Tensor, "*stack pair c"], labels: Int[Tensor, " pair"]
) -> Float[Tensor, "*stack"]:
    """How little the distance of a and b says about the height of the right logit.

    Standard deviation of the right logit among the pairs of equal a - b, averaged over the distances, over that of
    all pairs.

    Args:
        logits: At the last position, all p^2 pairs in the order a * p + b.
        labels: The right class of each pair.

    Returns:
        0..1: 0 if the right logit is a function of a - b, 1 if no distance stands out. nan if it never varies; for an
        ideal clock it does not, and this is the ratio of two rounding errors.

    Raises:
        ValueError: The number of pairs is not a square.

    Example:
        >>> a, b = torch.meshgrid(*[torch.arange(5)] * 2, indexing="ij")
        >>> labels = ((a + b) % 5).flatten()
        >>> of_distance = torch.nn.functional.one_hot(labels) * ((a - b) % 5).reshape(25, 1)
        >>> distance_irrelevance(of_distance.double(), labels)
        tensor(0., dtype=torch.float64)

    Source: Zhong et al. 2023, definition 4.2. Where the authors' training script logs it, the best wrong logit stands
    in for the right one, so that the two do not compare.
    """
    p = grid_side(logits)
    right = logits.double()[..., torch.arange(p * p, device=logits.device), labels]
    by_distance = right[..., _pairs_by_distance(p).to(logits.device)]
    return by_distance.std(-1, correction=0).mean(-1) / right.std(-1, correction=0)


def circularity(W_E: Float[Tensor, "*stack d_vocab d_model"], p: int) -> Float[Tensor, "*stack"]:
    """How purely the first four principal components of the embedding are waves of one frequency each.

    Each component is a function of the number; the share of its strongest frequency in its energy is averaged.

    Args:
        W_E: One row per token, the numbers 0..p - 1 first; what comes behind them is left out.
        p: The modulus, 5 or more.

    Returns:
        1 for circles; the authors keep networks from .995 on. For Gaussian rows and odd p the mean of 1/i over
        i = 1..m, m = (p - 1) / 2: .14 at p = 59. Circles of exactly equal size may mix in the components.

    Raises:
        ValueError: p or d_model is too small for four components, or there are fewer than p tokens.

    Example:
        >>> x = 2 * torch.pi / 7 * torch.arange(7.0)
        >>> circles = torch.stack([2 * torch.cos(x), 2 * torch.sin(x), torch.cos(3 * x), torch.sin(3 * x)], dim=1)
        >>> circularity(circles, p=7).round(decimals=4)
        tensor(1., dtype=torch.float64)

    Source: Zhong et al. 2023, appendix, and the authors' code.
    """
    functions, _ = _principal(numbers(W_E, p, "token"), N_CIRCLE_COMPONENTS)
    power = frequency_power(functions.mT.unsqueeze(-1))  # [*stack component freq]
    return (power.amax(-1) / power.sum(-1)).mean(-1)


def wave_heights(
    logits: Float[Tensor, "*stack pair c"], key_freqs: Int[Tensor, " freq"]
) -> Float[Tensor, "*stack freq distance"]:
    """Height of the wave cos(w_k (a + b - c)) among the pairs of equal distance d = (a - b) mod p.

    A clock has the same height at every distance, a pizza |cos(w_k d / 2)| times a constant.

    Args:
        logits: At the last position, all p^2 pairs in the order a * p + b, p classes without '='.
        key_freqs: Distinct integers in 1..p // 2.

    Returns:
        Least-squares coefficients, in units of the logits; frequencies in the order of `key_freqs`, distances 0..p - 1.

    Raises:
        ValueError: `logits` is not [p^2, p], or a frequency is out of range or repeated.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(5)] * 3, indexing="ij")
        >>> logits = (10 + (a - b) % 5) * torch.cos(2 * torch.pi * 2 / 5 * (a + b - c))
        >>> wave_heights(logits.reshape(25, 5), torch.tensor([2])).round(decimals=4)
        tensor([[10., 11., 12., 13., 14.]], dtype=torch.float64)

    Source: Zhong et al. 2023, section 3, where the distance is the axis of the figures.
    """
    pairs, p = logits.shape[-2:]
    if pairs != p**2:
        raise ValueError(f"logits must be [p^2, p], without the class of '='; got [{pairs}, {p}]")
    check_freqs(key_freqs, p)
    residue, freqs = torch.arange(p, device=logits.device), key_freqs.long().to(logits.device)
    waves = _circle(torch.outer(residue, freqs), p)  # [x wave freq]
    by_class = logits.double() @ waves.flatten(-2)
    at_sum = waves[(residue[:, None] + residue).flatten() % p]
    onto = (by_class.unflatten(-1, (2, -1)) * at_sum).sum(-2)  # sum_c L cos(w_k (a + b - c)), [*stack pair freq]
    among = onto[..., _pairs_by_distance(p).to(logits.device), :].mean(-2)
    return (among / _energy(freqs, p)).mT


class LogitForms(NamedTuple):
    """Shares of the variance of all logits that each form explains, by frequency, and its coefficients.

    A form's whole share is the sum over its frequencies, because waves of different frequencies are orthogonal.

    Attributes:
        clock: Share of the clock form alone.
        pizza: Share of the pizza form alone.
        both: Share of the two together.
        any: Share of cos(w_k (a + b - c)) times the best of all functions of a - b: the ceiling of the others.
        alpha: Coefficient of the clock form alone, in units of the logits.
        beta: Coefficient of the pizza form alone.
        alpha_beside: Coefficient of the clock form where both are fitted together.
        beta_beside: Coefficient of the pizza form where both are fitted together.
    """

    clock: Float[Tensor, "*stack freq"]
    pizza: Float[Tensor, "*stack freq"]
    both: Float[Tensor, "*stack freq"]
    any: Float[Tensor, "*stack freq"]
    alpha: Float[Tensor, "*stack freq"]
    beta: Float[Tensor, "*stack freq"]
    alpha_beside: Float[Tensor, "*stack freq"]
    beta_beside: Float[Tensor, "*stack freq"]


def logit_forms(
    logits: Float[Tensor, "*stack pair c"],
    key_freqs: Int[Tensor, " freq"],
    turns: Float[Tensor, "*stack freq"] | None = None,
) -> LogitForms:
    """How well the clock form, the pizza form and both together fit the logits: least squares over all triples.

    The variance is about the overall mean, one number, as in `circuits.frac_explained`, whose value is `clock.sum(-1)`.
    Every wave sums to zero over the classes of a pair, and, but for k = p / 2, over the pairs for each class.
    So taking out the mean of each pair (which no softmax sees) or of each class beforehand changes the variance
    that the shares refer to, and no coefficient.

    Args:
        logits: At the last position, all p^2 pairs in the order a * p + b, p classes without '='.
        key_freqs: Distinct integers in 1..p // 2.
        turns: Where b has tokens of its own, how far its circles are turned (`circle_turns`), and so the slices:
            |cos((w_k (a - b) - turn) / 2)|. None where both read one table.

    Returns:
        Shares in 0..1, in the order of `key_freqs`; nan if the logits do not vary at all. A pure pizza is explained
        by the clock form to 2 (S / p)^2, about .81, and so is a pure clock by the pizza form: compare both with `any`.

    Raises:
        ValueError: `logits` is not [p^2, p], or a frequency is out of range or repeated.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(59)] * 3, indexing="ij")
        >>> wave, slices = torch.cos(2 * torch.pi / 59 * (a + b - c)), torch.cos(torch.pi / 59 * (a - b)).abs()
        >>> forms = logit_forms((3 * slices * wave).reshape(59**2, 59), torch.tensor([1]))
        >>> forms.pizza.round(decimals=4), forms.beta.round(decimals=4), forms.clock.round(decimals=4)
        (tensor([1.], dtype=torch.float64), tensor([3.], dtype=torch.float64), tensor([0.8108], dtype=torch.float64))

    Source: Zhong et al. 2023, section 3, there for the logits of `one_circle`.
    """
    p, profile = logits.shape[-1], wave_heights(logits, key_freqs)
    freqs = key_freqs.long().to(logits.device)
    angle = 2 * math.pi / p * (torch.outer(freqs, torch.arange(p, device=logits.device)) % p).double()
    slices = ((angle if turns is None else angle - turns.double().unsqueeze(-1)) / 2).cos().abs()
    thin = slices - slices.mean(-1, keepdim=True)  # the pizza without its clock: orthogonal to a constant height
    alpha = profile.mean(-1)
    beta = (profile * slices).sum(-1) / slices.square().sum(-1)
    beta_beside = (profile * thin).sum(-1) / thin.square().sum(-1)
    alpha_beside = alpha - beta_beside * slices.mean(-1)
    clock = p * alpha.square()
    fits = {
        "clock": clock,
        "pizza": beta.square() * slices.square().sum(-1),
        "both": clock + beta_beside.square() * thin.square().sum(-1),
        "any": profile.square().sum(-1),
    }
    total = squares_about_mean(logits).unsqueeze(-1)
    shares = {form: p * _energy(freqs, p) * fit / total for form, fit in fits.items()}
    return LogitForms(**shares, alpha=alpha, beta=beta, alpha_beside=alpha_beside, beta_beside=beta_beside)


def circle_turns(
    W_E: Float[Tensor, "*stack d_vocab d_model"], p: int, key_freqs: Int[Tensor, " freq"]
) -> Float[Tensor, "*stack freq"]:
    """How far the circles of b are turned against those of a, in a network where b has tokens of its own.

    Args:
        W_E: The rows of a, then those of b.
        p: The modulus.
        key_freqs: Distinct integers in 1..p // 2.

    Returns:
        The angle t in radians, -pi..pi, for which b stands where a would stand at w_k a = w_k b + t: the turn that
        carries one circle nearest to the other.

    Raises:
        ValueError: There are fewer than 2 p tokens, or a frequency is out of range or repeated.

    Example:
        >>> x = 2 * torch.pi / 5 * torch.arange(5.0)
        >>> W_E = torch.cat([torch.stack([torch.cos(y), torch.sin(y)], dim=1) for y in (x, x + 0.3)])
        >>> circle_turns(W_E, 5, torch.tensor([1])).round(decimals=4)
        tensor([0.3000], dtype=torch.float64)
    """
    check_freqs(key_freqs, p)
    tables = numbers(W_E, 2 * p, "token").double().unflatten(-2, (2, p))
    waves = _circle(torch.outer(torch.arange(p), key_freqs.long()), p).to(W_E.device)  # [x wave freq]
    of_a, of_b = rearrange(waves, "x wave freq -> freq wave x") @ tables.movedim(-3, 0).unsqueeze(-3)
    meet = of_a @ of_b.mT  # [*stack freq wave wave]
    return torch.atan2(meet[..., 1, 0] - meet[..., 0, 1], meet[..., 0, 0] + meet[..., 1, 1])


def one_circle(model: Transformer, params: Params, freq: int) -> Params:
    """The network with one circle in its embedding: the waves of one frequency, and the mean of the numbers.

    The whole network's logits are not the sum of those of its circles; but what a circle writes alone shows its form.

    Args:
        model: The network's shape.
        params: One network, or a stack of them.
        freq: 1..p // 2. A circle of frequency 2 k (or p - 2 k) that writes at k accompanies the pizza of k.

    Returns:
        The same tensors with another W_E; where b has tokens of its own, both halves are treated alike.

    Raises:
        ValueError: The frequency is out of range.

    Example:
        >>> model = Transformer(p=5, d_model=8, d_head=8, n_heads=1, d_mlp=16)
        >>> params = model.init(torch.Generator().manual_seed(0))
        >>> torch.linalg.matrix_rank(one_circle(model, params, 2)["embed.W_E"][:5]).item()  # two waves and the mean
        3

    Source: Zhong et al. 2023, section 3, where the two principal components of a circle are kept.
    """
    check_freqs(torch.tensor([freq]), model.p)
    W_E = params["embed.W_E"]
    count = model.p * (1 + model.own_tokens)
    waves = fourier_basis(model.p)[[0, *range(2 * freq - 1, min(2 * freq + 1, model.p))]].to(W_E.device)
    tables = W_E[..., :count, :].double().unflatten(-2, (-1, model.p))
    kept = (waves.mT @ (waves @ tables)).flatten(-3, -2).to(W_E.dtype)
    return params | {"embed.W_E": torch.cat([kept, W_E[..., count:, :]], dim=-2)}


def is_pizza(symmetricity: Float[Tensor, "*stack"], irrelevance: Float[Tensor, "*stack"]) -> Bool[Tensor, "*stack"]:
    """Whether a network that adds without mistakes counts as a pizza; otherwise it is more of a clock.

    Args:
        symmetricity: `gradient_symmetricity(...).mean`, in the whole space.
        irrelevance: `distance_irrelevance`.

    Returns:
        Symmetricity above .98 and irrelevance below .6; False for nan. Of a network that fails on some pairs it
        says nothing.

    Example:
        >>> is_pizza(torch.tensor([0.9937, 0.3336]), torch.tensor([0.17, 0.85]))  # the authors' two examples
        tensor([ True, False])

    Source: Zhong et al. 2023, section 4; the boundary is a logistic regression of theirs.
    """
    return (symmetricity > PIZZA_SYMMETRICITY) & (irrelevance < PIZZA_IRRELEVANCE)


def _principal(table: Float[Tensor, "*stack p d_model"], n: int) -> tuple[Tensor, Tensor]:
    """The first principal components: as functions of the rows `[*stack p n]`, and as axes `[*stack n d_model]`."""
    p, d_model = table.shape[-2:]
    if not 1 <= n <= min(p - 1, d_model):
        raise ValueError(f"{p} centred rows of width {d_model} have {min(p - 1, d_model)} components; asked for {n}")
    centred = table.double() - table.double().mean(-2, keepdim=True)
    functions, _, axes = torch.linalg.svd(centred, full_matrices=False)
    return functions[..., :n], axes[..., :n, :]


def _pairs_by_distance(p: int) -> Int[Tensor, "distance pair"]:
    """The p pairs of each distance d = (a - b) mod p, as places in the order a * p + b."""
    residue = torch.arange(p)
    return (residue[:, None] + residue) % p * p + residue


def _circle(turns: Int[Tensor, "*rows freq"], p: int) -> Float[Tensor, "*rows wave freq"]:
    """Cosine and sine of 2 pi turns / p, reduced as integers first."""
    angle = 2 * math.pi / p * (turns % p).double()
    return rearrange([angle.cos(), angle.sin()], "wave ... freq -> ... wave freq")


def _energy(freqs: Int[Tensor, " freq"], p: int) -> Float[Tensor, " freq"]:
    """Sum over a residue x of cos(w_k x)^2, for each frequency."""
    return torch.where(2 * freqs == p, float(p), p / 2).double()
