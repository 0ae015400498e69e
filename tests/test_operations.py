"""Operations as addition in disguise: by looking at every pair, and by circuits planted under the disguise."""

import itertools
import math

import pytest
import torch
from loops import for_each
from oracles import labels_of, noise

from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.measures.circuits.explained import frac_explained
from circuitgrok.measures.circuits.restricted import parts_of
from circuitgrok.measures.spectra.fourier import frequency_power, neuron_logit_spectrum
from circuitgrok.measures.spectra.tuning import neuron_frequencies
from circuitgrok.tasks.modular import ModularAddition, Operation, Task
from circuitgrok.tasks.operations import as_addition, powers, primitive_root

GROUPED: tuple[Operation, ...] = ("add", "subtract", "multiply", "divide")
# OEIS A001918, the least primitive root of the primes from 3 to 113.
ROOTS = dict(
    zip(
        [3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107]
        + [109, 113],
        [2, 2, 3, 2, 2, 3, 2, 5, 2, 3, 2, 6, 3, 5, 2, 2, 2, 2, 7, 5, 3, 2, 3, 5, 2, 5, 2, 6, 3],
        strict=True,
    )
)


def drawn(operation: Operation, p: int = 13, **fields) -> Task:
    return ModularAddition(p=p, frac_train=0.5, operation=operation, **fields).draw()


def logarithm(task: Task, x: int) -> int:
    """Where a number stands in the hidden group: its discrete logarithm by trial, or itself."""
    if task.operation not in ("multiply", "divide"):
        return x
    return next(k for k in range(task.p) if pow(ROOTS[task.p], k, task.p) == x)


def planted_logits(task: Task, freqs: list[int], scale: float = 8.0) -> torch.Tensor:
    """Waves of the hidden sum of each pair, less each class; what is never right is very wrong."""
    m = task.p if task.operation in ("add", "subtract") else task.p - 1
    sign = -1 if task.operation in ("subtract", "divide") else 1
    logits = torch.full((len(task.labels), task.p + 1), -1e3, dtype=torch.float64)
    for row, (a, b, _) in zip(logits, task.inputs.tolist(), strict=True):
        for c in range(task.p - m, task.p):
            t = logarithm(task, a) + sign * logarithm(task, b) - logarithm(task, c)
            row[c] = scale * sum(math.cos(2 * math.pi * k * (t % m) / m) for k in freqs)
    return logits


@for_each("operation", GROUPED)
@for_each("p", [3, 5, 7, 13])
def test_every_pair_stands_where_addition_would_have_it(operation, p):
    task = drawn(operation, p)
    hidden = as_addition(task)
    m = hidden.m
    assert m == (p if operation in ("add", "subtract") else p - 1) and m**2 == len(task.labels)
    assert sorted(hidden.pairs.tolist()) == list(range(m * m))
    assert sorted(hidden.classes.tolist()) == sorted(hidden.tokens.tolist()) == list(range(p - m, p))
    for i, j in itertools.product(range(m), repeat=2):
        row = int(hidden.pairs[i * m + j])
        assert task.inputs[row, 0] == hidden.tokens[i]
        assert task.labels[row] == hidden.classes[(i + j) % m]
    assert torch.equal(hidden.labels, labels_of(m))


def test_addition_is_no_disguise():
    hidden = as_addition(drawn("add"))
    assert hidden.pairs.tolist() == list(range(169)) and hidden.classes.tolist() == list(range(13))


@for_each("operation", ["random", "quadratic", "times_square"])
@for_each("p", [3, 8, 13])
def test_what_is_no_addition_keeps_the_order_of_its_numbers(operation, p):
    task = drawn(operation, p, corrupted=0.0 if operation == "random" else 0.4)
    hidden, logits = as_addition(task), noise(2, p * p, p + 1)
    assert hidden.m == p and hidden.pairs.tolist() == list(range(p * p))
    assert hidden.classes.tolist() == hidden.tokens.tolist() == list(range(p))
    assert torch.equal(hidden.labels, task.labels) and torch.equal(hidden.true_labels, task.true_labels)
    assert torch.equal(hidden.table(logits), logits[..., :p])


