"""One config, one run: a frozen, validated description that is its own file format.

Every leaf field has a name of its own, so that it can be set without its path: in Python by
`config.with_(alpha=0.8, steps=5000)`, on the command line by `--alpha 0.8 --steps 5000`, in a grid by
`--alpha 0.5 1 2`. (`p` is a leaf of the task and of the model and is always set in both.) `task` and `model`
are chosen by their kind, `config.with_(model="dense", depth=3)`; fields of equal name keep their values, and
what follows from the task (p, n_in, n_out) follows. The canonical JSON of a config gives the run's hash.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args

from pydantic import Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from circuitgrok.canonical import canonical_json
from circuitgrok.config.bounds import refuse_bombs
from circuitgrok.config.sections import (
    CHECKPOINT,
    FREE,
    LATER,
    ON_OR_OFF,
    GradientTransforms,
    Init,
    Noise,
    NormConstraint,
    Numerics,
    Objective,
    Optimizer,
    Penalties,
    Schedule,
    Section,
    coefficient,
)
from circuitgrok.errors import UserError, nearest
from circuitgrok.interventions.penalties import PENALTIES
from circuitgrok.models.dense import DenseMLP
from circuitgrok.models.kinds import AnyModel, transformer_of
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.composition import Composition
from circuitgrok.tasks.images import Digits, Mnist
from circuitgrok.tasks.modular import ModularAddition
from circuitgrok.tasks.parity import SparseParity
from circuitgrok.tasks.teacher_student import TeacherStudent

AnyTask = ModularAddition | Composition | SparseParity | TeacherStudent | Digits | Mnist


class TrainConfig(Section):
    """Everything that decides the bits of one run."""

    task: Annotated[AnyTask, Field(discriminator="kind")] = Field(default_factory=ModularAddition)
    model: Annotated[AnyModel, Field(discriminator="kind")] = Field(default_factory=Transformer)
    init: Init = Field(default_factory=Init)
    objective: Objective = Field(default_factory=Objective)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    penalties: Penalties = Field(default_factory=Penalties)  # pyright: ignore
    transforms: GradientTransforms = Field(default_factory=GradientTransforms)
    constraint: NormConstraint = Field(default_factory=NormConstraint)
    noise: Noise = Field(default_factory=Noise)
    schedule: Schedule = Field(default_factory=Schedule)
    numerics: Numerics = Field(default_factory=Numerics)

    @model_validator(mode="after")
    def _model_fits_task(self) -> "TrainConfig":
        task, model = self.task, self.model
        if isinstance(model, DenseMLP):
            found = {name: (getattr(model, name), size) for name, size in _sizes(task).items()}
            wrong = ", ".join(f"{name} = {here}, not {size}" for name, (here, size) in found.items() if here != size)
            if wrong:
                raise ValueError(f"the network's inputs and outputs must be the task's ({task.formula}): {wrong}")
        elif task.p is None:
            raise ValueError(f"a {model.kind} reads two tokens, and {task.formula} has none: choose model = dense")
        elif task.p != model.p:
            raise ValueError(f"p must be one number; got task.p = {task.p} and model.p = {model.p}")
        if self.init.scheme not in model.schemes:
            known = ", ".join(model.schemes)
            raise ValueError(f"scheme of a {model.kind} must be one of {known}; got {self.init.scheme!r}")
        if not model.has_heads and (self.noise.dropout_attention or self.init.alpha_attention != 1):
            raise ValueError(f"dropout_attention and alpha_attention need attention, which a {model.kind} has not")
        if not model.has_embedding and (self.noise.dropout_embed or self.init.alpha_embed != 1):
            raise ValueError(f"dropout_embed and alpha_embed need an embedding, which a {model.kind} has not")
        if isinstance(task, TeacherStudent):
            if self.objective.loss != "mse":
                raise ValueError(f"{task.formula} are real numbers: loss must be mse; got {self.objective.loss!r}")
            if self.noise.label_noise:
                raise ValueError(f"label_noise redraws classes, and {task.formula} has none")
        return self

    @model_validator(mode="after")
    def _interventions_fit(self) -> "TrainConfig":
        held, steps = self.constraint, self.schedule.steps
        begins = {
            "direction_from_step": held.fixed_direction,
            "norm_from_step": held.fixed_norm,
            "rescale_at_step": held.rescale_factor != 1,
        }
        for name, used in begins.items():
            if used and getattr(held, name) >= steps:
                raise ValueError(f"{name} must lie before the last step; got {getattr(held, name)} of {steps} steps")
        if held.fixed_norm and held.rescale_factor != 1 and held.rescale_at_step >= held.norm_from_step:
            raise ValueError(
                f"a norm that is held from step {held.norm_from_step} undoes a rescaling at step "
                f"{held.rescale_at_step}: rescale before, or hold norm_factor times the norm found"
            )
        if held.fixed_norm and "target_norm" in self.penalties.coefficients:
            raise ValueError("fixed_norm and target_norm contradict each other: a norm that is held cannot be pulled")
        if held.norm_transport and not self.optimizer.has_moment:
            raise ValueError(
                f"norm_transport needs a rule with one first moment (adam, lion, sgd with momentum): "
                f"{self.optimizer.rule} with momentum {self.optimizer.momentum:g} has none to carry"
            )
        return self

    @model_validator(mode="after")
    def _machine_is_spared(self) -> "TrainConfig":
        refuse_bombs(self)
        return self

    @classmethod
    def preset(cls, name: str) -> "TrainConfig":
        """A named config.

        Raises:
            UserError: Unknown name; the message gives the nearest and lists all.
        """
        from circuitgrok.config.presets import leaves_of

        return cls().with_(**leaves_of(name))

    @property
    def transformer(self) -> Transformer:
        """The model, if it is a transformer.

        Raises:
            UserError: It is none.
        """
        return transformer_of(self.model)

    @property
    def modular(self) -> ModularAddition:
        """The task, if it is an operation modulo p.

        Raises:
            UserError: It is none.
        """
        if not isinstance(self.task, ModularAddition):
            raise UserError(f"this needs numbers modulo p; the task is {self.task.formula}")
        return self.task

    def with_(self, **leaves: Any) -> "TrainConfig":
        """A validated copy with leaf fields changed, each by its own name; `task` and `model` by their kinds.

        Raises:
            UserError: Unknown field (with the nearest name), or a value out of its range.

        Example:
            >>> TrainConfig().with_(p=59, alpha=0.8, d_vocab_out="p").model.n_classes
            59
            >>> TrainConfig().with_(model="dense", depth=3, p=7).model.n_in
            14
        """
        changed = self.model_dump()
        for section in KINDS:
            if section in leaves:
                changed[section] = _switched(section, leaves[section], changed[section])
        kinds = {section: KINDS[section][changed[section]["kind"]] for section in KINDS}
        paths = leaf_paths(kinds)
        for name, value in leaves.items():
            if name not in paths and name not in KINDS:
                raise UserError(_unknown(name, paths))
            for section in paths.get(name, ()):
                changed[section][name] = value
        try:
            _follow(changed, kinds, leaves)
            return type(self).model_validate(changed)
        except ValidationError as error:
            raise UserError("; ".join(explain(error))) from None

    def leaves(self) -> dict[str, Any]:
        """All leaf fields by their own names; penalties that are off are 0."""
        fields = leaf_fields(self)
        return {name: getattr(getattr(self, section), name, field.default) for section, name, field in fields}

    def differences(self, other: "TrainConfig") -> dict[str, tuple[Any, Any]]:
        """Leaf fields whose values differ, and kinds of task and model: name -> (here, there)."""
        here, there = (c.leaves() | {section: getattr(c, section).kind for section in KINDS} for c in (self, other))
        names = dict.fromkeys([*here, *there])
        return {n: (here.get(n), there.get(n)) for n in names if here.get(n) != there.get(n)}

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON, without `LATER` fields at their defaults."""
        content = self.model_dump(mode="json")
        for section, name, field in leaf_fields(self):
            if name in LATER and getattr(getattr(self, section), name) == field.default:
                del content[section][name]
        content = {section: leaves for section, leaves in content.items() if leaves}
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """A folder name that says the most varied fields, and the hash."""
        held = "-sphere" if self.constraint.fixed_norm else "-ray" if self.constraint.fixed_direction else ""
        what = f"p{self.task.p}" if isinstance(self.task, ModularAddition) else self.task.kind
        return f"{what}-{self.init.scheme}-a{self.init.alpha:g}{held}-s{self.init.seed}-{self.hash[:8]}"

    @property
    def stack_key(self) -> str:
        """Runs with equal keys can train as one stack: equal shapes, rules and schedule, and the same objects at work.

        They may differ in alpha, start, seeds, in what `FREE` names, and in the size of what `ON_OR_OFF` names and of
        penalties.
        """
        content = self.model_dump(mode="json", exclude={"task", "init"})
        for section, name, field in leaf_fields(self):
            if section in content and name in FREE:
                del content[section][name]
            elif name in ON_OR_OFF:
                content[section][name] = getattr(getattr(self, section), name) != field.default
        content["penalties"] = sorted(self.penalties.coefficients)
        clock = self.init.start.rsplit("@", 1)[1] if self.init.start and self.init.start_moments else None
        task = [self.task.kind, self.task.n_train, self.task.n_pairs, getattr(self.task, "tolerance", None)]
        return canonical_json([content, task, clock])


