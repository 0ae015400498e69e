"""What every measure is given of a task: its pairs with their labels and their split."""

from circuitgrok.errors import UserError
from circuitgrok.tasks.examples import Examples
from circuitgrok.tasks.modular import Task

Dataset = Task | Examples  # a task's pairs with their labels and their split


def check_classes(task: Dataset) -> None:
    """Refuses a task whose answers are real numbers.

    Raises:
        UserError: They are.
    """
    if task.labels.is_floating_point():
        raise UserError("a cross-entropy needs classes; the answers of this task are real numbers")


def modular(task: Dataset) -> Task:
    """The task, if its inputs are the pairs of numbers modulo p.

    Raises:
        UserError: They are not.
    """
    if not isinstance(task, Task):
        raise UserError("this is for tasks on all pairs of numbers modulo p; got examples without such numbers")
    return task
