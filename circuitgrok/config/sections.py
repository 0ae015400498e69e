"""The sections that every config has beside task and model: every field with its bound and its line of help.

What may differ between the runs of one stack, which carries it as one tensor `[run]`, is marked `PER_RUN`; what a run's
summary mentions, `Said`.
"""

import math
from collections.abc import Iterable, Iterator, Set
from itertools import chain
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from circuitgrok.interventions.base import PER_RUN, Said, Section
from circuitgrok.interventions.penalties import CHECKPOINT
from circuitgrok.tree import ROLES, Role


class Init(Section):
    """The weights at step 0: a named base init, times alpha, times a factor for each role."""

    scheme: str = Field(default="nanda", pattern=r"^[a-z_]+$", description="base init that alpha multiplies")
    alpha: float = Field(default=1.0, gt=0, description="multiplier of all initial weights")
    alpha_embed: float = Field(default=1.0, gt=0, description="further multiplier of W_E and W_pos")
    alpha_attention: float = Field(default=1.0, gt=0, description="further multiplier of W_Q, W_K, W_V, W_O")
    alpha_mlp: float = Field(default=1.0, gt=0, description="further multiplier of W_in, W_out")
    alpha_unembed: float = Field(default=1.0, gt=0, description="further multiplier of W_U")
    seed: int = Field(default=0, ge=0, lt=2**63, description="seed of the initial weights")
    start: str | None = Field(
        default=None,
        pattern=CHECKPOINT,
        description="start from a checkpoint, RUN_FOLDER@STEP, times the alphas",
    )
    start_moments: bool = Field(
        default=False, description="start with the optimizer's state of that checkpoint; off: afresh"
    )

    @property
    def alpha_by_role(self) -> dict[Role, float]:
        """The further multipliers, by role."""
        return {
            "embed": self.alpha_embed,
            "attention": self.alpha_attention,
            "mlp": self.alpha_mlp,
            "unembed": self.alpha_unembed,
        }

    @model_validator(mode="after")
    def _moments_belong_to_weights(self) -> "Init":
        factors = (self.alpha, *self.alpha_by_role.values())
        if self.start_moments and (self.start is None or factors != (1.0,) * len(factors)):
            raise ValueError(
                "start_moments needs start = RUN_FOLDER@STEP, with every alpha 1: they are of those weights"
            )
        return self


class Objective(Section):
    """The loss of the training pairs."""

    loss: Annotated[Literal["cross_entropy", "stablemax", "mse"], Said("{}")] = Field(
        default="cross_entropy", description="loss"
    )
    loss_precision: Annotated[Literal["float64", "float32", "float16"], Said("{} loss")] = Field(
        default="float64", description="format in which the training loss is taken; less than float64 to study collapse"
    )
    label_smoothing: Annotated[float, Said("label smoothing {:g}")] = Field(
        default=0.0, ge=0, lt=1, description="share of the target spread over all classes"
    )

    @model_validator(mode="after")
    def _cross_entropy_only(self) -> "Objective":
        if self.loss != "cross_entropy" and (self.loss_precision != "float64" or self.label_smoothing):
            raise ValueError(
                f"loss_precision and label_smoothing are for loss = cross_entropy; got loss = {self.loss!r}, "
                f"which is taken in float64 on plain labels"
            )
        if self.label_smoothing and self.loss_precision != "float64":
            raise ValueError("label_smoothing needs loss_precision = float64: low precision is studied on plain labels")
        return self


