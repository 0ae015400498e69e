"""The named rules that pick a network's key frequencies.

The rules (`embed_energy`, `wl_energy`, `neuron_argmax`, `logit_energy`) judge one network at a time,
because their answers differ in length. Each reads its answer off a different place, and so they can
disagree. A set is found once, at one checkpoint, and then kept along the run.

Source: Nanda et al. 2023 (arXiv:2301.05217), section 4.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.measures.spectra.fourier import by_frequency, logit_spectrum, neuron_logit_spectrum, numbers, row_norms
from circuitgrok.measures.spectra.tuning import neuron_frequencies


def embed_energy(W_E: Float[Tensor, "d_vocab d_model"], p: int, *, threshold: float = 0.25) -> Int[Tensor, " freq"]:
    """Key frequencies by the embedding: their norm, of cosine and sine together, is above a share of the largest.

    How the energy of a frequency falls on its cosine and its sine is a matter of where the numbers begin to be counted,
    and moves no frequency in or out.

    Args:
        W_E: One row per token, the numbers 0..p - 1 first; the '=' row is left out.
        p: The modulus.
        threshold: Share of the largest norm among all frequencies and the constant.

    Returns:
        Frequencies in increasing order.

    Raises:
        UserError: There are fewer than p tokens, or W_E is not finite.

    Example:
        >>> token = torch.arange(14)[:, None]  # p = 13, and '='
        >>> W_E = torch.cat([torch.cos(2 * torch.pi * k / 13 * token) for k in (2, 6)], dim=1)
        >>> embed_energy(W_E, p=13)
        tensor([2, 6])

    Source: the TransformerLens grokking demo, a quarter of the largest norm; there rows are compared, cosine and sine
    apart, and a frequency is key if either of its rows is.
    """
    norms = embed_norms(W_E, p)
    return _numbered(norms[1:] > threshold * _largest(norms))


def embed_norms(W_E: Float[Tensor, "d_vocab d_model"], p: int) -> Float[Tensor, " row"]:
    """Norms in the embedding that `embed_energy` compares: of the constant, then of each frequency 1..p // 2.

    Raises:
        ValueError: There are fewer than p tokens.

    Example:
        >>> embed_norms(torch.eye(5), p=5).square().round(decimals=4)  # white: one row, then two for each frequency
        tensor([1., 2., 2.], dtype=torch.float64)
    """
    squares = row_norms(numbers(W_E, p, "token")).square()
    return torch.cat([squares[:1], by_frequency(squares[1:])]).sqrt()


def wl_energy(W_L: Float[Tensor, "d_mlp c"], p: int, *, threshold: float = 0.05) -> Int[Tensor, " freq"]:
    """Key frequencies by the neuron-to-logit map: their energy is above a share of the largest.

    Args:
        W_L: W_out @ W_U, one column per class, 0..p - 1 first.
        p: The modulus.
        threshold: Share of the largest energy in `neuron_logit_spectrum`.

    Returns:
        Frequencies in increasing order.

    Raises:
        UserError: There are fewer than p classes, or W_L is not finite.

    Example:
        >>> classes = torch.arange(13)
        >>> wl_energy(torch.cos(2 * torch.pi * 6 / 13 * classes)[None], p=13)
        tensor([6])

    Source: Nanda et al. 2023, section 4.1 ("non-trivial norms", no number given); the .05 is ours.
    """
    power = neuron_logit_spectrum(W_L, p)
    return _numbered(power > threshold * _largest(power))


def neuron_argmax(neurons: Float[Tensor, "pair neuron"], *, min_purity: float = 0.0) -> Int[Tensor, " freq"]:
    """Key frequencies by the neurons: those that at least one neuron is tuned to.

    Args:
        neurons: Activations of all pairs, as in `measures`.
        min_purity: Ask only neurons of at least this purity. The paper's clusters start at .85; the
            authors' code asks every neuron, so that one stray neuron adds a frequency.

    Returns:
        Frequencies in increasing order. Neurons that do not vary have no vote.

    Raises:
        UserError: The number of pairs is not a square, or an activation is not finite.

    Example:
        >>> a, b = torch.meshgrid(*[torch.arange(7)] * 2, indexing="ij")
        >>> waves = [torch.cos(2 * torch.pi * k / 7 * a).flatten() for k in (3, 1, 3)]
        >>> neuron_argmax(torch.stack(waves, dim=1))
        tensor([1, 3])

    Source: Nanda et al. 2023, section 4.2, and the authors' code.
    """
    _largest(neurons)
    freq, purity = neuron_frequencies(neurons)
    return freq[(freq > 0) & (purity >= min_purity)].unique()


def logit_energy(logits: Float[Tensor, "pair c"], *, threshold: float = 0.05) -> Int[Tensor, " freq"]:
    """Key frequencies by the logits: the energy of their sum waves is above a share of the largest.

    Args:
        logits: Of all pairs, as in `measures`.
        threshold: Share of the largest energy in `logit_spectrum`.

    Returns:
        Frequencies in increasing order.

    Raises:
        UserError: The number of pairs is not a square, or a logit is not finite.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(13)] * 3, indexing="ij")
        >>> clock = sum(torch.cos(2 * torch.pi * k / 13 * (a + b - c)) for k in (2, 6))
        >>> logit_energy(clock.reshape(169, 13))
        tensor([2, 6])

    Source: ours, rule and threshold.
    """
    power = logit_spectrum(logits)
    return _numbered(power > threshold * _largest(power))


def _largest(values: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """The largest entry; infinity and nan are refused, because no share of them is a threshold."""
    if not bool(values.isfinite().all()):
        raise UserError("key frequencies of a network that is not finite do not exist; got inf or nan")
    return values.max()


def _numbered(is_key: Bool[Tensor, " freq"]) -> Int[Tensor, " key"]:
    """The frequencies themselves, which start at 1."""
    return is_key.nonzero().flatten() + 1
