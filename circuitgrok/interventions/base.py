"""Interventions: what a researcher varies, one frozen object each, which is at the same time its part of a config.

An object holds its fields for one run, each under a name of its own, which is also its flag on the command line. The
field that bears the name of the kind switches it on; a kind without one is there, or is not. A run's config has the
objects that are at work, and no field of any other.

What an object does is its `rule`, a function of the tensors of a stack of runs, which is given those of the object's
fields that it names. A field marked `PER_RUN` may differ between the runs of a stack: the rule gets it as a tensor
`[run]` (float64; bool as it is). Any other is the same for all, and comes as it is. Rules share no
arithmetic between runs, so that a run has the same bits in a stack as alone. What a rule makes lies on the device of
what it is given; what it draws, it draws on the CPU and moves, by `device.numbers`.

When in a step a rule acts, and what else it is given, is for its family to say:

    Batches             the pairs that a step sees        rule(seeds, n_pairs, step) -> places
    OnLabels            the labels that are taught        rule(labels, n_classes) -> labels
    OnForward           the weights that are looked at    rule(weights) -> weights
    OnLogits            before the loss                   rule(logits) -> logits
    Penalty             a term of the loss                rule(weights) -> [run]
    GradientTransform   between gradient and optimizer    rule(gradients, weights, state) -> state
    AfterStep           after the optimizer               rule(weights)
    Constraint          last                              rule(moved, weights, state) -> state

A new kind is a class, in any file or notebook; `kits.interventions.check_intervention` tries it.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import torch
from pydantic import BaseModel, ConfigDict, model_serializer, model_validator
from pydantic.fields import FieldInfo
from torch import Tensor

from circuitgrok.device import CPU
from circuitgrok.tree import Params

State = dict[str, Tensor]  # what a rule remembers between steps, every tensor [run ...]
PER_RUN = "a number per run"  # marks a field in which the runs of one stack may differ
NEVER = -1


class Section(BaseModel):
    """A frozen part of a config that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Said(str):
    """Marks a field that a run's summary mentions where it is not at its default; `{}` stands for its value."""