class Optimizer(Section):
    """The rule of the step, full batch. Decay is decoupled: weights shrink by lr * weight_decay at each step."""

    rule: Annotated[Literal["adam", "sgd", "rmsprop", "lion", "muon"], Said("{}")] = Field(
        default="adam", description="rule of the step; with the decoupled weight_decay adam is AdamW"
    )
    lr: float = Field(default=1e-3, gt=0, description="learning rate after warm-up; muon: of the hidden matrices")
    lr_rest: float | None = Field(
        default=None, gt=0, description="muon: learning rate of Adam on all other tensors; none: lr"
    )
    beta1: float = Field(default=0.9, ge=0, lt=1, description="decay of the first moment: adam, lion, muon's Adam")
    beta2: float = Field(default=0.98, ge=0, lt=1, description="decay of the second moment: adam, lion, rmsprop")
    eps: float = Field(default=1e-8, gt=0, description="epsilon of adam and rmsprop")
    momentum: float = Field(default=0.0, ge=0, lt=1, description="momentum of sgd, rmsprop and muon")
    warmup: int = Field(default=10, ge=0, description="steps of linear warm-up, min(step / warmup, 1); first rate 0")
    weight_decay: Annotated[float, PER_RUN] = Field(
        default=1.0, ge=0, description="decoupled weight decay, on every trained tensor"
    )
    decay_roles: Annotated[tuple[Role, ...], PER_RUN] = Field(
        default=ROLES, min_length=1, description="roles whose tensors decay"
    )
    decay_to_init: Annotated[bool, PER_RUN, Said("decay to init")] = Field(
        default=False, description="decay towards the weights of step 0; off: towards zero"
    )

    def rate(self, step: int) -> float:
        """Learning rate of the update that leads from `step` to `step + 1`."""
        return self.lr * min(step / self.warmup, 1.0) if self.warmup else self.lr

    @property
    def has_moment(self) -> bool:
        """Whether the rule keeps one first moment of all weights, which can be carried along a sphere."""
        return self.rule in ("adam", "lion") or (self.rule == "sgd" and self.momentum > 0)

    @model_validator(mode="after")
    def _used(self) -> "Optimizer":
        if self.momentum and self.rule not in ("sgd", "rmsprop", "muon"):
            raise ValueError(f"momentum is of sgd, rmsprop and muon; {self.rule} has beta1; got {self.momentum}")
        if self.lr_rest is not None and self.rule != "muon":
            raise ValueError(f"lr_rest is for rule = muon, which leaves some tensors to Adam; got rule = {self.rule!r}")
        return self


class Noise(Section):
    """Where the random numbers of a step come from, beside their purpose and the step's number."""

    noise_seed: Annotated[int, PER_RUN] = Field(
        default=0, ge=0, lt=2**63, description="seed of all noise, and of batches"
    )


class CheckpointSteps(Set[int]):
    """The steps of a schedule as a set: a range, and a few beside it."""

    def __init__(self, linear: range, others: Iterable[int]) -> None:
        self._linear = linear
        self._others = frozenset(step for step in others if step not in linear)

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> frozenset[Any]:
        """Unions and differences are plain sets."""
        return frozenset(it)

    def __contains__(self, step: object) -> bool:
        return step in self._linear or step in self._others

    def __iter__(self) -> Iterator[int]:
        return chain(self._linear, self._others)

    def __len__(self) -> int:
        return len(self._linear) + len(self._others)


class Schedule(Section):
    """How long to train, when to evaluate, which checkpoints to keep."""

    steps: int = Field(default=40_000, ge=1, description="optimizer steps")
    eval_every: int = Field(default=20, ge=1, description="steps between evaluations (lines of the history)")
    checkpoint_every: int = Field(default=200, ge=1, description="steps between checkpoints, after the early ones")
    checkpoints_per_decade: int = Field(
        default=12, ge=0, le=1000, description="early checkpoints, log-spaced, per factor 10"
    )
    checkpoint_on_move: float = Field(
        default=0.5,
        gt=0,
        description="extra checkpoint when test loss moved by this factor's logarithm (nats)",
    )
    keep_moments: bool = Field(
        default=False, description="keep the optimizer's state beside every checkpoint, for start_moments"
    )

    def checkpoint_steps(self) -> "CheckpointSteps":
        """Steps that get a checkpoint whatever happens: first, last, log-spaced early, linear later.

        They are counted and told, not listed: a schedule of 10^9 steps takes no memory.

        >>> sorted(Schedule(steps=30, checkpoint_every=10, checkpoints_per_decade=3).checkpoint_steps())
        [0, 1, 2, 5, 10, 20, 22, 30]
        """
        linear = range(0, self.steps + 1, self.checkpoint_every)
        decades = math.log10(min(self.steps, self.checkpoint_every * max(self.checkpoints_per_decade, 1)))
        count = int(decades * self.checkpoints_per_decade)
        early = (round(10 ** (i / max(self.checkpoints_per_decade, 1))) for i in range(count + 1))
        early = early if self.checkpoints_per_decade else ()
        return CheckpointSteps(linear, [self.steps, *(step for step in early if step <= self.steps)])


class Numerics(Section):
    """Number formats of the weights, and of what is computed from them; that of the loss is the objective's."""

    precision: Literal["float32", "float64"] = Field(default="float32", description="format of the weights")
    forward_precision: Literal["float32", "float64"] | None = Field(
        default=None, description="format in which logits and their slopes are computed; none: that of the weights"
    )
