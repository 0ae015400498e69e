"""Existence or density: which share of what fits the training pairs, at a radius, also answers all the others.

T are the pairs that are trained on, U the others, and ln Z_D(b; r) is that of `landscape.density`. Then

    R_gen = ln Z_{T and U} - ln Z_T          ln of the share of the mass that fits T which fits the truth on U
    R_mem = the same with wrong labels on U, drawn anew many times, in the mean
    chance = - |U| ln c                      what answers at random would have, c classes

At b = 1 R_gen is the evidence that T gives for U: the mean, over networks that answer T, of the probability that they
answer U. Above chance, what fits T generalises by its mass alone; below, generalising solutions have to be selected, by
whoever finds them. Wrong labels of an operation that commutes are the same for (a, b) and (b, a), as its true ones are.

A data set's ladders are independent, and their spread is the error; those that start hot and those that start at a
planted network must agree, or nothing is shown. What is finished is kept, and the same call goes on.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from circuitgrok.canonical import canonical_json, sha256
from circuitgrok.errors import UserError
from circuitgrok.landscape.density import Effort, cooled, evidence, flat, n_weights
from circuitgrok.models.kinds import AnyModel
from circuitgrok.store.kept import Estimates
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.table.counted import Density
from circuitgrok.tasks.kinds import Dataset, check_classes
from circuitgrok.tasks.modular import COMMUTING, Task
from circuitgrok.tree import Params


@in_plain_surroundings
def density(
    model: AnyModel,
    task: Dataset,
    radius: float,
    *,
    beta: float = 1.0,
    n_wrong: int = 20,
    temperature: float = 1.0,
    planted: Params | None = None,
    effort: Effort = Effort(),  # noqa: B008 - a tuple
    seed: int = 0,
    keep: str | Path | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> Density:
    """The density of generalising and of other solutions on a sphere of weights: R_gen, R_mem, and their brackets.

    Args:
        model: Whose trained weights lie on the sphere; those that do not train are zero.
        task: Pairs, labels and split: T is what is trained on. A split without mirrors across (`mirror_free`) leaves no
            test pair whose answer stands in the training set.
        radius: Norm of the weights.
        beta: Inverse temperature of the summed cross-entropies; large, what fits exactly is counted.
        n_wrong: Draws of wrong labels; two or more give R_mem an interval.
        temperature: What logits are divided by before the softmax: their scale apart from the radius.
        planted: A network that answers all pairs, to start from as well.
        effort: How long and how finely.
        seed: Of wrong labels and of all draws.
        keep: A folder in which finished data sets are kept; the same call then goes on with what is missing.
        tick: Told after each round: rounds done, rounds in all.

    Raises:
        UserError: No pair is left to hold out, or the task's answers are no classes.
        DamagedFile: What was kept is not what was written.

    Example:
        >>> from circuitgrok.models.mlp import QuadraticMLP
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> task = modular_addition(3, 0.5, split="mirror_free")
        >>> few = Effort(n_rounds=40, n_burnin=20)
        >>> found = density(QuadraticMLP(p=3, n_neurons=2), task, 1.0, n_wrong=2, effort=few)
        >>> found.n_weights, found.n_held, round(found.chance, 1), found.status
        (18, 6, -6.6, 'hot starts alone')
        >>> abs(found.R_gen.value - found.chance) < 0.5  # at a small radius all answers are alike
        True
    """
    check_classes(task)
    if bool(task.is_train.all()) or n_wrong < 0:
        raise UserError("a density needs pairs that are held out, and n_wrong 0 or more")
    everywhere = torch.ones_like(task.is_train)
    sets = {"train": (task, task.is_train), "all": (task, everywhere)}
    sets |= {f"wrong {i}": (wrongly(task, model.n_classes, seed, i), everywhere) for i in range(n_wrong)}
    twice = () if planted is None else ("train", "all")
    asked = [(data, start) for data in sets for start in ("hot", "planted") if start == "hot" or data in twice]
    at = None if planted is None else flat(model, planted)
    name = "" if at is None else sha256(at.numpy().tobytes())
    kept = _kept(keep, model, task, radius, beta, effort, seed, temperature)
    rows = {(row["data"], row["start"]): row for row in kept or () if row["planted"] in ("", name)}
    each = effort.n_rounds + effort.n_burnin
    for data, (labelled, where) in sets.items():
        missing = [one for one in asked if one[0] == data and one not in rows]
        if not missing:
            continue
        own = 1000 * seed + [*sets].index(data)
        rungs = cooled(model, labelled, where, radius, beta, effort, 100 * own, temperature)
        for _, start in missing:
            i = asked.index((data, start))
            told = None if tick is None else (lambda done, _, i=i: tick(i * each + done, len(asked) * each))
            point = at if start == "planted" else None
            found = evidence(
                model, labelled, where, rungs, effort, 2 * own + (start == "planted"), planted=point,
                temperature=temperature, tick=told,
            )  # fmt: skip
            of = {"data": data, "start": start, "planted": name if start == "planted" else ""}
            rows[data, start] = of | {k: v.tolist() for k, v in found._asdict().items()}
            if kept:
                kept.add([rows[data, start]])
    classes, held = model.n_classes, int((~task.is_train).sum())
    n_train = int(task.is_train.sum())
    hot_first = [rows[one] for one in sorted(asked, key=itemgetter(1))]
    return Density(radius, beta, n_weights(model), classes, n_train, held, hot_first)


def wrongly(task: Dataset, n_classes: int, seed: int, draw: int) -> Dataset:
    """The task with wrong labels on all pairs that are not trained on, each of the others as likely.

    Example:
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> task = modular_addition(5, 0.4, split="mirror_free")
        >>> other = wrongly(task, 5, 0, 0)
        >>> is_same = other.labels == task.labels
        >>> bool((is_same == task.is_train).all()), torch.equal(other.labels.view(5, 5), other.labels.view(5, 5).T)
        (True, True)
    """
    draws = torch.Generator().manual_seed(1_000_003 * seed + draw)
    by = torch.randint(1, n_classes, task.labels.shape, generator=draws)
    if isinstance(task, Task) and task.operation in COMMUTING:
        by = _alike_in_mirrors(task, by)
    return replace(task, labels=torch.where(task.is_train, task.labels, (task.labels + by) % n_classes))


def _alike_in_mirrors(task: Task, values: Int[Tensor, " pair"]) -> Int[Tensor, " pair"]:
    """The value of (a, b), a ≤ b, for (b, a) as well."""
    side = math.isqrt(len(values))
    square = values.view(side, side)
    return (square.triu() + square.triu(1).T).flatten()


def _kept(
    keep: str | Path | None,
    model: AnyModel,
    task: Dataset,
    radius: float,
    beta: float,
    effort: Effort,
    seed: int,
    temperature: float,
) -> Estimates | None:
    """The file of finished data sets, by all that they hang on; None if nothing is to be kept."""
    if keep is None:
        return None
    of = {
        "model": model.model_dump(mode="json"),
        "pairs": sha256(task.inputs.numpy().tobytes(), task.labels.numpy().tobytes(), task.is_train.numpy().tobytes()),
        "radius": float(radius).hex(),
        "beta": float(beta).hex(),
        "effort": list(effort),
        "seed": seed,
    } | ({} if temperature == 1 else {"temperature": float(temperature).hex()})
    digest = sha256(canonical_json(of).encode())[:16]
    return Estimates(Path(keep) / f"density_{digest}.jsonl", digest)
