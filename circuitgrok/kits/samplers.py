"""What a sampler must do: leave its law, keep chains apart, and change nothing that it was given."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from circuitgrok.samplers.target import LossGrad, Sampler, State, Target

_CURVATURES = (1.0, 2.0, 4.0)
_CHAINS = 400
SURE = 4.0  # standard errors


def check_sampler(
    make: Callable[[Target], Sampler], *, steps: int, virial: Callable[[float], float] = lambda curvature: 1.0
) -> None:
    """Raise AssertionError, with the rule that is broken, unless a sampler keeps its law on a Gaussian.

    U(w) = sum of a w^2 / 2 with a = 1, 2, 4. Chains begin in the law itself and must stay in it: after `steps` steps
    the mean of a w^2 over 400 chains is `virial(a)` to 4 standard errors, and their place tells nothing of where they
    began. A step is pure; a chain has the same numbers alone as in a stack; the loss that is told is that of the
    position that the step led to.

    Args:
        make: The sampler on a target.
        steps: After which a chain has forgotten its start: several times 1 / (step size * smallest curvature).
        virial: What the sampler is known to give instead of 1, by curvature: of Langevin steps of size e without a
            test of acceptance 1 / (1 - e a / 4).

    Example:
        >>> from circuitgrok.samplers.mala import mala
        >>> check_sampler(lambda target: mala(target, step_size=0.5), steps=40)
    """
    a, target = torch.tensor(_CURVATURES, dtype=torch.float64), _bowl(_CHAINS)
    spread = torch.tensor([virial(float(x)) for x in a], dtype=torch.float64)
    begin = torch.randn(_CHAINS, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    begin = begin * (spread / a).sqrt()
    sampler = make(target)
    _check_step(sampler, target, begin)
    _check_apart(make, begin, min(steps, 5))
    end = _run(sampler, begin, range(_CHAINS), steps)["position"]
    energies = a * end * end
    error = energies.std(0) / math.sqrt(_CHAINS)
    off = (energies.mean(0) - spread) / error
    assert bool((off.abs() < SURE).all()), (
        f"a sampler must keep its law: mean of a w^2 at a = {list(_CURVATURES)} is {energies.mean(0).tolist()}, and "
        f"must be {spread.tolist()}; off by {off.tolist()} standard errors"
    )
    kept = torch.stack([torch.corrcoef(torch.stack([begin[:, i], end[:, i]]))[0, 1] for i in range(3)])
    assert bool((kept.abs() < SURE / math.sqrt(_CHAINS)).all()), (
        f"after {steps} steps chains must have forgotten where they began; correlations are {kept.tolist()}"
    )


def _bowl(chains: int) -> Target:
    """The Gaussian, for so many chains."""
    a = torch.tensor(_CURVATURES, dtype=torch.float64)
    return Target(lambda w: LossGrad((a * w * w).sum(-1) / 2, a * w), torch.zeros(chains, 3).double(), 1.0, 0.0)


def _check_step(sampler: Sampler, target: Target, begin: Tensor) -> None:
    """A step changes no state that it was given, and tells the loss of where it led."""
    generators = _generators(range(len(begin)))
    state = sampler.init(begin.clone(), generators)
    before = {name: part.clone() for name, part in state.items()}
    after, info = sampler.step(state, generators)
    for name, part in state.items():
        assert torch.equal(part, before[name]), f"a step must be pure: it changed {name} of the state that it was given"
    assert set(after) == set(before), f"a step must keep what the state holds: {sorted(before)}; got {sorted(after)}"
    assert bool((after["position"] != begin).any()), "a step must move"
    told = target.loss(after["position"]).value
    assert torch.allclose(info.loss, told, rtol=1e-9, atol=1e-12), "Info.loss must be that of the position it led to"


def _check_apart(make: Callable[[Target], Sampler], begin: Tensor, steps: int) -> None:
    """A chain goes the same way alone as beside others."""
    together = _run(make(_bowl(3)), begin[:3], range(3), steps)["position"]
    for i in range(3):
        alone = _run(make(_bowl(1)), begin[i : i + 1], [i], steps)["position"]
        assert torch.allclose(alone[0], together[i], rtol=1e-9), f"chain {i} goes another way alone than beside others"


def _run(sampler: Sampler, begin: Tensor, seeds: Sequence[int], steps: int) -> State:
    generators = _generators(seeds)
    state = sampler.init(begin.clone(), generators)
    for _ in range(steps):
        state, _ = sampler.step(state, generators)
    return state


def _generators(seeds: Sequence[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]
