"""Named configs: what each changes against the default, where it comes from, and how long it takes.

Where a paper trained on batches and a preset on all pairs at once, its line says so.
"""

from typing import Any, NamedTuple

from circuitgrok.errors import UserError, nearest


class Preset(NamedTuple):
    """A named config.

    Attributes:
        line: What it is, and whose, in one line.
        minutes: How long a run takes on `MACHINE`, by `analyses/preset_times.py`; None where data were missing.
        leaves: What differs from the default, by leaf; `task` and `model` are kinds.
    """

    line: str
    minutes: float | None
    leaves: dict[str, Any]


MACHINE = "two shared virtual cores of an AMD EPYC (family 26, AVX-512), torch 2.13 on one thread"

_POWER = {"n_layers": 2, "p": 97, "frac_train": 0.5, "operation": "divide", "train_biases": ("attention", "mlp")}
_PIZZA = {
    "p": 59, "frac_train": 0.8, "d_vocab_out": "p", "equals": False, "causal": False,
    "weight_decay": 2.0, "warmup": 0, "steps": 20_000,
}  # fmt: skip
_PRIETO = {
    "model": "dense", "p": 113, "frac_train": 0.4, "train_biases": (), "scheme": "torch", "eps": 1e-25,
    "weight_decay": 0.0, "warmup": 0, "lr": 0.01, "beta2": 0.99, "eval_every": 10,
}  # fmt: skip
_DOSHI = {
    "model": "quadratic_mlp", "loss": "mse", "p": 97, "frac_train": 0.5, "n_neurons": 500, "lr": 0.01, "warmup": 0,
    "eval_every": 1, "checkpoint_every": 10,
}  # fmt: skip
_IMAGES = {
    "model": "dense", "loss": "mse", "width": 200, "train_biases": ("mlp", "unembed"), "scheme": "torch",
    "beta2": 0.999, "weight_decay": 0.01, "warmup": 0, "precision": "float64", "alpha": 8.0, "n_train": 1000,
}  # fmt: skip
_GROKFAST = {
    "n_layers": 2, "p": 97, "frac_train": 0.5, "operation": "multiply", "weight_decay": 0.005,
    "steps": 10_000, "eval_every": 10,
}  # fmt: skip

