"""Configs of runs that were written before, as plain values in today's form.

Until format 2 every config had sections `penalties`, `transforms`, `constraint` and `noise`, with a field for all that
could be varied, at a value that switched it off. Now a config has the interventions that are at work.

What a config's hash is taken of has the old form, so that a run of then and the same run of now have one hash: fields
by section, of which those of the first format (`FIRST`) are always there, and all others where they are not at their
defaults.
"""

from collections.abc import Mapping
from typing import Any

# The fields that are always in the hash: those that each section, or kind of task and model, had at first. None is ever
# added: whatever comes later is in the hash where it is not at its default.
FIRST: dict[str, frozenset[str]] = {
    part: frozenset(names.split())
    for part, names in {
        "modular_addition": "kind frac_train data_seed split p",
        "composition": "kind frac_train data_seed split group",
        "sparse_parity": "kind n_bits k n_train n_test data_seed",
        "teacher_student": "kind n_in teacher_width teacher_depth n_out teacher_alpha n_train n_test data_seed "
        "teacher_seed tolerance",
        "digits": "kind n_train n_test data_seed",
        "mnist": "kind folder n_train n_test data_seed",
        "transformer": "kind p n_layers n_heads d_model d_head d_mlp act normalization d_vocab_out train_biases "
        "allow_narrow_heads",
        "embedding_mlp": "kind p d_embed d_hidden depth act combine train_biases",
        "quadratic_mlp": "kind p n_neurons",
        "dense": "kind n_in n_out width depth act train_biases",
        "init": "scheme alpha alpha_embed alpha_attention alpha_mlp alpha_unembed seed",
        "optimizer": "lr beta1 beta2 eps warmup weight_decay",
        "constraint": "fixed_norm norm_grain norm_radius norm_from_step",
        "schedule": "steps eval_every checkpoint_every checkpoints_per_decade checkpoint_on_move",
        "numerics": "precision",
    }.items()
}
# What could be switched on in format 2: section -> name -> (value when off, fields beside it).
_FORMAT_2: dict[str, dict[str, tuple[Any, tuple[str, ...]]]] = {
    "objective": {"temperature": (1.0, ())},
    "transforms": {
        "grokfast_ema": (0.0, ("grokfast_decay",)),
        "grokfast_ma": (0.0, ("grokfast_window",)),
        "orthograd": ("off", ("orthograd_rescale",)),
    },
    "constraint": {
        "rescale_factor": (1.0, ("rescale_at_step",)),
        "norm_cap": (None, ("norm_grain",)),
        "fixed_direction": (False, ("direction_from_step", "hold_from_train_acc")),
        "fixed_norm": (
            False,
            (
                *("norm_grain", "norm_radius", "norm_from_step", "norm_factor", "norm_motion", "norm_transport"),
                "hold_from_train_acc",
            ),
        ),
    },
    "noise": {
        **{name: (0.0, ("noise_tangential",)) for name in ("weight_noise", "gradient_noise", "walk_noise")},
        **{name: (0.0, ()) for name in ("label_noise", "dropout_embed", "dropout_attention", "dropout_mlp")},
    },
}
_REFERENCES = {"target_norm": ("target_radius",), "repulsion": ("repel_from", "repel_bound")}
_PENALTY_FIELDS = {name for names in _REFERENCES.values() for name in names}


def upgrade(content: Mapping[str, Any]) -> dict[str, Any]:
    """A config as plain values, of any format, in today's form; what is today's stays as it is.

    >>> old = {"constraint": {"fixed_norm": True, "norm_radius": 3.0}, "penalties": {"l1": 0.1}}
    >>> upgrade(old)["interventions"]
    [{'kind': 'l1', 'l1': 0.1}, {'kind': 'fixed_norm', 'norm_radius': 3.0}]
    """
    if "interventions" in content or not is_old(content):
        return dict(content)
    found: list[dict[str, Any]] = []
    rest = {name: dict(part) for name, part in content.items() if name not in ("penalties", "transforms", "constraint")}
    penalties = content.get("penalties", {})
    for name in (name for name in penalties if name not in _PENALTY_FIELDS and penalties[name] != 0):
        found.append({"kind": name, name: penalties[name], **_there(penalties, _REFERENCES.get(name, ()))})
    for section, kinds in _FORMAT_2.items():
        part = content.get(section, {})
        for name, (off, beside) in kinds.items():
            value = part.get(name, off)
            if value != off:
                switch = {} if value is True else {name: value}
                found.append({"kind": name, **switch, **_there(part, beside)})
    rest.get("objective", {}).pop("temperature", None)
    if "noise" in rest:
        rest["noise"] = _there(rest["noise"], ("noise_seed",))
    return rest | {"interventions": found}


def is_old(content: Mapping[str, Any]) -> bool:
    """Whether a config's plain values have the form of format 1 or 2."""
    return "interventions" not in content and any(name in content for name in ("penalties", "transforms", "constraint"))


def _there(part: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: part[name] for name in names if part.get(name) is not None}


def upgraded_state(state: Mapping[str, Any], kinds: list[str]) -> dict[str, Any]:
    """What a run's interventions remember, as resume points of format 2 have it, under today's names.

    There the constraints of a stack were counted, `held`, `held1`, so that the name of a run's own depended on its
    neighbours; here each has the name of its kind.

    Args:
        state: By name; what is today's stays as it is.
        kinds: Of the interventions at work in the run.

    >>> upgraded_state({"held1:radius": 3.0, "flat": 1.0, "transform0:ring": 2.0}, ["fixed_norm", "grokfast_ma"])
    {'flat': 1.0, 'fixed_norm:radius': 3.0, 'grokfast_ma:ring': 2.0}
    """
    found = {name: value for name, value in state.items() if not name.startswith(("held", "transform"))}
    groups: dict[str, dict[str, Any]] = {}
    for name, value in state.items():
        if name not in found:
            group, _, own = name.partition(":")
            groups.setdefault(group, {})[own] = value
    waiting = [kind for kind in ("norm_cap", "fixed_direction", "fixed_norm") if kind in kinds]
    for group in sorted(groups, key=lambda group: (len(group), group)):
        of = groups[group]
        if group.startswith("transform"):
            kind = "grokfast_ma" if "ring" in of else "grokfast_ema"
        else:
            kind = "rescale_factor" if of.keys() == {"done"} else waiting.pop(0)
        found |= {f"{kind}:{name}": value for name, value in of.items()}
    return found
