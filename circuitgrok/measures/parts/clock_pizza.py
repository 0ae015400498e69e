"""Clock or pizza: which of the two known algorithms for modular addition a network runs.

Both place the numbers on circles. A clock multiplies the two positions and so finds the sum of the angles; a pizza adds
them and finds it from the slice that their midpoint lies in. Adding treats a and b alike, so that a pizza's logits have
symmetric gradients, and midpoints of nearly opposite numbers are near the centre, where slices are thin, so that they
depend on the distance of a and b. The two forms of the logits are in `parts.logit_forms`; they tell more of one
circle at a time (`one_circle`).

Measures of logits take leading stack axes and go through `torch.func.vmap`; all answer in float64.

Source: Z. Zhong, Z. Liu, M. Tegmark, J. Andreas 2023 (arXiv:2306.17844), sections 3 and 4, and the authors' code.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitgrok.errors import Undefined
from circuitgrok.measures.parts.logit_forms import pairs_by_distance
from circuitgrok.measures.spectra.fourier import fourier_basis, frequency_power, grid_side, numbers
from circuitgrok.measures.spectra.sum_waves import check_freqs
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
        gradients: From `logit_gradients`, in the whole space of the embedding, where the published numbers and the
            threshold are taken.

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
        logits: Of all pairs, as in `measures`.
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
    by_distance = right[..., pairs_by_distance(p).to(logits.device)]
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
        Undefined: p or d_model is too small for four components.
        ValueError: There are fewer than p tokens.

    Example:
        >>> x = 2 * torch.pi / 7 * torch.arange(7.0)
        >>> circles = torch.stack([2 * torch.cos(x), 2 * torch.sin(x), torch.cos(3 * x), torch.sin(3 * x)], dim=1)
        >>> circularity(circles, p=7).round(decimals=4)
        tensor(1., dtype=torch.float64)

    Source: Zhong et al. 2023, appendix, and the authors' code.
    """
    functions = _principal(numbers(W_E, p, "token"), N_CIRCLE_COMPONENTS)
    power = frequency_power(functions.mT.unsqueeze(-1))  # [*stack component freq]
    return (power.amax(-1) / power.sum(-1)).mean(-1)


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
        says nothing, and the table of measures has nan there.

    Example:
        >>> is_pizza(torch.tensor([0.9937, 0.3336]), torch.tensor([0.17, 0.85]))  # the authors' two examples
        tensor([ True, False])

    Source: Zhong et al. 2023, section 4; the boundary is a logistic regression of theirs.
    """
    return (symmetricity > PIZZA_SYMMETRICITY) & (irrelevance < PIZZA_IRRELEVANCE)


def _principal(table: Float[Tensor, "*stack p d_model"], n: int) -> Float[Tensor, "*stack p n"]:
    """The first principal components as functions of the rows."""
    p, d_model = table.shape[-2:]
    if not 1 <= n <= min(p - 1, d_model):
        raise Undefined(f"{p} centred rows of width {d_model} have {min(p - 1, d_model)} components; asked for {n}")
    centred = table.double() - table.double().mean(-2, keepdim=True)
    return torch.linalg.svd(centred, full_matrices=False).U[..., :n]
