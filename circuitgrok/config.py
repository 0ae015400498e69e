"""One config, one run: a frozen, validated description that is its own file format.

Every leaf field has a name of its own, so that it can be set without its path: in Python by
`config.with_(alpha=0.8, steps=5000)`, on the command line by `--alpha 0.8 --steps 5000`, in a grid by
`--alpha 0.5 1 2`. (`p` is a leaf of the task and of the model and is always set in both.) The
canonical JSON of a config gives the run's hash.
"""

import difflib
import hashlib
import math
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from circuitgrok.files import canonical_json
from circuitgrok.models.transformer import Scheme, Transformer
from circuitgrok.tasks.modular import ModularAddition
from circuitgrok.tree import Role


class Section(BaseModel):
    """A frozen part of a config that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Init(Section):
    """The weights at step 0: a named base init, times alpha, times a factor for each role."""

    scheme: Scheme = Field(default="nanda", description="base init that alpha multiplies")
    alpha: float = Field(default=1.0, gt=0, description="multiplier of all initial weights")
    alpha_embed: float = Field(default=1.0, gt=0, description="further multiplier of W_E and W_pos")
    alpha_attention: float = Field(default=1.0, gt=0, description="further multiplier of W_Q, W_K, W_V, W_O")
    alpha_mlp: float = Field(default=1.0, gt=0, description="further multiplier of W_in, W_out")
    alpha_unembed: float = Field(default=1.0, gt=0, description="further multiplier of W_U")
    seed: int = Field(default=0, ge=0, lt=2**63, description="seed of the initial weights")
    start: str | None = Field(
        default=None,
        pattern=r".+@\d+$",
        description="start from a checkpoint, RUN_FOLDER@STEP, times the alphas; without its optimizer's state",
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


class Optimizer(Section):
    """AdamW on the full batch. Decay is decoupled: weights shrink by lr * weight_decay at each step."""

    lr: float = Field(default=1e-3, gt=0, description="learning rate after warm-up")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="Adam's decay of the first moment")
    beta2: float = Field(default=0.98, ge=0, lt=1, description="Adam's decay of the second moment")
    eps: float = Field(default=1e-8, gt=0, description="Adam's epsilon")
    warmup: int = Field(default=10, ge=0, description="steps of linear warm-up, min(step / warmup, 1); first rate 0")
    weight_decay: float = Field(default=1.0, ge=0, description="decoupled weight decay, on every trained tensor")

    def rate(self, step: int) -> float:
        """Learning rate of the update that leads from `step` to `step + 1`."""
        return self.lr * min(step / self.warmup, 1.0) if self.warmup else self.lr


class NormConstraint(Section):
    """Motion on a sphere (constant norm, globally or tensor by tensor) or along a ray (constant direction)."""

    fixed_norm: bool = Field(default=False, description="hold the weight norm constant")
    norm_grain: Literal["global", "tensor"] = Field(default="global", description="one norm, or one per tensor")
    norm_radius: float | None = Field(default=None, gt=0, description="radius to hold; none: the one found")
    norm_from_step: int = Field(default=0, ge=0, description="step from which the norm is held")
    fixed_direction: bool = Field(default=False, description="hold the direction: only the norm may change")
    direction_from_step: int = Field(default=0, ge=0, description="step from which the direction is held")


class Schedule(Section):
    """How long to train, when to evaluate, which checkpoints to keep."""

    steps: int = Field(default=40_000, ge=1, description="optimizer steps")
    eval_every: int = Field(default=20, ge=1, description="steps between evaluations (lines of the history)")
    checkpoint_every: int = Field(default=200, ge=1, description="steps between checkpoints, after the early ones")
    checkpoints_per_decade: int = Field(default=12, ge=0, description="early checkpoints, log-spaced, per factor 10")
    checkpoint_on_move: float = Field(
        default=0.5,
        gt=0,
        description="extra checkpoint when test loss moved by this factor's logarithm (nats)",
    )

    def checkpoint_steps(self) -> frozenset[int]:
        """Steps that get a checkpoint whatever happens: first, last, log-spaced early, linear later.

        >>> sorted(Schedule(steps=30, checkpoint_every=10, checkpoints_per_decade=3).checkpoint_steps())
        [0, 1, 2, 5, 10, 20, 22, 30]
        """
        linear = range(0, self.steps + 1, self.checkpoint_every)
        decades = math.log10(min(self.steps, self.checkpoint_every * max(self.checkpoints_per_decade, 1)))
        count = int(decades * self.checkpoints_per_decade)
        early = (round(10 ** (i / max(self.checkpoints_per_decade, 1))) for i in range(count + 1))
        early = early if self.checkpoints_per_decade else ()
        return frozenset({0, self.steps, *linear, *(step for step in early if step <= self.steps)})


class Numerics(Section):
    """Number formats. Losses are always taken in float64."""

    precision: Literal["float32", "float64"] = Field(default="float32", description="format of the weights")


class TrainConfig(Section):
    """Everything that decides the bits of one run."""

    task: ModularAddition = Field(default_factory=ModularAddition)
    model: Transformer = Field(default_factory=Transformer)
    init: Init = Field(default_factory=Init)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    constraint: NormConstraint = Field(default_factory=NormConstraint)
    schedule: Schedule = Field(default_factory=Schedule)
    numerics: Numerics = Field(default_factory=Numerics)

    @model_validator(mode="after")
    def _one_p(self) -> "TrainConfig":
        if self.task.p != self.model.p:
            raise ValueError(f"p must be one number; got task.p = {self.task.p} and model.p = {self.model.p}")
        return self

    @model_validator(mode="after")
    def _constraint_begins(self) -> "TrainConfig":
        held = self.constraint
        if held.fixed_norm and held.fixed_direction:
            raise ValueError("fixed_norm and fixed_direction together leave no motion: choose one")
        if held.fixed_direction and held.direction_from_step >= self.schedule.steps:
            raise ValueError(
                f"direction_from_step must lie before the last step; got {held.direction_from_step} of "
                f"{self.schedule.steps} steps"
            )
        if held.fixed_norm and held.norm_from_step >= self.schedule.steps:
            raise ValueError(
                f"norm_from_step must lie before the last step; got {held.norm_from_step} of "
                f"{self.schedule.steps} steps"
            )
        of_norm = held.model_copy(update={"fixed_direction": False, "direction_from_step": 0})
        if not held.fixed_norm and of_norm != NormConstraint():
            raise ValueError("norm_grain, norm_radius and norm_from_step need fixed_norm = true")
        if held.direction_from_step and not held.fixed_direction:
            raise ValueError("direction_from_step needs fixed_direction = true")
        return self

    @classmethod
    def preset(cls, name: str) -> "TrainConfig":
        """A named config.

        Raises:
            ValueError: Unknown name; the message gives the nearest and lists all.
        """
        from circuitgrok.presets import PRESETS

        if name not in PRESETS:
            raise ValueError(f"unknown preset {name!r}{_nearest(name, PRESETS)}; there are {', '.join(PRESETS)}")
        return cls().with_(**PRESETS[name])

    def with_(self, **leaves: Any) -> "TrainConfig":
        """A validated copy with leaf fields changed, each by its own name.

        Raises:
            ValueError: Unknown field (with the nearest name), or a value out of its range.

        Example:
            >>> TrainConfig().with_(p=59, alpha=0.8, d_vocab_out="p").model.n_classes
            59
        """
        changed = self.model_dump()
        for name, value in leaves.items():
            paths = LEAVES.get(name)
            if not paths:
                raise ValueError(f"unknown field {name!r}{_nearest(name, LEAVES)}")
            for section in paths:
                changed[section][name] = value
        try:
            return type(self).model_validate(changed)
        except ValidationError as error:
            raise ValueError("; ".join(explain(error))) from None

    def leaves(self) -> dict[str, Any]:
        """All leaf fields by their own names."""
        return {name: getattr(getattr(self, paths[0]), name) for name, paths in LEAVES.items()}

    def differences(self, other: "TrainConfig") -> dict[str, tuple[Any, Any]]:
        """Leaf fields whose values differ: name -> (here, there)."""
        theirs = other.leaves()
        return {name: (mine, theirs[name]) for name, mine in self.leaves().items() if mine != theirs[name]}

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON, without `LATER` fields at their defaults."""
        content = self.model_dump(mode="json")
        for section, name, field in leaf_fields():
            if name in LATER and content[section][name] == field.default:
                del content[section][name]
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """A folder name that says the most varied fields, and the hash."""
        held = "-sphere" if self.constraint.fixed_norm else "-ray" if self.constraint.fixed_direction else ""
        return f"p{self.task.p}-{self.init.scheme}-a{self.init.alpha:g}{held}-s{self.init.seed}-{self.hash[:8]}"

    @property
    def stack_key(self) -> str:
        """Runs with equal keys can train as one stack: equal shapes, optimizer settings and schedule.

        They may differ in alpha, start, seeds, weight decay, radius and from which step the norm is held.
        """
        optimizer = self.optimizer.model_dump(exclude={"weight_decay"})
        parts = [self.model, self.schedule, self.numerics]
        pairs = [self.task.n_train, self.task.n_pairs]
        held = [self.constraint.norm_grain, self.constraint.fixed_direction]
        return canonical_json([[p.model_dump(mode="json") for p in parts], optimizer, pairs, held])


