"""What was wrong with a config, in the words that a person types."""

from collections.abc import Collection

from pydantic import ValidationError

from circuitgrok.errors import nearest
from circuitgrok.interventions.penalties import CHECKPOINT


def explain(error: ValidationError, known: Collection[str] = ()) -> list[str]:
    """One line per fault of refused values: the field, the rule, what was got.

    Args:
        error: As pydantic raises it.
        known: The names that there are, for one that there is not.

    Example:
        >>> from circuitgrok.interventions.penalties import L1
        >>> try:
        ...     L1(l1=-1)
        ... except ValidationError as error:
        ...     explain(error)
        ['l1: must be greater than or equal to 0; got -1']
    """
    lines = []
    for fault in error.errors():
        names = [part for part in fault["loc"] if isinstance(part, str)]
        name = ".".join(map(str, [*names[-1:], *(part for part in fault["loc"] if isinstance(part, int))]))
        rule = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            lines.append(f"unknown field {name!r}{nearest(name, known)}")
        elif fault["type"] == "missing":
            lines.append(f"{name} is needed: give it a value")
        elif fault["type"] == "value_error":
            lines.append(rule)
        elif fault["type"] == "string_pattern_mismatch" and fault.get("ctx", {}).get("pattern") == CHECKPOINT:
            form = "RUN_FOLDER@STEP, such as checkpoints/quickstart@4000"
            lines.append(f"{name}: must be {form}; got {fault['input']!r}")
        else:
            rule = rule[0].lower() + rule[1:]
            lines.append(f"{name}: {rule.replace('input should', 'must')}; got {fault['input']!r}")
    return list(dict.fromkeys(lines))
