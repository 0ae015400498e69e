"""The two forms that logits of modular addition take, and how much of a network's each of them explains.

    clock   sum_k alpha_k cos(w_k (a + b - c)),                                w_k = 2 pi k / p
    pizza   sum_k beta_k |cos(w_k (a - b) / 2)| cos(w_k (a + b - c))

All of these waves live in a small table, the height of cos(w_k (a + b - c)) among the pairs of equal a - b
(`wave_heights`), because every d = a - b and s = a + b - c occur together in exactly p triples, for odd and even p
alike. Waves of different frequencies are orthogonal there, so that a joint fit falls apart into one for each frequency,
and a clock and a pizza of the same frequency have the cosine sqrt(2) S / p with S = sum_d |cos(pi k d / p)|. Squared
that is about 8 / pi^2: either form explains .81 of the other, and only the rest tells them apart.

A pizza can help its thin slices out: a circle of frequency 2 k, added up, holds cos(w_k (a - b)) times
cos(w_k (a + b - c)), which evens out the heights (`accompanying_share`), so that the logits of the whole network look
like a clock's: of a published pizza the clock form explains .992 and the pizza form .843. The forms tell of one circle
at a time (`clock_pizza.one_circle`), where they are .78 and .997 there.

All shares are R^2 of least squares, 1 - residual / variance. The authors score a form by its correlation in places,
and 2 rho - 1 of a correlation is another number.

Source: Z. Zhong, Z. Liu, M. Tegmark, J. Andreas 2023 (arXiv:2306.17844), sections 3 and 4, and the authors' code.
"""

import math
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.measures.spectra.fourier import numbers
from circuitgrok.measures.spectra.sum_waves import check_freqs, squares_about_mean


def wave_heights(
    logits: Float[Tensor, "*stack pair c"], key_freqs: Int[Tensor, " freq"]
) -> Float[Tensor, "*stack freq distance"]:
    """Height of the wave cos(w_k (a + b - c)) among the pairs of equal distance d = (a - b) mod p.

    A clock has the same height at every distance, a pizza |cos(w_k d / 2)| times a constant.

    Args:
        logits: Of all pairs, as in `measures`.
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
    waves = circle(torch.outer(residue, freqs), p)  # [x wave freq]
    by_class = logits.double() @ waves.flatten(-2)
    at_sum = waves[(residue[:, None] + residue).flatten() % p]
    onto = (by_class.unflatten(-1, (2, -1)) * at_sum).sum(-2)  # sum_c L cos(w_k (a + b - c)), [*stack pair freq]
    among = onto[..., pairs_by_distance(p).to(logits.device), :].mean(-2)
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
        logits: Of all pairs, as in `measures`.
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


def accompanying_share(
    logits: Float[Tensor, "*stack pair c"],
    key_freqs: Int[Tensor, " freq"],
    turns: Float[Tensor, "*stack freq"] | None = None,
) -> Float[Tensor, "*stack freq"]:
    """Share of the logits' variance in cos(w_k (a - b)) cos(w_k (a + b - c)), what accompanies a pizza of frequency k.

    A circle of frequency 2 k places a and b at the angles 2 w_k a and 2 w_k b. Their sum lies at the angle w_k (a + b)
    and the distance 2 cos(w_k (a - b)), and a linear map reads it as a wave of frequency k. With a coefficient against
    the pizza's it is large where |cos(w_k (a - b) / 2)| is small, and so evens the heights out.

    Args:
        logits: Of all pairs, as in `measures`; those of the network
            with the one circle of frequency 2 k, for a single k.
        key_freqs: Distinct integers in 1..p // 2.
        turns: How far b's circle of frequency 2 k is turned, if b has tokens of its own: the slices are then
            cos(w_k (a - b) - turn / 2). None where both read one table.

    Returns:
        R^2 of least squares over all triples, 0..1, about the overall mean; nan if the logits do not vary at all.

    Raises:
        ValueError: `logits` is not [p^2, p], or a frequency is out of range or repeated.

    Example:
        >>> a, b, c = torch.meshgrid(*[2 * torch.pi / 59 * torch.arange(59)] * 3, indexing="ij")
        >>> beside = torch.cos(3 * (a - b)) * torch.cos(3 * (a + b - c)).reshape(59, 59, 59)
        >>> accompanying_share(beside.reshape(59**2, 59), torch.tensor([3])).round(decimals=4)
        tensor([1.], dtype=torch.float64)

    Source: ours, for the accompanying pizzas that Zhong et al. 2023 describe.
    """
    p, profile = logits.shape[-1], wave_heights(logits, key_freqs)
    freqs = key_freqs.long().to(logits.device)
    angle = 2 * math.pi / p * (torch.outer(freqs, torch.arange(p, device=logits.device)) % p).double()
    form = (angle if turns is None else angle - turns.double().unsqueeze(-1) / 2).cos()
    fit = (profile * form).sum(-1).square() / form.square().sum(-1)
    return p * _energy(freqs, p) * fit / squares_about_mean(logits).unsqueeze(-1)


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
    residue, freqs = torch.arange(p, device=W_E.device), key_freqs.long().to(W_E.device)
    waves = circle(torch.outer(residue, freqs), p)  # [x wave freq]
    of_a, of_b = rearrange(waves, "x wave freq -> freq wave x") @ tables.movedim(-3, 0).unsqueeze(-3)
    meet = of_a @ of_b.mT  # [*stack freq wave wave]
    return torch.atan2(meet[..., 1, 0] - meet[..., 0, 1], meet[..., 0, 0] + meet[..., 1, 1])


def pairs_by_distance(p: int) -> Int[Tensor, "distance pair"]:
    """The p pairs of each distance d = (a - b) mod p, as places in the order a * p + b."""
    residue = torch.arange(p)
    return (residue[:, None] + residue) % p * p + residue


def circle(turns: Int[Tensor, "*rows freq"], p: int) -> Float[Tensor, "*rows wave freq"]:
    """Cosine and sine of 2 pi turns / p, reduced as integers first."""
    angle = 2 * math.pi / p * (turns % p).double()
    return rearrange([angle.cos(), angle.sin()], "wave ... freq -> ... wave freq")


def _energy(freqs: Int[Tensor, " freq"], p: int) -> Float[Tensor, " freq"]:
    """Sum over a residue x of cos(w_k x)^2, for each frequency."""
    return torch.where(2 * freqs == p, float(p), p / 2).double()
