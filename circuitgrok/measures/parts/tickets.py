"""Tickets of a lottery of frequencies: how strongly, and in which phase, each neuron reads and writes each frequency.

A neuron reads A_k cos(w_k a + u_k) and B_k cos(w_k b + v_k) of every frequency k, w_k = 2 pi k / p, and writes
C_k cos(w_k c + o_k). The product of what it reads has the sum wave A_k B_k / 2 cos(w_k (a + b) + u_k + v_k), and of
this times what it writes

    A_k B_k C_k cos(u_k + v_k - o_k)

is the part along cos(w_k (a + b - c)), up to a factor that all neurons share: what it gives to the right answer, and a
ticket's worth. Of a quadratic network their sum is the coefficient of that cosine in the logits, exactly; of others it
says what their second-order part would give. Under gradient flow of small networks the largest tickets grow fastest:
frequencies compete within each neuron, by strength at the start and by misalignment.

A network tells at any time how far its tickets are aligned (`alignment`), and which frequencies are worth most
(`worth`). Which will win in the end is known at the end: to hold the tickets of the start against the winners
(`foretold`) tells of a mechanism, and warns of nothing.

Source: He, Wang, Chen and Yang 2026 (arXiv:2602.16849) for the lottery and for misalignment, there of a network whose
a and b are read alike, u = v; Gromov 2023 (arXiv:2301.02679) for out = u + v.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitgrok.measures.spectra.fourier import fourier_basis, grid_side, numbers


class Tickets(NamedTuple):
    """Of each neuron and frequency; entry i belongs to frequency i + 1.

    Attributes:
        strength: A B C: the product of three amplitudes.
        misalignment: u + v - out, in radians, -pi..pi; 0 where what is read and what is written fit.
    """

    strength: Float[Tensor, "*stack neuron freq"]
    misalignment: Float[Tensor, "*stack neuron freq"]

    @property
    def values(self) -> Float[Tensor, "*stack neuron freq"]:
        """What each gives to the right answer: its strength times the cosine of its misalignment."""
        return self.strength * self.misalignment.cos()


def tickets(reads: Float[Tensor, "*stack pair neuron"], W_L: Float[Tensor, "*stack neuron c"]) -> Tickets:
    """The tickets of all neurons: strength and misalignment at every frequency below p / 2.

    Args:
        reads: Inputs of the nonlinearity of all pairs, as in `measures`.
        W_L: Neuron-to-logit map, one column per class, 0..p - 1 first.

    Returns:
        In float64. p / 2 of an even p has no phase, and is left out.

    Raises:
        ValueError: The number of pairs is not a square, or there are fewer than p classes.

    Example:
        >>> a, b = torch.meshgrid(*[2 * torch.pi * 3 / 7 * torch.arange(7)] * 2, indexing="ij")
        >>> reads, writes = 2 * torch.cos(a + 0.5) + torch.cos(b - 1.0), 3 * torch.cos(a[:, 0] - 0.4)
        >>> strength, misalignment = tickets(reads.reshape(49, 1), writes[None])
        >>> [round(x[0, 2].item(), 4) for x in (strength, misalignment)]
        [6.0, -0.1]
    """
    p = grid_side(reads)
    table = reads.double().unflatten(-2, (p, p))
    of_a, of_b, out = (_amplitudes(x) for x in (table.mean(-2), table.mean(-3), numbers(W_L.mT, p, "class").double()))
    product = of_a * of_b * out.conj()
    return Tickets(product.abs(), product.angle())


def worth(of: Tickets) -> Float[Tensor, "*stack freq"]:
    """What all neurons together give to the right answer at each frequency; negative where they speak against it.

    Example:
        >>> worth(Tickets(torch.ones(2, 1), torch.tensor([[0.0], [torch.pi / 3]]))).round(decimals=4)
        tensor([1.5000])
    """
    return of.values.sum(-2)


def alignment(of: Tickets) -> Float[Tensor, "*stack"]:
    """How far neurons read and write in phase: the cosine of the misalignment, each ticket weighing by its strength.

    Returns:
        1 where all fit, 0 in the mean over random phases; nan of a network that reads or writes nothing.

    Example:
        >>> alignment(Tickets(torch.tensor([[3.0, 1.0]]), torch.tensor([[0.0, torch.pi]])))
        tensor(0.5000)
    """
    return of.values.sum((-2, -1)) / of.strength.sum((-2, -1))


def foretold(values: Float[Tensor, " freq"], is_winner: Bool[Tensor, " freq"]) -> float:
    """The chance that a frequency that wins is worth more than one that loses: the area under the ROC curve.

    Args:
        values: What each frequency is worth, at some time.
        is_winner: Which are key frequencies in the end.

    Returns:
        0.5 where values say nothing, 1 where all winners are worth more; nan without a winner or a loser.

    Example:
        >>> foretold(torch.tensor([1.0, 5.0, 2.0, 2.0]), torch.tensor([False, True, True, False]))
        0.875
    """
    won, lost = values[is_winner][:, None], values[~is_winner]
    return ((won > lost).double() + 0.5 * (won == lost)).mean().item()


def _amplitudes(table: Float[Tensor, "*stack p neuron"]) -> Tensor:
    """Amplitude times exp(i phase) of each column's waves A cos(w_k x + phase), `[*stack neuron freq]`, complex."""
    p = table.shape[-2]
    waves = (fourier_basis(p).to(table.device) @ table).mT[..., 1 : 2 * ((p - 1) // 2) + 1]
    return torch.complex(waves[..., 0::2], -waves[..., 1::2].contiguous()) * (2 / p) ** 0.5
