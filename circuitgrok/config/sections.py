"""The sections of a config beside task and model: frozen, validated, every field with its bound and its line of help.

A field that came after runs had been written leaves their hashes as they were: `LATER` names it. What may differ
between the runs of one stack, which carries it as one tensor `[run]`, is in `FREE` and `ON_OR_OFF`.
"""

import difflib
import math
from collections.abc import Iterable, Iterator, Set
from itertools import chain
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from circuitgrok.interventions.penalties import PENALTIES
from circuitgrok.tree import ROLES, Role

CHECKPOINT = r"^.+@\d{1,9}$"  # RUN_FOLDER@STEP


class Section(BaseModel):
    """A frozen part of a config that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
    """The loss of the training pairs, and what is done to the logits before it."""

    loss: Literal["cross_entropy", "stablemax", "mse"] = Field(default="cross_entropy", description="loss")
    loss_precision: Literal["float64", "float32", "float16"] = Field(
        default="float64", description="format in which the training loss is taken; less than float64 to study collapse"
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="share of the target spread over all classes")
    temperature: float = Field(default=1.0, gt=0, description="the loss sees logits divided by this")

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

    rule: Literal["adam", "sgd", "rmsprop", "lion", "muon"] = Field(
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
    weight_decay: float = Field(default=1.0, ge=0, description="decoupled weight decay, on every trained tensor")
    decay_roles: tuple[Role, ...] = Field(default=ROLES, min_length=1, description="roles whose tensors decay")
    decay_to_init: bool = Field(default=False, description="decay towards the weights of step 0; off: towards zero")

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


class Penalties(Section):
    """Terms added to the loss: for each registered penalty a coefficient under its own name, and what they refer to."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, Annotated[float, Field(ge=0)]]  # pyright: ignore[reportIncompatibleVariableOverride]

    target_radius: float | None = Field(default=None, gt=0, description="norm that target_norm aims at")
    repel_from: str | None = Field(
        default=None, pattern=CHECKPOINT, description="checkpoint RUN_FOLDER@STEP that repulsion leaves; none: step 0"
    )
    repel_bound: float = Field(default=1.0, gt=0, description="distance beyond which repulsion fades")

    @property
    def coefficients(self) -> dict[str, float]:
        """The coefficients that are not zero, by the penalty's name."""
        return dict(self.__pydantic_extra__ or {})

    @model_validator(mode="before")
    @classmethod
    def _registered(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        extra = [name for name in given if name not in cls.model_fields]
        for name in extra:
            if name not in PENALTIES:
                close = difflib.get_close_matches(name, [*PENALTIES, *cls.model_fields], n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise ValueError(f"unknown field {name!r}{hint}; a penalty of your own must be registered first")
        return {name: value for name, value in given.items() if name not in extra or value != 0}

    @model_validator(mode="after")
    def _used(self) -> "Penalties":
        on = self.coefficients
        if ("target_norm" in on) != (self.target_radius is not None):
            raise ValueError("target_norm and target_radius belong together: a coefficient, and the norm to aim at")
        if "repulsion" not in on and (self.repel_from is not None or self.repel_bound != 1.0):
            raise ValueError("repel_from and repel_bound need a coefficient: repulsion")
        return self


def coefficient(name: str) -> FieldInfo:
    """The field of a registered penalty's coefficient."""
    found = PENALTIES[name]
    return FieldInfo(annotation=float, default=0.0, description=f"coefficient of {name}, {found.formula}")


class GradientTransforms(Section):
    """What is done to the gradient before the optimizer sees it, in this order."""

    grokfast_ema: float = Field(default=0.0, ge=0, description="Grokfast: add this times the gradient's moving average")
    grokfast_decay: float = Field(default=0.98, ge=0, lt=1, description="decay of that average")
    grokfast_ma: float = Field(default=0.0, ge=0, description="Grokfast-MA: add this times the mean gradient")
    grokfast_window: int = Field(default=100, ge=1, description="steps that Grokfast-MA takes the mean of")
    orthograd: Literal["off", "tensor", "global"] = Field(
        default="off", description="drop the gradient's part along the weights, tensor by tensor or of all as one"
    )
    orthograd_rescale: bool = Field(default=True, description="OrthoGrad gives what is left the length it had")

    @model_validator(mode="after")
    def _used(self) -> "GradientTransforms":
        if self.orthograd == "off" and not self.orthograd_rescale:
            raise ValueError("orthograd_rescale needs orthograd = tensor or global")
        return self


class NormConstraint(Section):
    """Motion on a sphere (constant norm) or along a ray (constant direction), caps, and a single rescaling."""

    fixed_norm: bool = Field(default=False, description="hold the weight norm constant")
    norm_grain: Literal["global", "tensor", "neuron"] = Field(
        default="global", description="one norm, one per tensor, or one per neuron's incoming weights"
    )
    norm_radius: float | None = Field(default=None, gt=0, description="radius to hold; none: the one found")
    norm_from_step: int = Field(default=0, ge=0, description="step from which the norm is held")
    norm_factor: float = Field(default=1.0, gt=0, description="hold this times the norm found")
    norm_motion: Literal["rescale", "geodesic"] = Field(
        default="rescale",
        description="rescale after the step, or move along the great circle of the step's tangential part",
    )
    norm_transport: bool = Field(default=False, description="geodesic: carry the optimizer's first moment along")
    fixed_direction: bool = Field(default=False, description="hold the direction: only the norm may change")
    direction_from_step: int = Field(default=0, ge=0, description="step from which the direction is held")
    hold_from_train_acc: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="hold norm or direction from the step after training accuracy has reached this",
    )
    norm_cap: float | None = Field(
        default=None, gt=0, description="keep norms (by norm_grain) below this times those of step 0"
    )
    rescale_factor: float = Field(default=1.0, gt=0, description="multiply the weights by this, once")
    rescale_at_step: int = Field(default=0, ge=0, description="step of that single rescaling")

    @model_validator(mode="after")
    def _used(self) -> "NormConstraint":
        if self.fixed_norm and self.fixed_direction:
            raise ValueError("fixed_norm and fixed_direction together leave no motion: choose one")
        of_norm = ("norm_radius", "norm_from_step", "norm_factor", "norm_motion", "norm_transport")
        if not self.fixed_norm and any(getattr(self, n) != type(self).model_fields[n].default for n in of_norm):
            raise ValueError(f"{', '.join(of_norm)} need fixed_norm = true")
        if self.norm_grain != "global" and not self.fixed_norm and self.norm_cap is None:
            raise ValueError("norm_grain needs a norm to hold: fixed_norm = true or a norm_cap")
        if self.norm_radius is not None and self.norm_factor != 1:
            raise ValueError("norm_radius is the radius itself: norm_factor multiplies one that is found")
        if self.norm_transport and self.norm_motion != "geodesic":
            raise ValueError("norm_transport needs norm_motion = geodesic: it carries the moment along a great circle")
        if self.direction_from_step and not self.fixed_direction:
            raise ValueError("direction_from_step needs fixed_direction = true")
        if self.hold_from_train_acc is not None:
            if not (self.fixed_norm or self.fixed_direction):
                raise ValueError("hold_from_train_acc needs something to hold: fixed_norm or fixed_direction")
            if self.norm_from_step or self.direction_from_step:
                raise ValueError("hold_from_train_acc is the event that begins the hold: leave its step at 0")
        if self.rescale_at_step and self.rescale_factor == 1:
            raise ValueError("rescale_at_step needs a rescale_factor other than 1")
        return self


class Noise(Section):
    """Noise of each step, drawn from noise_seed and the step's number alone."""

    weight_noise: float = Field(default=0.0, ge=0, description="loss and gradient are taken at weights plus noise")
    walk_noise: float = Field(default=0.0, ge=0, description="noise that is added to the weights after the step")
    gradient_noise: float = Field(default=0.0, ge=0, description="noise that is added to the gradient")
    noise_tangential: bool = Field(default=False, description="of that noise, only the part across the weights")
    label_noise: float = Field(default=0.0, ge=0, le=1, description="share of training labels redrawn at each step")
    dropout_embed: float = Field(default=0.0, ge=0, lt=1, description="dropout rate of the embedded inputs")
    dropout_attention: float = Field(default=0.0, ge=0, lt=1, description="dropout rate of attention patterns")
    dropout_mlp: float = Field(default=0.0, ge=0, lt=1, description="dropout rate of the neurons")
    noise_seed: int = Field(default=0, ge=0, lt=2**63, description="seed of all noise")

    @property
    def moves_weights(self) -> bool:
        """Whether there is noise on weights or gradients, which can be tangential."""
        return any((self.weight_noise, self.walk_noise, self.gradient_noise))

    @property
    def drops(self) -> bool:
        """Whether there is dropout anywhere."""
        return any((self.dropout_embed, self.dropout_attention, self.dropout_mlp))

    @model_validator(mode="after")
    def _used(self) -> "Noise":
        if self.noise_tangential and not self.moves_weights:
            raise ValueError("noise_tangential needs weight_noise, walk_noise or gradient_noise")
        return self


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
    """Number format of the weights; that of the loss is the objective's."""

    precision: Literal["float32", "float64"] = Field(default="float32", description="format of the weights")


# Fields that came after runs had been written: at their defaults they leave a config's hash what it was.
LATER = frozenset(
    [
        *"start start_moments fixed_direction direction_from_step equals own_tokens causal attention_rate".split(),
        *"operation corrupted label_seed rule lr_rest momentum decay_roles decay_to_init norm_factor".split(),
        *"norm_motion norm_transport hold_from_train_acc norm_cap rescale_factor rescale_at_step keep_moments".split(),
        *(n for part in (Objective, Penalties, GradientTransforms, Noise) for n in part.model_fields),
    ]
)
# Numbers of objects that act on a stack as one: a run with the number at its default is of another stack.
ON_OR_OFF = frozenset(
    "temperature grokfast_ema grokfast_ma weight_noise walk_noise gradient_noise label_noise norm_cap".split()
)
# Numbers that runs of one stack may differ in as they like.
FREE = frozenset(
    [
        *"weight_decay decay_roles decay_to_init target_radius repel_from repel_bound".split(),
        *"grokfast_decay orthograd_rescale noise_tangential noise_seed".split(),
        *"fixed_norm norm_radius norm_from_step norm_factor direction_from_step hold_from_train_acc".split(),
        *"rescale_factor rescale_at_step".split(),
    ]
)