PRESETS: dict[str, Preset] = {
    # The smallest one-layer transformer we found that memorises within 200 steps, stays near
    # chance on the test set for thousands, and groks inside a minute on two cores.
    "quickstart": Preset(
        "ours: a small transformer on a + b mod 29 that groks within a minute",
        0.17,
        {
            "p": 29, "frac_train": 0.5, "d_model": 64, "d_head": 16, "d_mlp": 256, "weight_decay": 2.0,
            "steps": 4000, "eval_every": 10, "checkpoint_every": 50,
        },
    ),
    # nanda's network on a sphere. Of ten seeds all generalise at factor .9, at steps 300 to 450, 30 to 110 after they
    # have memorised (analyses/phases_of_grokking.py); by step 500 eight do at .8, and two at 1 (docs/presets.md).
    "sphere": Preset(
        "ours: the network of nanda with its norm held at 0.9 of its start, without decay: generalises by step 450",
        0.39,
        {
            "fixed_norm": True, "norm_factor": 0.9, "weight_decay": 0.0, "steps": 1000, "eval_every": 10,
            "checkpoint_every": 50,
        },
    ),
    # The authors' code: 1 layer, d_model 128, 4 heads, d_mlp 512, ReLU, MLP biases only, AdamW 1e-3, weight decay 1,
    # betas (.9, .98), 10 warm-up steps whose first has rate 0, 30 % of the pairs, 114 classes, `random.seed(0)` split.
    "nanda": Preset("Nanda et al. 2023 (arXiv:2301.05217): the mainline run, a + b mod 113", 18, {}),
    "nanda-dropout": Preset(
        "Nanda et al. 2023 (arXiv:2301.05217), figure 28: dropout .2 in place of weight decay",
        41,
        {"weight_decay": 0.0, "dropout_embed": 0.2, "dropout_attention": 0.2, "dropout_mlp": 0.2},
    ),
    # Grokking_Demo: no biases, 113 classes, no warm-up, HookedTransformer's init (0.8/sqrt(d_model) everywhere),
    # randperm split from seed 598, model seed 999, 25 k steps.
    "tl-demo": Preset(
        "TransformerLens' Grokking_Demo notebook: no biases, 113 classes, its smaller init",
        9.6,
        {
            "train_biases": (), "d_vocab_out": "p", "warmup": 0, "scheme": "hooked_transformer", "split": "randperm",
            "data_seed": 598, "seed": 999, "steps": 25_000, "checkpoint_every": 100,
        },
    ),
    # Mod-addition notebook, constrained arm: alpha = 0.8 of the nanda init, norm held from step 0, no weight decay, no
    # warm-up, split seed 42, float64, 15 k epochs.
    "omnigrok": Preset(
        "Liu et al. 2022 (arXiv:2210.01117): the norm held at 0.8 of its initial value",
        19,
        {
            "alpha": 0.8, "fixed_norm": True, "weight_decay": 0.0, "warmup": 0, "data_seed": 42,
            "precision": "float64", "steps": 15_000, "eval_every": 10, "checkpoint_every": 100,
        },
    ),
    "omnigrok-free": Preset(
        "Liu et al. 2022 (arXiv:2210.01117): the unconstrained baseline, weight decay 1",
        17,
        {"warmup": 0, "data_seed": 42, "precision": "float64", "steps": 15_000, "eval_every": 30},
    ),
    "omnigrok-digits": Preset(
        "Liu et al. 2022 (arXiv:2210.01117): induced grokking at alpha 8, on scikit-learn's digits, full batch",
        2.6,
        {"task": "digits", **_IMAGES, "steps": 20_000, "checkpoint_every": 500},
    ),
    # Their MNIST run: 1000 images, batches of 200, 10^5 steps.
    "omnigrok-mnist": Preset(
        "Liu et al. 2022 (arXiv:2210.01117): the same on MNIST files in the folder mnist, batches of 200",
        None,
        {"task": "mnist", **_IMAGES, "batch_size": 200, "steps": 100_000, "checkpoint_every": 1000},
    ),
    "omnigrok-teacher": Preset(
        "Liu et al. 2022 (arXiv:2210.01117): teacher-student 5-100-100-5, student at alpha 2",
        0.61,
        {
            "task": "teacher_student", "model": "dense", "loss": "mse", "width": 100, "act": "tanh", "alpha": 2.0,
            "train_biases": ("mlp", "unembed"), "scheme": "torch", "teacher_seed": 1, "lr": 3e-4,
            "beta2": 0.999, "weight_decay": 0.05, "warmup": 0,
            "steps": 100_000, "eval_every": 100, "checkpoint_every": 2000,
        },
    ),
    "power": Preset(
        "Power et al. 2022 (arXiv:2201.02177): a / b mod 97 on half of the table, 2 layers, full batch",
        27,
        _POWER | {"normalization": "LN", "steps": 10_000, "eval_every": 10},
    ),
    # As the public re-implementations train: batches of 512 of the 4656 training pairs, warm-up over ten steps.
    "power-batches": Preset(
        "Power et al. 2022 (arXiv:2201.02177): a / b mod 97 on half of the table, 2 layers, batches of 512",
        21,
        _POWER | {"normalization": "LN", "batch_size": 512, "steps": 50_000, "eval_every": 50},
    ),
    "power-s5": Preset(
        "Power et al. 2022 (arXiv:2201.02177): composition in S5, 2 layers, full batch",
        57,
        {
            "task": "composition", "group": "S5", "frac_train": 0.4, "n_layers": 2, "normalization": "LN",
            "train_biases": ("attention", "mlp"), "steps": 20_000,
        },
    ),
    "slingshot": Preset(
        "Thilak et al. 2022 (arXiv:2206.04817): slingshots, 2 layers, no weight decay, float32 loss",
        39,
        _POWER | {"weight_decay": 0.0, "loss_precision": "float32", "steps": 20_000, "eval_every": 5},
    ),
    "pizza": Preset(
        "Zhong et al. 2023 (arXiv:2306.17844): model A, uniform attention, a + b mod 59",
        7.4,
        {**_PIZZA, "attention_rate": 0.0},
    ),
    "clock": Preset("Zhong et al. 2023 (arXiv:2306.17844): model B, learned attention, a + b mod 59", 7.6, _PIZZA),
    "chughtai-s5": Preset(
        "Chughtai et al. 2023 (arXiv:2302.03025): composition in S5 by an embedding MLP",
        11,
        {
            "task": "composition", "group": "S5", "frac_train": 0.4, "model": "embedding_mlp", "act": "relu",
            "d_embed": 256, "d_hidden": 128, "own_tokens": True, "data_seed": 2, "steps": 50_000,
        },
    ),
    "gromov": Preset(
        "Gromov 2023 (arXiv:2301.02679): quadratic MLP, mean squares, a + b mod 97",
        0.084,
        {**_DOSHI, "weight_decay": 5.0, "steps": 200},
    ),
    "doshi": Preset(
        "Doshi et al. 2023 (arXiv:2310.13061): 35 % corrupted labels without decay: both are fitted",
        0.42,
        {**_DOSHI, "corrupted": 0.35, "weight_decay": 0.0, "steps": 1000},
    ),
    "doshi-decay": Preset(
        "Doshi et al. 2023 (arXiv:2310.13061): 35 % corrupted labels under decay 15: inversion",
        0.21,
        {**_DOSHI, "corrupted": 0.35, "weight_decay": 15.0, "steps": 500},
    ),
    "prieto": Preset(
        "Prieto et al. 2025 (arXiv:2501.04697): one-hot MLP without decay, float32 loss: softmax collapse",
        4.5,
        {**_PRIETO, "loss_precision": "float32", "steps": 10_000},
    ),
    "prieto-stablemax": Preset(
        "Prieto et al. 2025 (arXiv:2501.04697): the same with StableMax",
        38,
        {**_PRIETO, "loss": "stablemax", "steps": 80_000, "eval_every": 100, "checkpoint_every": 1000},
    ),
    "prieto-orthograd": Preset(
        "Prieto et al. 2025 (arXiv:2501.04697): the same with the gradient across the weights",
        0.39,
        {**_PRIETO, "orthograd": "tensor", "steps": 500, "eval_every": 1, "checkpoint_every": 10},
    ),
    "grokfast": Preset(
        "Lee et al. 2024 (arXiv:2405.20233): slow gradients amplified, a * b mod 97, 2 layers, full batch",
        19,
        {**_GROKFAST, "grokfast_ema": 2.0},
    ),
    "grokfast-baseline": Preset(
        "Lee et al. 2024 (arXiv:2405.20233): the same decay without amplifying", 19, _GROKFAST
    ),
    "truong": Preset(
        "Truong 2026 (arXiv:2606.13753): the delay law's embedding MLP, a + b mod 59",
        0.66,
        {
            "model": "embedding_mlp", "p": 59, "frac_train": 0.4, "d_embed": 128, "d_hidden": 256, "act": "gelu",
            "beta2": 0.999, "warmup": 0, "steps": 10_000,
        },
    ),
    "golechha": Preset(
        "Golechha 2024 (arXiv:2405.12755): the norm rewarded instead of decayed, on scikit-learn's digits",
        2.6,
        {
            "task": "digits", **_IMAGES, "weight_decay": 0.0, "anti_decay": 2e-10, "steps": 20_000,
            "checkpoint_every": 500,
        },
    ),
    # The notebook "grokking" of devinterp 1.x: embeddings of 12, 48 neurons, Adam with coupled decay 2e-4, batches of
    # 128, seed 0. It has a layer, and a bias, for each of the two numbers; here the two biases are one.
    "devinterp": Preset(
        "grokking notebook of devinterp (Lau et al. 2023, arXiv:2308.12108): a small MLP, a + b mod 53, batches of 128",
        0.38,
        {
            "model": "embedding_mlp", "p": 53, "frac_train": 0.4, "split": "randperm", "d_embed": 12, "d_hidden": 48,
            "act": "gelu", "scheme": "torch", "train_biases": ("mlp",), "lr": 5e-3, "beta2": 0.999, "warmup": 0,
            "weight_decay": 0.0, "l2": 2e-4, "batch_size": 128, "steps": 25_000, "eval_every": 50,
            "checkpoint_every": 250,
        },
    ),
    "muon": Preset(
        "Muon on a + b mod 97, after the comparison of arXiv:2504.16041: hidden matrices orthogonalised",
        0.96,
        {
            "p": 97, "frac_train": 0.4, "rule": "muon", "lr": 0.03, "lr_rest": 1e-3, "momentum": 0.95,
            "weight_decay": 0.1, "steps": 2000, "eval_every": 5, "checkpoint_every": 50,
        },
    ),
    "parity": Preset(
        "Truong 2026 (arXiv:2606.13753): sparse parity, 3 of 30 bits, 1000 examples",
        1,
        {
            "task": "sparse_parity", "n_bits": 30, "k": 3, "n_train": 1000, "model": "dense", "depth": 1, "width": 512,
            "train_biases": ("mlp", "unembed"), "warmup": 0, "steps": 20_000,
        },
    ),
}  # fmt: skip


def leaves_of(name: str) -> dict[str, Any]:
    """What a preset changes against the default config, by leaf.

    Raises:
        UserError: Unknown name; the message gives the nearest and lists all.
    """
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}{nearest(name, PRESETS)}; there are {', '.join(PRESETS)}")
    return PRESETS[name].leaves