KINDS: dict[str, dict[str, Any]] = {
    section: {kind.model_fields["kind"].default: kind for kind in get_args(union)}
    for section, union in (("task", AnyTask), ("model", AnyModel))
}


def leaf_fields(config: TrainConfig | None = None) -> Iterator[tuple[str, str, FieldInfo]]:
    """(section, leaf name, pydantic field) of every leaf of a config, in order; `kind` tags are not leaves."""
    for section, outer in TrainConfig.model_fields.items():
        part: Any = type(getattr(config, section)) if config else outer.default_factory
        yield from ((section, name, field) for name, field in part.model_fields.items() if name != "kind")
        if section == "penalties":
            yield from ((section, name, coefficient(name)) for name in PENALTIES)


def leaf_paths(kinds: Mapping[str, Any]) -> dict[str, list[str]]:
    """Leaf field -> the sections it stands in, with the classes of task and model in `kinds`."""
    paths: dict[str, list[str]] = {}
    for section, name, _ in leaf_fields():
        if section not in kinds:
            paths.setdefault(name, []).append(section)
    for section, kind in kinds.items():
        for name in kind.model_fields:
            if name != "kind":
                paths.setdefault(name, []).append(section)
    return paths


LEAVES = leaf_paths({"task": ModularAddition, "model": Transformer})  # of the default kinds