@for_each("p", [3, 4, 7, 12, 113])
def test_forms_are_no_groups_table_because_classes_repeat_in_a_row(p):
    """In a group every class stands once in each row; b and -a - b have one form, b and -b one square."""
    b, minus = torch.arange(p), -torch.arange(p) % p
    quadratic, times_square = (drawn(operation, p).labels.view(p, p) for operation in ("quadratic", "times_square"))
    for a in range(1, p):
        assert torch.equal(quadratic[a], quadratic[a][(minus - a) % p]) and len(quadratic[a].unique()) < p
        assert torch.equal(times_square[a], times_square[a][minus]) and len(times_square[a].unique()) < p
    assert all(sorted(row.tolist()) == b.tolist() for row in drawn("subtract", p).labels.view(p, p))


def test_division_at_five_by_hand():
    hidden = as_addition(drawn("divide", 5))
    assert hidden.tokens.tolist() == hidden.classes.tolist() == [1, 2, 4, 3]  # powers of 2
    assert hidden.pairs[:4].tolist() == [0, 2, 3, 1]  # 1 / 1, 1 / 3, 1 / 4, 1 / 2: the inverses of 1, 2, 4, 3


def test_second_operand_of_division_and_subtraction_runs_backwards():
    for operation in ("subtract", "divide"):
        task = drawn(operation)
        hidden = as_addition(task)
        seconds = task.inputs[hidden.pairs[: hidden.m], 1]
        assert torch.equal(seconds, hidden.tokens[-torch.arange(hidden.m)])


def test_table_leaves_out_the_classes_that_are_never_right():
    task = drawn("multiply", 7)
    hidden, logits = as_addition(task), noise(2, 36, 8)
    table = hidden.table(logits)
    assert table.shape == (2, 36, 6)
    for row, k in itertools.product(range(36), range(6)):
        assert torch.equal(table[:, row, k], logits[:, hidden.pairs[row], hidden.classes[k]])


@for_each("operation", GROUPED)
def test_random_and_corrupted_labels_keep_their_place_in_the_table(operation):
    task = drawn(operation, corrupted=0.4)
    hidden = as_addition(task)
    assert torch.equal(hidden.classes[hidden.labels], task.labels[hidden.pairs])
    assert torch.equal(hidden.labels != labels_of(hidden.m), task.is_corrupted[hidden.pairs])
    without_rule = drawn("random")
    assert torch.equal(as_addition(without_rule).labels, without_rule.labels) and as_addition(without_rule).m == 13


# Circuits under the disguise


@for_each("operation", GROUPED)
@for_each("freqs", [[1], [2, 5], [3, 6]])
def test_restricted_loss_of_a_planted_circuit_is_its_full_loss(operation, freqs):
    task = drawn(operation)
    hidden, logits = as_addition(task), planted_logits(task, freqs)
    keys, where = torch.tensor(freqs), task.is_train[hidden.pairs]
    table, restricted, excluded = parts_of(hidden.table(logits), keys)
    full = cross_entropy(logits, task.labels)[task.is_train].mean()
    # Sums of cosines, each with an error of about 8 eps; a class at -1000 adds nothing to a loss in float64.
    alone = cross_entropy(restricted, hidden.labels)[where].mean()
    torch.testing.assert_close(alone, full, rtol=0, atol=1e-13)
    assert frac_explained(table, keys).item() == pytest.approx(1, abs=1e-13)
    chance = cross_entropy(excluded, hidden.labels).mean()
    assert chance.item() == pytest.approx(math.log(hidden.m), abs=1e-13)


def test_product_is_no_circuit_as_long_as_it_is_taken_for_a_sum():
    task = drawn("multiply")
    logits = planted_logits(task, [2, 5])[:, 1:13]  # in the order of the numbers, not of their logarithms
    assert frac_explained(logits, torch.arange(1, 7)).item() < 0.2
    assert frac_explained(as_addition(task).table(planted_logits(task, [2, 5])), torch.tensor([2, 5])).item() > 0.999


