"""Named configs: what each changes against the default, and where it comes from."""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # Ours: the smallest one-layer transformer we found that memorises within 200 steps, stays near
    # chance on the test set for thousands, and groks inside a minute on two cores.
    "quickstart": {
        "p": 29,
        "frac_train": 0.5,
        "d_model": 64,
        "d_head": 16,
        "d_mlp": 256,
        "weight_decay": 2.0,
        "steps": 4000,
        "eval_every": 10,
        "checkpoint_every": 50,
    },
    # Nanda et al. 2023 (arXiv:2301.05217), the authors' code: 1 layer, d_model 128, 4 heads, d_mlp 512,
    # ReLU, MLP biases only, AdamW 1e-3, weight decay 1, betas (.9, .98), 10 warm-up steps whose first
    # has rate 0, 30 % of the pairs, 114 classes, `random.seed(0)` split; 40 k steps analysed.
    "nanda": {},
    # TransformerLens' Grokking_Demo: no biases, 113 classes, no warm-up, HookedTransformer's init
    # (0.8/sqrt(d_model) everywhere), randperm split from seed 598, model seed 999, 25 k steps.
    "tl-demo": {
        "train_biases": (),
        "d_vocab_out": "p",
        "warmup": 0,
        "scheme": "hooked_transformer",
        "split": "randperm",
        "data_seed": 598,
        "seed": 999,
        "steps": 25_000,
        "checkpoint_every": 100,
    },
    # Liu et al. 2022 (arXiv:2210.01117), mod-addition notebook, constrained arm: alpha = 0.8 of the nanda
    # init, norm held from step 0, no weight decay, no warm-up, split seed 42, float64, 15 k epochs.
    "omnigrok": {
        "alpha": 0.8,
        "fixed_norm": True,
        "weight_decay": 0.0,
        "warmup": 0,
        "data_seed": 42,
        "precision": "float64",
        "steps": 15_000,
        "eval_every": 10,
        "checkpoint_every": 100,
    },
}