def leaf_fields() -> Iterator[tuple[str, str, Any]]:
    """(section, leaf name, pydantic field) of every leaf, in order; `kind` tags are not leaves."""
    for section, outer in TrainConfig.model_fields.items():
        for name, field in outer.annotation.model_fields.items():  # pyright: ignore
            if name != "kind":
                yield section, name, field


# Fields that came after runs had been written: at their defaults they leave a config's hash what it was.
LATER = frozenset(
    "start fixed_direction direction_from_step equals own_tokens causal attention_rate "
    "operation corrupted label_seed".split()
)
LEAVES: dict[str, list[str]] = {}
for _section, _name, _ in leaf_fields():
    LEAVES.setdefault(_name, []).append(_section)


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def explain(error: ValidationError) -> list[str]:
    """One line per fault of a refused config: the field, the rule, what was got."""
    lines = []
    for fault in error.errors():
        names = [str(part) for part in fault["loc"] if part not in TrainConfig.model_fields]
        rule = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            lines.append(f"unknown field {names[-1]!r}{_nearest(names[-1], LEAVES)}")
        elif fault["type"] == "value_error":
            lines.append(rule)
        elif fault["type"] == "string_pattern_mismatch":
            form = "RUN_FOLDER@STEP, such as checkpoints/quickstart@4000"
            lines.append(f"{'.'.join(names)}: must be {form}; got {fault['input']!r}")
        else:
            rule = rule[0].lower() + rule[1:]
            lines.append(f"{'.'.join(names)}: {rule.replace('input should', 'must')}; got {fault['input']!r}")
    return list(dict.fromkeys(lines))
