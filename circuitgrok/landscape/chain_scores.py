"""What the networks that chains move answer, each on splits of its own; and which steps are stable where they are."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.landscape.chain_loss import ChainLoss
from circuitgrok.landscape.curvature import random_starts, sharpness
from circuitgrok.samplers.target import Target


@torch.no_grad()
def chain_scores(
    loss: ChainLoss, position: Float[Tensor, "chain dim"], splits: Mapping[str, Bool[Tensor, "chain pair"]]
) -> dict[str, Float[Tensor, " chain"]]:
    """`<split>_acc` and `<split>_loss` (nats) of each chain's network, computed in float64 whatever its weights are.

    Args:
        loss: Knows the networks.
        position: Where chains are.
        splits: By name the pairs of each chain, any number of them.

    Example:
        >>> from circuitgrok.landscape.chain_loss import chosen_pieces
        >>> from circuitgrok.models.transformer import Transformer
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> model, task = Transformer(p=5, d_model=8, d_head=8, n_heads=1, d_mlp=16), modular_addition(5, 0.5, 0)
        >>> network = {name: value[None] for name, value in model.init(torch.Generator().manual_seed(0)).items()}
        >>> loss = ChainLoss(model, task, task.is_train, network, chosen_pieces(model))
        >>> chain_scores(loss, 0 * loss.start, {"test": ~task.is_train[None]})["test_loss"]  # ln 6
        tensor([1.7918], dtype=torch.float64)
    """
    exact = {name: value.double() for name, value in loss.networks_at(position).items()}
    logits = loss.model.logits(exact, loss.task.inputs)
    of_pairs = {
        "acc": (logits.argmax(-1) == loss.task.labels).double(),
        "loss": cross_entropy(logits, loss.task.labels.expand(len(position), -1)),
    }
    return {
        f"{split}_{name}": (values * pairs).sum(1) / pairs.sum(1)
        for split, pairs in splits.items()
        for name, values in of_pairs.items()
    }


def stable_below(target: Target, position: Float[Tensor, "chain dim"]) -> Float[Tensor, " chain"]:
    """Step sizes from which on leapfrogs, and steps of SGLD, are no longer stable: 4 over the largest curvature of U.

    Example:
        >>> from circuitgrok.samplers.target import LossGrad
        >>> bowl = Target(lambda w: LossGrad(w.double().square().sum(-1) / 2, w), torch.zeros(1, 2), 7.0, 1.0)
        >>> stable_below(bowl, bowl.centre).round(decimals=3)
        tensor([0.5000], dtype=torch.float64)
    """
    of_loss = sharpness(target.loss, position, random_starts(1, position.shape[1])).clamp(min=1e-6)
    return 4 / (target.nbeta * of_loss + target.localization)