def quadratic_net(task: Task, freqs: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U, V [token neuron] and W [neuron c] of W (U e_a + V e_b)^2 with nine neurons for each frequency.

    With phases u, v in {0, 1/3, 2/3} of a turn and u + v at the output, all waves but the sum's cancel
    exactly: the logits are 9 cos(w_k (log a + log b - log c)). Rows and columns outside the domain are noise.
    """
    m = task.p if task.operation in ("add", "subtract") else task.p - 1
    sign = -1 if task.operation in ("subtract", "divide") else 1
    shape = (task.p, 9 * len(freqs))
    tables = U, V, W = noise(*shape, seed=1), noise(*shape, seed=2), noise(*shape, seed=3)
    for x in range(task.p - m, task.p):
        turns = [k * logarithm(task, x) / m for k in freqs]
        for n, (turn, u, v) in enumerate(itertools.product(turns, range(3), range(3))):
            for table, turned in zip(tables, (turn + u / 3, sign * turn + v / 3, turn + (u + v) / 3), strict=True):
                table[x, n] = math.cos(2 * math.pi * turned)
    return U, V, W.T


@for_each("operation", GROUPED)
def test_analytic_network_answers_and_shows_its_frequencies(operation):
    freqs = [1, 4, 5]
    task = drawn(operation)
    hidden, (U, V, W) = as_addition(task), quadratic_net(task, freqs)
    neurons = (U[task.inputs[:, 0]] + V[task.inputs[:, 1]]).square()
    logits = neurons @ W
    labels = task.labels - (task.p - hidden.m)
    assert torch.equal(logits[:, task.p - hidden.m :].argmax(-1), labels)
    table = hidden.table(logits)
    # 27 products of magnitude up to 4, each with a few eps: 27 * 4 * 4 eps is 1e-13. The mean of the nine is cos / 2.
    wanted = hidden.table(planted_logits(task, freqs, scale=4.5))
    torch.testing.assert_close(table, wanted, rtol=0, atol=1e-13)
    torch.testing.assert_close(parts_of(table, torch.tensor(freqs)).circuit, table, rtol=0, atol=2e-13)
    nine_waves = torch.tensor([4.5 * hidden.m if k in freqs else 0 for k in range(1, hidden.m // 2 + 1)])
    spectra = [frequency_power(operand[hidden.tokens]) for operand in (U, V)]
    for spectrum in (*spectra, neuron_logit_spectrum(W[:, hidden.classes], hidden.m)):
        torch.testing.assert_close(spectrum, nine_waves.double(), rtol=0, atol=1e-12)
    tuned = neuron_frequencies(U[task.inputs[:, 0]][hidden.pairs] * V[task.inputs[:, 1]][hidden.pairs])
    assert tuned.freq.tolist() == [k for k in freqs for _ in range(9)]


def test_another_primitive_root_permutes_the_frequencies():
    W_E, roots = noise(13, 4), [g for g in range(2, 13) if len(set(powers(g, 13).tolist())) == 12]
    assert roots == [2, 6, 7, 11]
    spectra = [frequency_power(W_E[powers(g, 13)]) for g in roots]
    for g, spectrum in zip(roots, spectra, strict=True):
        unit = next(u for u in range(12) if pow(2, u, 13) == g)  # log_2 x = u log_g x: wave k is wave u k to g
        moved = [min(unit * k % 12, -unit * k % 12) for k in range(1, 7)]
        torch.testing.assert_close(spectrum[[k - 1 for k in moved]], spectra[0])


@for_each(("p", "root"), ROOTS.items())
def test_primitive_root_is_the_one_in_the_table_and_generates(p, root):
    assert primitive_root(p) == root
    assert powers(root, p).tolist() == [pow(root, k, p) for k in range(p - 1)]
    assert sorted(powers(root, p).tolist()) == list(range(1, p))


@for_each("n", [1, 4, 6, 8, 9, 15, 561])
def test_composite_modulus_has_no_such_root(n):
    with pytest.raises(ValueError, match=f"p must be prime: .* got {n}"):
        primitive_root(n)
