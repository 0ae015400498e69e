"""The training pairs that a file lists, or that somebody gives: indices, a mask, or pairs of numbers."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.foreign.split_search import SEEDS
from circuitgrok.tasks.modular import ModularAddition, operands
from circuitgrok.tasks.splits import ORDERS, listed_split, share_of

TRAIN = ("train_indices", "train_idx", "train_mask", "is_train", "train_pairs", "train_data", "train")
TEST = ("test_indices", "test_idx", "test_mask", "is_test", "test_pairs", "test_data", "test")


def listed_in(content: Mapping[str, Any], task: ModularAddition) -> Bool[Tensor, " pair"] | None:
    """The training pairs that a file lists; None if it lists none.

    Raises:
        UserError: What is listed are no pairs of the task.
    """
    for name in (*TRAIN, *TEST):
        if isinstance(content.get(name), Tensor | list | tuple) and len(content[name]):
            mask = mask_of(content[name], task, name)
            return mask if name in TRAIN else ~mask
    return None


def mask_of(given: Any, task: ModularAddition, name: str = "split") -> Bool[Tensor, " pair"]:
    """Training pairs as a mask over all pairs of a task, row by row.

    Args:
        given: A mask `[pair]` of bools; places in the row-major list of all pairs; or pairs of numbers `[n 2]`, of
            which more columns are ignored.
        task: Whose pairs they are.
        name: What they are called, for messages.

    Raises:
        UserError: They are none of these, or leave a side without a pair.

    Example:
        >>> task = ModularAddition(p=3, frac_train=0.5)
        >>> mask_of([(0, 1), (2, 2)], task).nonzero().flatten().tolist()
        [1, 8]
    """
    n, numbers = task.n_pairs, operands(task.operation, task.p)
    try:
        found = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"{name} must be numbers of pairs; found something else") from None
    if found.ndim == 2 and found.shape[1] >= 2 and not found.is_floating_point():
        a, b = found[:, 0].long() - numbers.start, found[:, 1].long() - numbers.start
        if not bool(((a >= 0) & (a < len(numbers)) & (b >= 0) & (b < len(numbers))).all()):
            raise UserError(f"{name} must hold pairs of numbers from {numbers.start} to {numbers.stop - 1}")
        found = a * len(numbers) + b
    if found.dtype == torch.bool and found.numel() == n:
        mask = found.flatten()
    else:
        places = found.flatten()
        if places.is_floating_point() or places.dtype == torch.bool or not len(places):
            raise UserError(
                f"{name} must be a mask of {n} pairs, their places, or pairs of numbers; found {found.dtype} "
                f"{list(found.shape)}"
            )
        if not bool(((places >= 0) & (places < n)).all()):
            raise UserError(f"{name} must be some of the {n} pairs, and not all; found place {places.max().item()}")
        mask = torch.zeros(n, dtype=torch.bool)
        mask[places.long()] = True
    if not 0 < int(mask.sum()) < n:
        raise UserError(f"{name} must be some of the {n} pairs, and not all; found {int(mask.sum())}")
    return mask


def split_fields(mask: Bool[Tensor, " pair"], given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a task's split with these training pairs: by a rule that draws them, or listed pair by pair.

    Args:
        mask: Which pairs are trained on.
        given: Fields of the config, whose `data_seed` is tried first.
    """
    n = int(mask.sum())
    share = share_of(n, len(mask))
    for rule, order in ORDERS.items():
        for seed in dict.fromkeys([given.get("data_seed", 0), *SEEDS]):
            if bool(mask[order(len(mask), seed)[:n]].all()):
                return {"frac_train": share, "split": rule, "data_seed": seed}
    return {"frac_train": share, "split": listed_split(mask), "data_seed": 0}