class Intervention(Section):
    """Something that is done to a run beside plain training.

    Attributes:
        kind: Its name, in files and in `KINDS`; in a class, not in an object.
        section: Where its fields stand in a config's hash and in `--help`.
        off: The value of the field named as the kind with which it is not there.
        said: How a summary says it; `{}` stands for the value of that field. By default its kind and that value.
        mark: What it adds to the name of a run's folder.
        absent: Whether runs without it may be in one stack with runs that have it.
        stream: What its random numbers are drawn for; None if it draws none. Its rule then gets `generators`.
        capturable: Whether its rule does the same operations on tensors at every step, with the same numbers of Python
            and no look at what a tensor holds; what it draws, it draws by `device.numbers`. Then a GPU may take its
            steps as one captured graph.
        source: A paper and its section, or who says so.
    """

    kind: ClassVar[str]
    section: ClassVar[str]
    off: ClassVar[Any] = 0.0
    said: ClassVar[str] = ""
    mark: ClassVar[str] = ""
    absent: ClassVar[bool] = False
    stream: ClassVar[str | None] = None
    capturable: ClassVar[bool] = False
    source: ClassVar[str] = ""
    rule: ClassVar[Callable[..., Any]]
    start: ClassVar[Callable[..., State]]  # what it remembers before the first step; of the families that remember

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if "kind" not in vars(cls):
            return  # a family
        there = KINDS.get(cls.kind)
        if there and (there.__module__, there.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(
                f"every kind of intervention has a name of its own; {cls.kind!r} is taken by {there.__module__}."
                f"{there.__qualname__}: rename yours, or KINDS.pop({cls.kind!r}) first to replace it"
            )
        KINDS[cls.kind] = cls

    @model_validator(mode="after")
    def _is_on(self) -> "Intervention":
        if self.switch == self.off:
            raise ValueError(f"{self.kind} = {self.off} is no {self.kind}: leave it out")
        return self

    @model_serializer(mode="wrap")
    def _with_kind(self, plain: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {"kind": self.kind, **plain(self)}

    @property
    def switch(self) -> Any:
        """The value of the field that bears the name of the kind; True if there is none."""
        return getattr(self, self.kind, True)

    @property
    def copies(self) -> int:
        """How many numbers it remembers for each weight."""
        return 0

    def check(self, config: Any) -> None:
        """Refuse a config that this cannot be part of.

        Raises:
            ValueError: It cannot; the message says the rule.
        """

    @classmethod
    @cache
    def leaves(cls) -> Mapping[str, FieldInfo]:
        """Its fields as they stand in a flat list of all a config can hold: name -> field, with the value when off.

        >>> from circuitgrok.interventions.gradients import GrokfastEMA
        >>> {name: field.default for name, field in GrokfastEMA.leaves().items()}
        {'grokfast_ema': 0.0, 'grokfast_decay': 0.98}
        """
        fields = {name: _optional(field) for name, field in cls.model_fields.items() if name != cls.kind}
        return MappingProxyType({cls.kind: cls._switch_field(), **fields})

    @classmethod
    def _switch_field(cls) -> FieldInfo:
        """The field that bears the name of the kind, with the value that it is off at."""
        if cls.kind in cls.model_fields:
            field = copy(cls.model_fields[cls.kind])
        else:
            description = (inspect.getdoc(cls) or cls.kind).partition("\n")[0].rstrip(".")
            field = FieldInfo(annotation=bool, description=description[0].lower() + description[1:])
        field.default, field.metadata = cls.off, [*field.metadata, Said(cls.said or f"{cls.kind} {{:g}}")]
        if cls.off is None:
            field.annotation = field.annotation | None  # pyright: ignore
        elif isinstance(cls.off, str):
            field.annotation = Literal[(cls.off, *get_args(field.annotation))]  # pyright: ignore
        return field


def _optional(field: FieldInfo) -> FieldInfo:
    """A field that need not be given where its intervention is off."""
    if not field.is_required():
        return field
    field = copy(field)
    field.default, field.annotation = None, field.annotation | None  # pyright: ignore
    return field


KINDS: dict[str, type[Intervention]] = {}


class Applied(NamedTuple):
    """A kind of intervention at work on a stack of runs.

    Attributes:
        kind: Its class.
        fields: The values of its fields, by name: tensors `[run]` of those that are marked `PER_RUN`.
    """

    kind: type[Intervention]
    fields: dict[str, Any]

    def __call__(self, *given: Any, **more: Any) -> Any:
        """What the rule makes of it."""
        return self.kind.rule(*given, **more, **_named(self.kind.rule, self.fields))

    def start(self, like: Params) -> State:
        """What it remembers before the first step."""
        return self.kind.start(like, **_named(self.kind.start, self.fields))


def applied(objects: Sequence[Intervention | None], device: torch.device = CPU) -> Applied:
    """One kind of intervention, from the object of each run of a stack on a device; None where a run has it not.

    Example:
        >>> from circuitgrok.interventions.gradients import GrokfastEMA
        >>> applied([GrokfastEMA(grokfast_ema=2.0), GrokfastEMA(grokfast_ema=5.0)]).fields["grokfast_ema"]
        tensor([2., 5.], dtype=torch.float64)
    """
    first = next(one for one in objects if one is not None)
    fields: dict[str, Any] = {}
    for name, field in type(first).model_fields.items():
        values = [getattr(one or first, name) for one in objects]
        fields[name] = per_run(values, device) if PER_RUN in field.metadata else values[0]
    return Applied(type(first), fields)


def per_run(values: Sequence[Any], device: torch.device = CPU) -> Any:
    """A field of every run as a tensor `[run]`, where none is NaN; words stay a list.

    >>> per_run([1.5, None]), per_run([True, False])
    (tensor([1.5000,    nan], dtype=torch.float64), tensor([ True, False]))
    """
    if all(isinstance(value, bool) for value in values):
        return torch.tensor(values, device=device)
    if any(isinstance(value, str) for value in values):
        return list(values)
    numbers = [torch.nan if value is None else value for value in values]
    return torch.tensor(numbers, dtype=torch.float64, device=device)


@cache
def _parameters(rule: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(rule).parameters)


def _named(rule: Callable[..., Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Those of the fields that a rule names."""
    return {name: fields[name] for name in fields if name in _parameters(rule)}
