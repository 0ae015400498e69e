"""Parts of a split whose accuracies a history tells, by the names of its columns.

    test_acc                   all test pairs
    test_mirror_unseen_acc     those whose mirror (b, a) was not trained on either
    train_acc                  all training pairs, by the labels that are trained on
    train_clean_acc            those with the right label
    train_corrupted_acc        those with a wrong one: how many of the wrong labels are fitted
    train_corrupted_true_acc   the same pairs, by the label that the operation gives: how many wrong labels the network
                               answers as if they were right

The last three are there if labels are corrupted, the second in operations modulo p, each if it has pairs. In an
operation that does not commute (b, a) has an answer of its own; the column is there as well.

A part is given by labels: what is to be said about its pairs, and -1, which no network says, about others.
"""

from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from circuitgrok.tasks.kinds import Dataset
from circuitgrok.tasks.modular import Task

Side = Literal["train", "test"]
PARTIAL = ("test_mirror_unseen_acc", "train_clean_acc", "train_corrupted_acc", "train_corrupted_true_acc")
NOBODYS = -1


def shares(task: Dataset, side: Side) -> dict[str, Int[Tensor, " pair"]]:
    """What is to be said about the pairs of one side of a split, by column of the history, the whole side first.

    It is `NOBODYS` about pairs that are not of the part. Of answers that are real numbers there are no parts.

    Example:
        >>> from circuitgrok.tasks.modular import ModularAddition
        >>> task = ModularAddition(p=5, frac_train=0.4, corrupted=0.2).draw()
        >>> list(shares(task, "test")), list(shares(task, "train"))[1:3]
        (['test_acc', 'test_mirror_unseen_acc'], ['train_clean_acc', 'train_corrupted_acc'])
        >>> shares(task, "test")["test_mirror_unseen_acc"].tolist()
        [-1, -1, 3, -1, 4, 0, -1, 4, 0, 3, 4, 0, -1, 0, 3]
    """
    if task.labels.is_floating_point():
        return {}
    here = task.where(side)
    found = {f"{side}_acc": task.labels[here]}
    if isinstance(task, Task):
        parts = {"test_mirror_unseen_acc": (task.where("test_mirror_unseen"), task.labels)}
        if side == "train":
            wrong = task.where("train_corrupted")
            parts = {
                "train_clean_acc": (task.where("train_clean") & wrong.any(), task.labels),
                "train_corrupted_acc": (wrong, task.labels),
                "train_corrupted_true_acc": (wrong, task.true_labels),
            }
        labels = {name: torch.where(where, right, NOBODYS)[here] for name, (where, right) in parts.items()}
        found |= {name: of_part for name, of_part in labels.items() if bool((of_part != NOBODYS).any())}
    return found
