"""Configs of every other kind of network and task, small enough to train in a test."""

from typing import Any

from circuitgrok.config.train_config import TrainConfig

COMMON = {
    "steps": 16,
    "eval_every": 4,
    "checkpoint_every": 8,
    "checkpoints_per_decade": 0,
    "checkpoint_on_move": 100.0,
    "warmup": 5,
    "lr": 0.01,
}
PAIRS = {"p": 11, "frac_train": 0.5}
LEAVES: dict[str, dict[str, Any]] = {
    "embedding": {"model": "embedding_mlp", "d_embed": 8, "d_hidden": 16, **PAIRS},
    "summed": {
        "model": "embedding_mlp", "d_embed": 8, "d_hidden": 16, "depth": 2, "combine": "sum", "own_tokens": True,
        "act": "relu", "train_biases": ("mlp", "unembed"), "operation": "divide", **PAIRS,
    },
    "quadratic": {"model": "quadratic_mlp", "n_neurons": 16, "loss": "mse", **PAIRS},
    "dense": {
        "model": "dense", "width": 12, "depth": 3, "act": "tanh", "operation": "quadratic", "temperature": 4.0, **PAIRS,
    },
    "composition": {
        "task": "composition", "group": "S3", "frac_train": 0.5, "d_model": 8, "n_heads": 2, "d_head": 4, "d_mlp": 16,
    },
    "dihedral": {"task": "composition", "group": "D4", "frac_train": 0.5, "model": "embedding_mlp", "d_hidden": 16},
    "parity": {"task": "sparse_parity", "n_bits": 9, "k": 2, "n_train": 50, "n_test": 40, "model": "dense", "width": 9},
    "teacher": {"task": "teacher_student", "n_train": 30, "n_test": 20, "model": "dense", "width": 12, "loss": "mse"},
    "digits": {
        "task": "digits", "n_train": 90, "n_test": 70, "model": "dense", "width": 12, "loss": "stablemax",
        "temperature": 0.5,
    },
}  # fmt: skip
NUMBERS = ("embedding", "summed", "quadratic", "dense")  # those on numbers modulo p


def tiny_kind(name: str, **leaves: Any) -> TrainConfig:
    """A config of one of `LEAVES`."""
    return TrainConfig().with_(**COMMON | LEAVES[name] | leaves)
