"""What a published file says of its own losses, and how near a loss that is taken here must come to it.

Claims are of the weights after a number of updates. Three cases let them be compared:

* The file holds those weights. Then only rounding lies between. If every logit is wrong by at most δ, the loss
  -log p of a pair is wrong by at most 2 δ (1 - p) <= 2 δ (-log p), for d loss = sum_c (p_c - 1_c) d z_c. So a mean
  loss is wrong by 2 δ of itself, however small it is. δ is the largest difference of logits between float32 and
  float64, twice, for theirs were summed in another order.
* It holds the weights one update later, and the optimizer's moments: AdamW's update is undone. Its rounding is that of
  the weights, which is in δ once more.
* It holds the weights one update later, and the curve before: then the loss has moved by as much as it ever did in
  one step of the last hundred of that curve, or less. Without a curve nothing bounds it, and by convention an update
  at most halves or doubles a loss.

Products in TF32 (ten bits of mantissa; what GPUs of 2020 to 2022 did by default) round 2^13 times as coarsely.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.foreign.opening import check_finite
from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.models.kinds import AnyModel
from circuitgrok.store.checkpoints import evaluation, slices
from circuitgrok.tasks.kinds import Dataset
from circuitgrok.tree import Params

Claims = dict[int, dict[str, float]]  # step -> train_loss, test_loss
COLUMNS = ("train_loss", "test_loss")
WARNING = "WARNING: "  # before a note that voids what is said by side
FLOAT32, TF32 = 1.0, 2.0**13  # rounding of products, in that of float32
_ROUNDED = 4.0  # 2 δ of the loss, and δ twice
_NEAR = 100  # claims of a curve whose moves bound the next
_HALVED = 0.5  # relative move of one update where no curve says
_COMPARED = 4  # networks whose claims are compared, the last ones


class Evidence(NamedTuple):
    """A claimed loss beside the losses of the weights that it was taken of.

    Attributes:
        column: `train_loss` or `test_loss`.
        step: Of the claim.
        claimed: In nats.
        losses: Of each pair, here.
        rounding: Relative error that float32 leaves.
        moved: Relative change that one update may have made; 0 where the weights are those of the claim.
        exactly: How the weights come to be of that step, for a message.
    """

    column: str
    step: int
    claimed: float
    losses: Float[Tensor, " pair"]
    rounding: float
    moved: float
    exactly: str

    def here(self, is_train: Bool[Tensor, " pair"]) -> float:
        """The mean over that side of a split."""
        return self.losses[is_train if self.column == "train_loss" else ~is_train].mean().item()

    def tolerance(self, products: float = FLOAT32) -> float:
        """The relative difference that rounding and the update explain."""
        return self.rounding * products + self.moved

    def gap(self, here: float) -> float:
        """The relative difference of a loss from the claim."""
        return abs(here - self.claimed) / max(abs(here), abs(self.claimed), 1e-300)


def claims_of(content: Mapping[str, Any], last: int, test_shift: int, notes: list[str]) -> Claims:
    """Losses that a file claims, by the step of the weights that they were taken of."""
    train, test = (_numbers(content.get(name), name) for name in ("train_losses", "test_losses"))
    strides = {
        math.ceil(len(train) / stride): stride for stride in (10, 1)
    }  # Nanda's code took every tenth for a while
    stride = strides.get(len(test), 0)
    if test and not stride:
        notes.append(f"{len(test)} test losses beside {len(train)} training losses: their steps are unknown, left out")
    claims: Claims = {}
    for i, loss in enumerate(train):
        claims.setdefault(i, {})["train_loss"] = loss
    for i, loss in enumerate(test if stride else []):
        claims.setdefault(i * stride + test_shift, {})["test_loss"] = loss
    for name in COLUMNS:
        for loss in _numbers([content[name]] if name in content and last else None, name):
            claims.setdefault(last - 1, {}).setdefault(name, loss)
    return claims


def _numbers(values: Any, name: str) -> list[float]:
    if values is None:
        return []
    try:
        values = values.flatten().tolist() if isinstance(values, Tensor) else values
        found = [float(value) for value in values]
    except (TypeError, ValueError):
        raise UserError(f"saved losses must be numbers; found something else among {name}") from None
    check_finite(found, name)
    return found


def pair_losses(params: Params, model: AnyModel, inputs: Tensor, labels: Tensor) -> tuple[Tensor, float]:
    """Loss of each pair in float64, and the largest difference that float32 makes to a logit."""
    losses, worst = [], 0.0
    precise = {name: value.double() for name, value in params.items()}
    single = {name: value.float() for name, value in params.items()}
    for here, right in slices(model, inputs, labels):
        with torch.no_grad():
            logits = model.logits(precise, here)
            worst = max(worst, (model.logits(single, here) - logits).abs().max().item())
        losses.append(cross_entropy(logits, right))
    return torch.cat(losses), worst


def evidence_of(
    claims: Claims,
    networks: Mapping[int, Params],
    before: Params | None,
    model: AnyModel,
    inputs: Tensor,
    labels: Tensor,
) -> list[Evidence]:
    """What can be compared: claims of the last networks, or of the update before the last.

    Args:
        claims: Of the file.
        networks: By step.
        before: The last network one update earlier, where that is known.
        model: Their shape.
        inputs: The tokens of every pair.
        labels: Their answers.
    """
    found: list[Evidence] = []
    last = max(networks)
    known: list[tuple[int, Params, str]] = [(step, networks[step], "the weights of that step") for step in networks]
    known = sorted(known, key=lambda one: one[0])[-_COMPARED:]
    if before is not None and last - 1 not in networks:
        known.append((last - 1, before, "the last update undone"))
    wanted = [one for one in known if claims.get(one[0])]
    for step, params, exactly in wanted:
        losses, error = pair_losses(params, model, inputs, labels)
        for column, claim in claims[step].items():
            twice = 2 if params is before else 1  # weights that were rounded once more
            found.append(Evidence(column, step, claim, losses, twice * _ROUNDED * error, 0.0, exactly))
    columns = {one.column for one in found}
    moves = {column: _moved(claims, column, last - 1) for column in COLUMNS if column not in columns}
    if any(moved is not None for moved in moves.values()):
        losses, error = pair_losses(networks[last], model, inputs, labels)
        for column, moved in moves.items():
            if moved is not None:
                claim = claims[last - 1][column]
                found.append(
                    Evidence(column, last - 1, claim, losses, _ROUNDED * error, moved, "the weights an update later")
                )
    return found


def _moved(claims: Claims, column: str, step: int) -> float | None:
    """The largest relative move between neighbours of a curve, near a step that it reaches."""
    if column not in claims.get(step, {}):
        return None
    before = [at for at in sorted(claims) if column in claims[at] and at <= step][-_NEAR:]
    values = [claims[at][column] for at in before]
    if len(values) < 3:
        return _HALVED
    return max(abs(b - a) / max(abs(a), abs(b), 1e-300) for a, b in zip(values, values[1:], strict=False))


def before_update(weights: Mapping[str, Tensor], optimizer: Any) -> dict[str, Tensor] | None:
    """A state dict before AdamW's last update, from the moments saved with it; None where they do not say.

    theta' = (1 - lr wd) theta - lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) is solved for theta.
    """
    try:
        groups, state = optimizer["param_groups"], optimizer["state"]
        settings = {index: group for group in groups for index in group["params"]}
        parameters = [name for name in weights if not name.endswith((".mask", ".IGNORE"))]
        undone = dict(weights)
        for name, (index, group) in zip(parameters, settings.items(), strict=True):
            moment, lr, wd = state[index], group["lr"], group["weight_decay"]
            if group.get("initial_lr", lr) != lr or group.get("amsgrad") or group.get("maximize"):
                return None  # a schedule moves lr after the update, and the one that was taken is not saved
            t, (b1, b2) = float(moment["step"]), group["betas"]
            first, second = moment["exp_avg"].double(), moment["exp_avg_sq"].double()
            if first.shape != weights[name].shape:
                return None
            step = lr * first / (1 - b1**t) / ((second / (1 - b2**t)).sqrt() + group["eps"])
            undone[name] = ((weights[name].double() + step) / (1 - lr * wd)).to(weights[name].dtype)
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):  # no AdamW, or none of ours
        return None
    return undone


def disbelieved(
    evidence: Sequence[Evidence], networks: Mapping[int, Params], config: TrainConfig, task: Dataset
) -> list[str]:
    """A warning where listed training pairs are answered wrong more often than the claimed training loss allows.

    A wrong answer has a probability of at most one half, and so costs log 2 at least.
    """
    sides = [one for one in evidence if one.column == "train_loss"]
    if not sides:
        return []
    last = max(networks)
    accuracy = evaluation(last, networks[last], config, task)["train_acc"]
    wrong, allowed = 1 - accuracy, sides[-1].claimed * (1 + sides[-1].tolerance(TF32)) / math.log(2)
    if wrong <= allowed:
        return []
    return [
        f"{WARNING}the pairs that the file lists are not those that this network learnt: {accuracy:.4f} of them are "
        f"answered right, and a training loss of {sides[-1].claimed:.2g} allows {allowed:.2g} wrong answers; what is "
        "said by side is of the listed pairs"
    ]