def _switched(section: str, kind: Any, before: dict[str, Any]) -> dict[str, Any]:
    """A section of another kind: fields of equal name keep their values, others are at their defaults."""
    kinds = KINDS[section]
    if kind not in kinds:
        raise UserError(f"{section} must be one of {', '.join(kinds)}{nearest(str(kind), kinds)}; got {kind!r}")
    return {name: value for name, value in before.items() if name in kinds[kind].model_fields} | {"kind": kind}


def _follow(changed: dict[str, Any], kinds: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Set what follows from the kinds and the task, unless it was given: the network's sizes, its first base init."""
    task, model = kinds["task"].model_validate(changed["task"]), kinds["model"]
    sizes = _sizes(task) if model is DenseMLP else {"p": task.p} if task.p is not None else {}
    changed["model"] |= {name: size for name, size in sizes.items() if name not in given}
    if "scheme" not in given and changed["init"]["scheme"] not in model.schemes:
        changed["init"]["scheme"] = model.schemes[0]


def _sizes(task: Any) -> dict[str, int]:
    """Inputs and outputs of a dense network on a task; two tokens are two one-hot vectors."""
    return {"n_in": task.n_features or 2 * task.p, "n_out": task.n_classes}


def kinds_with(name: str) -> list[str]:
    """The kinds of task and model that have a leaf of this name.

    >>> kinds_with("attention_rate"), kinds_with("depth")
    (['transformer'], ['embedding_mlp', 'dense'])
    """
    named = [kind for kinds in KINDS.values() for kind, part in kinds.items() if name in part.model_fields]
    return [] if name == "kind" else named


def _unknown(name: str, paths: Mapping[str, Any]) -> str:
    if elsewhere := kinds_with(name):
        return f"field {name!r} belongs to {' and '.join(elsewhere)}, not to the kinds of task and model chosen here"
    return f"unknown field {name!r}{nearest(name, [*paths, *KINDS])}"


def explain(error: ValidationError) -> list[str]:
    """One line per fault of a refused config: the field, the rule, what was got."""
    lines = []
    for fault in error.errors():
        tags = {*TrainConfig.model_fields, *(kind for kinds in KINDS.values() for kind in kinds)}
        names = [str(part) for part in fault["loc"] if part not in tags]
        rule = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            lines.append(f"unknown field {names[-1]!r}{nearest(names[-1], LEAVES)}")
        elif fault["type"] == "value_error":
            lines.append(rule)
        elif fault["type"] == "string_pattern_mismatch" and fault.get("ctx", {}).get("pattern") == CHECKPOINT:
            form = "RUN_FOLDER@STEP, such as checkpoints/quickstart@4000"
            lines.append(f"{'.'.join(names)}: must be {form}; got {fault['input']!r}")
        else:
            rule = rule[0].lower() + rule[1:]
            lines.append(f"{'.'.join(names)}: {rule.replace('input should', 'must')}; got {fault['input']!r}")
    return list(dict.fromkeys(lines))
