"""Rows on what is there before the first step: norms, sizes, splits, the loss of chance."""

import math
import random
from collections.abc import Callable
from typing import Any

import torch
from published.given import EXACT, Given, Rows

import circuitgrok as cg
from circuitgrok.interventions.losses import LowPrecisionCrossEntropy
from circuitgrok.models.transformer import Transformer
from circuitgrok.study.sheet import Got, Row, about, got
from circuitgrok.training.origin import initial_weights
from circuitgrok.tree import norm

NANDA, OMNIGROK = "Nanda et al. 2023, arXiv:2301.05217", "Liu et al. 2022, arXiv:2210.01117"
DEMO = "TransformerLens, Grokking_Demo"
TRUONG, PRIETO = "Truong 2026, arXiv:2606.13753", "Prieto et al. 2025, arXiv:2501.04697"
SPREAD = "4 sd of the draw"


def start_norm(preset: str, **changed: Any) -> Callable[[Given], Got]:
    """The initial norm of a preset's config."""

    def of_config(given: Given) -> Got:
        config = cg.TrainConfig.preset(preset).with_(**changed)
        return got(norm(initial_weights(config)).item(), f"seed {config.init.seed}")

    return of_config


def squared(found: Callable[[Given], Got]) -> Callable[[Given], Got]:
    """The square of a row's number."""
    return lambda given: got(found(given).value ** 2)


def trained_numbers(model: Transformer) -> int:
    """How many numbers of a network train."""
    return sum(math.prod(shape) for name, shape in model.shapes().items() if model.is_trainable(name))


def same_split(given: Given) -> Got:
    """How many training pairs there are, and that they are those of Python's own shuffle of the list of pairs."""
    pairs = [(i, j) for i in range(113) for j in range(113)]
    random.Random(0).shuffle(pairs)
    theirs = {a * 113 + b for a, b in pairs[: int(0.3 * 113**2)]}
    task = cg.TrainConfig.preset("nanda").task.draw()
    mine = set(task.is_train.nonzero().flatten().tolist())
    return got(
        len(mine & theirs), f"{len(mine)} to train on, {113**2 - len(mine)} to test; split {task.split_hash[:8]}"
    )


def least_loss(given: Given) -> Got:
    """The smallest positive cross-entropy that float32 can say, over margins."""
    margins = torch.linspace(10, 18, 4001)
    logits = torch.stack([margins, torch.zeros(4001)], dim=-1)
    losses = torch.nn.functional.cross_entropy(logits, torch.zeros(4001, dtype=torch.long), reduction="none")
    return got(losses[losses > 0].min().item())


def blind_margin(given: Given) -> Got:
    """The smallest margin over one rival at which the label's logit has no gradient in float32."""
    margins = torch.linspace(10, 18, 4001)
    logits = torch.stack([margins, torch.zeros(4001)], dim=-1).requires_grad_()
    loss = LowPrecisionCrossEntropy(torch.float32).training(logits[None], torch.zeros(1, 4001, dtype=torch.long)).sum()
    [slope] = torch.autograd.grad(loss, logits)
    return got(margins[slope[:, 0] == 0].min().item(), "24 ln 2 = 16.64: a rival below 2⁻²⁴ is rounded away")


def gaussians(*groups: tuple[int, float]) -> tuple[float, float]:
    """Norm expected of independent normal numbers, (how many, of which variance), and four standard deviations."""
    mean, spread = sum(n * v for n, v in groups), math.sqrt(sum(2 * n * v * v for n, v in groups))
    return math.sqrt(mean), 4 * spread / (2 * math.sqrt(mean))


def rows() -> Rows:
    """All of them."""
    d, p = 128, 113
    by_width = 114 * d + 3 * d + 4 * d * d + 8 * d * d  # E, positions, four of attention, both of the MLP
    nanda = gaussians((by_width, 1 / d), (114 * d, 1 / 114))
    hooked = gaussians((by_width + p * d, 0.64 / d))
    bridge = gaussians((by_width - 5 * d * d + p * d, 0.64 / d), (5 * d * d, 0.64 / d / 2))
    mlp = gaussians((59 * d, 1 / d), (256 * 256, 1 / 256), (256 * 59, 1 / 256))
    layers = [(784, 200), (200, 200), (200, 10)]  # uniform in ±1/√n: variance 1 / 3n, of squares 4 / 45 n²
    mean = sum((n + 1) * out / (3 * n) for n, out in layers)
    spread = math.sqrt(sum((n + 1) * out * 4 / (45 * n * n) for n, out in layers))
    images = 8 * math.sqrt(mean), 8 * 4 * spread / (2 * math.sqrt(mean))
    nanda_start = start_norm("nanda")
    found: Rows = [
        Row("N1 nanda", "Σθ² at epoch 0", f"{NANDA}, figure 7", "1780 (one seed)",
            about(nanda[0] ** 2, 2 * nanda[0] * nanda[1], SPREAD), squared(nanda_start)),
        Row("N2 omnigrok", "‖θ₀‖ at α = 1", f"{OMNIGROK}, notebook", "42.7 (one seed, at its first log)",
            about(*nanda, SPREAD), start_norm("omnigrok-free")),
        Row("N3 constrained", "‖θ₀‖ at α = .8", f"{OMNIGROK}, notebook", "33.8",
            about(0.8 * nanda[0], 0.8 * nanda[1], SPREAD), start_norm("omnigrok")),
        Row("N4 demo", "‖θ₀‖ of HookedTransformer's start", f"{DEMO}, TransformerLens ≤ 3", "33.6",
            about(*hooked, SPREAD), start_norm("tl-demo")),
        Row("N5 bridge", "‖θ₀‖ of TransformerLens 4's own start", f"{DEMO}, TransformerLens 4.3", "30.4",
            about(*bridge, SPREAD), start_norm("tl-demo", scheme="bridge")),
        Row("N6 delay law", "‖θ₀‖ of the embedding MLP, p = 59", TRUONG, "19.34", about(*mlp, SPREAD),
            start_norm("truong")),
        Row("N7 images", "‖θ₀‖ of 784-200-200-10 at α = 8", f"{OMNIGROK}, MNIST", "93.7", about(*images, SPREAD),
            start_norm("omnigrok-mnist")),
        Row("N8 size", "numbers that train, progress-measures network", NANDA, "226816", about(226816, 0, EXACT),
            lambda given: got(trained_numbers(cg.TrainConfig.preset("nanda").transformer))),
        Row("N9 split", "training pairs shared with Python's shuffle of seed 0", f"{NANDA}, code",
            "3830 (8939 to test)", about(3830, 0, EXACT), same_split),
        Row("N10 chance", "loss of chance with '=' among the classes", NANDA, "4.7362", about(4.7362, 5e-5, "rounded"),
            lambda given: got(math.log(cg.TrainConfig.preset("nanda").transformer.n_classes))),
        Row("N11 quantum", "smallest positive loss in float32", f"{NANDA}: 2.4e-7 is two of them", "1.19e-7",
            about(2**-23, 1e-10, EXACT), least_loss),
        Row("N12 blind", "margin from which float32 gives the label's logit no gradient",
            "arXiv:2605.06152, section 3", "23 ln 2 ≈ 16", about(16, 0.7, "quoted as a round number"), blind_margin),
    ]  # fmt: skip
    return found
