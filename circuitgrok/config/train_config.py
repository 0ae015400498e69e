"""One config, one run: a frozen, validated description that is its own file format.

Every leaf field has a name of its own, so that it can be set without its path: in Python by
`config.with_(alpha=0.8, steps=5000)`, on the command line by `--alpha 0.8 --steps 5000`, in a grid by
`--alpha 0.5 1 2`. (`p` is a leaf of the task and of the model and is always set in both.) `task` and `model`
are chosen by their kind, `config.with_(model="dense", depth=3)`; fields of equal name keep their values, and
what follows from the task (p, n_in, n_out) follows. What is done beside plain training are `interventions`, an object
each: `config.with_(grokfast_ema=2.0)` brings one, `with_(grokfast_ema=0)` takes it away, and a leaf of one that is not
there is refused. The hash of a run is taken of its config's leaves (`upgrade`).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field, SerializeAsAny, ValidationError, field_validator, model_validator

from circuitgrok.canonical import canonical_json
from circuitgrok.config.bounds import refuse_bombs
from circuitgrok.config.explain import explain
from circuitgrok.config.leaves import KINDS, LEAVES, AnyTask, hash_of, leaf_fields, leaf_paths, unknown
from circuitgrok.config.objects import changed as changed_objects
from circuitgrok.config.objects import intervention_leaves, of_kinds
from circuitgrok.config.sections import Init, Noise, Numerics, Objective, Optimizer, Schedule
from circuitgrok.config.upgrade import is_old, upgrade
from circuitgrok.errors import UserError, nearest
from circuitgrok.interventions.base import KINDS as INTERVENTIONS
from circuitgrok.interventions.base import PER_RUN, Intervention, Section
from circuitgrok.interventions.logits import Temperature
from circuitgrok.models.dense import DenseMLP
from circuitgrok.models.kinds import AnyModel, transformer_of
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.modular import ModularAddition
from circuitgrok.tasks.teacher_student import TeacherStudent

if TYPE_CHECKING:
    from typing import Unpack

    from circuitgrok.config.leaf_types import Leaves

Kind = TypeVar("Kind", bound=Intervention)


class TrainConfig(Section):
    """Everything that decides the bits of one run.

    Example:
        >>> config = TrainConfig.preset("quickstart").with_(alpha=0.8, fixed_norm=True, steps=2000)
        >>> config.init.alpha, config.schedule.steps, config.interventions[0].kind
        (0.8, 2000, 'fixed_norm')
    """

    task: Annotated[AnyTask, Field(discriminator="kind")] = Field(default_factory=ModularAddition)
    model: Annotated[AnyModel, Field(discriminator="kind")] = Field(default_factory=Transformer)
    init: Init = Field(default_factory=Init)
    objective: Objective = Field(default_factory=Objective)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    interventions: tuple[SerializeAsAny[Intervention], ...] = ()
    noise: Noise = Field(default_factory=Noise)
    schedule: Schedule = Field(default_factory=Schedule)
    numerics: Numerics = Field(default_factory=Numerics)

    @model_validator(mode="before")
    @classmethod
    def _of_today(cls, given: Any) -> Any:
        return upgrade(given) if isinstance(given, dict) and is_old(given) else given

    @field_validator("interventions", mode="before")
    @classmethod
    def _one_of_each_kind(cls, given: Any) -> Any:
        return of_kinds(given)

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
        if not model.has_heads and self.init.alpha_attention != 1:
            raise ValueError(f"alpha_attention needs attention, which a {model.kind} has not")
        if not model.has_embedding and self.init.alpha_embed != 1:
            raise ValueError(f"alpha_embed needs an embedding, which a {model.kind} has not")
        if isinstance(task, TeacherStudent) and self.objective.loss != "mse":
            raise ValueError(f"{task.formula} are real numbers: loss must be mse; got {self.objective.loss!r}")
        return self

    @model_validator(mode="after")
    def _interventions_fit(self) -> "TrainConfig":
        for one in self.interventions:
            one.check(self)
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

    def with_(self, **leaves: "Unpack[Leaves]") -> "TrainConfig":
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
                raise UserError(unknown(name, paths))
            for section in paths.get(name, ()):
                changed[section][name] = value
        changed["interventions"] = changed_objects(self.interventions, leaves)
        try:
            _follow(changed, kinds, leaves)
            return type(self).model_validate(changed)
        except ValidationError as error:
            raise UserError("; ".join(explain(error, LEAVES))) from None

    def __repr__(self) -> str:
        """The code that makes it: what differs from the defaults of its kinds of task and model.

        >>> TrainConfig().with_(alpha=0.5, fixed_norm=True, model="quadratic_mlp", norm_radius=3)
        TrainConfig().with_(model='quadratic_mlp', alpha=0.5, fixed_norm=True, norm_radius=3.0)
        """
        plain = type(self)()
        kinds = {s: kind for s in KINDS if (kind := getattr(self, s).kind) != getattr(plain, s).kind}
        try:
            usual = plain.with_(**kinds).leaves()
        except UserError:  # these kinds need more than their names
            usual = {}
        given = {name: value for name, value in self.leaves().items() if usual.get(name, KINDS) != value}
        said = ", ".join(f"{name}={value!r}" for name, value in (kinds | given).items())
        return f"TrainConfig().with_({said})" if said else "TrainConfig()"

    def intervention(self, kind: type[Kind]) -> Kind | None:
        """The intervention of a kind, if it is at work.

        >>> from circuitgrok.interventions.fixed_norm import FixedNorm
        >>> TrainConfig().with_(norm_radius=30.0, fixed_norm=True).intervention(FixedNorm).norm_radius
        30.0
        """
        return next((one for one in self.interventions if isinstance(one, kind)), None)

    @property
    def temperature(self) -> float:
        """What logits are divided by before the loss sees them."""
        one = self.intervention(Temperature)
        return one.temperature if one else 1.0

    @property
    def kinds(self) -> dict[str, Intervention]:
        """The interventions at work, by kind."""
        return {one.kind: one for one in self.interventions}

    def leaves(self) -> dict[str, Any]:
        """All leaf fields by their own names; of interventions that are not at work with the values of that."""
        found: dict[str, Any] = {}
        for section, name, field in leaf_fields({section: type(getattr(self, section)) for section in KINDS}):
            found[name] = getattr(getattr(self, section, None), name, field.default)
        for one in self.interventions:
            found |= {one.kind: one.switch} | {name: getattr(one, name) for name in type(one).model_fields}
        return found

    def differences(self, other: "TrainConfig") -> dict[str, tuple[Any, Any]]:
        """Leaf fields whose values differ, and kinds of task and model: name -> (here, there)."""
        here, there = (c.leaves() | {section: getattr(c, section).kind for section in KINDS} for c in (self, other))
        names = dict.fromkeys([*here, *there])
        return {n: (here.get(n), there.get(n)) for n in names if here.get(n) != there.get(n)}

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON of its leaves by section, as `upgrade` says."""
        content, leaves = self.model_dump(mode="json", exclude={"interventions"}), self.leaves()
        for section, name, _ in intervention_leaves():
            content.setdefault(section, {})[name] = leaves[name]
        return hash_of(content)

    @property
    def name(self) -> str:
        """A folder name that says the most varied fields, and the hash."""
        held = "".join(one.mark for one in self.interventions)
        what = f"p{self.task.p}" if isinstance(self.task, ModularAddition) else self.task.kind
        return f"{what}-{self.init.scheme}-a{self.init.alpha:g}{held}-s{self.init.seed}-{self.hash[:8]}"

    @property
    def stack_key(self) -> str:
        """Runs with equal keys can train as one stack: equal shapes, rules and schedule, and the same objects at work.

        They may differ in alpha, start, seeds and in all that is marked `PER_RUN`, and in having kinds of intervention
        that may be `absent`.
        """
        common: dict[str, Any] = {"model": self.model.model_dump(mode="json")}
        for section, part in self:
            if section not in ("task", "init", "model", "interventions"):
                common[section] = _shared(part, type(part))
        for kind, cls in INTERVENTIONS.items():
            if cls.absent or kind in self.kinds:
                common[kind] = _shared(self.kinds.get(kind), cls)
        clock = self.init.start.rsplit("@", 1)[1] if self.init.start and self.init.start_moments else None
        task = [self.task.kind, self.task.n_train, self.task.n_pairs, getattr(self.task, "tolerance", None)]
        return canonical_json([common, task, clock])


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


def _shared(part: Any, cls: Any) -> dict[str, Any]:
    """The fields that all runs of a stack have in common; their defaults where a run has not the part."""
    fields = {name: field for name, field in cls.model_fields.items() if PER_RUN not in field.metadata}
    return {name: getattr(part, name, field.default) for name, field in fields.items()}
