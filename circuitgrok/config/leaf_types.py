"""Arguments of `TrainConfig.with_` for type checkers; made by `python -m circuitgrok.config.named`."""

from collections.abc import Sequence
from typing import Literal, TypedDict


class Leaves(TypedDict, total=False):
    """A field for each leaf of a config of any kind, of its name and type."""

    task: Literal["modular_addition", "composition", "sparse_parity", "teacher_student", "digits", "mnist"]
    model: Literal["transformer", "embedding_mlp", "quadratic_mlp", "dense"]
    frac_train: float
    data_seed: int
    split: Literal["nanda", "randperm", "mirror_free"] | str
    p: int
    operation: Literal["add", "subtract", "multiply", "divide", "random", "quadratic", "times_square"]
    corrupted: float
    label_seed: int
    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    act: Literal["relu", "gelu"] | Literal["relu", "gelu", "tanh"]
    normalization: Literal["none", "LN"]
    d_vocab_out: Literal["p", "p+1"]
    equals: bool
    own_tokens: bool
    causal: bool
    attention_rate: float
    train_biases: Sequence[Literal["attention", "mlp", "unembed"]] | Sequence[Literal["mlp", "unembed"]]
    allow_narrow_heads: bool
    scheme: str
    alpha: float
    alpha_embed: float
    alpha_attention: float
    alpha_mlp: float
    alpha_unembed: float
    seed: int
    start: str | None
    start_moments: bool
    loss: Literal["cross_entropy", "stablemax", "mse"]
    loss_precision: Literal["float64", "float32", "float16"]
    label_smoothing: float
    temperature: float
    rule: Literal["adam", "sgd", "rmsprop", "lion", "muon"]
    lr: float
    lr_rest: float | None
    beta1: float
    beta2: float
    eps: float
    momentum: float
    warmup: int
    weight_decay: float
    decay_roles: Sequence[Literal["embed", "attention", "mlp", "unembed", "normalization"]]
    decay_to_init: bool
    batch_size: int | None
    batch_replacement: bool
    batch_noise: Literal["off", "sized", "isotropic"]
    batch_noise_times: float
    l1: float
    l2: float
    nuclear: float
    spectral_entropy: float
    target_norm: float
    target_radius: float | None
    anti_decay: float
    repulsion: float
    repel_from: str | None
    repel_bound: float
    grokfast_ema: float
    grokfast_decay: float
    grokfast_ma: float
    grokfast_window: int
    orthograd: Literal["off", "tensor", "global"]
    orthograd_rescale: bool
    rescale_factor: float
    rescale_at_step: int
    kick: float
    kick_at_step: int
    kick_scrambled: bool
    norm_cap: float | None
    norm_grain: Literal["global", "tensor", "neuron"]
    fixed_direction: bool
    direction_from_step: int
    hold_from_train_acc: float | None
    fixed_norm: bool
    norm_radius: float | None
    norm_from_step: int
    norm_factor: float
    norm_motion: Literal["rescale", "geodesic"]
    norm_transport: bool
    noise_seed: int
    label_noise: float
    weight_noise: float
    noise_tangential: bool
    walk_noise: float
    dropout_embed: float
    dropout_attention: float
    dropout_mlp: float
    gradient_noise: float
    dropout_parts: Literal["together", "averaged", "noise"]
    dropout_masks: int
    steps: int
    eval_every: int
    checkpoint_every: int
    checkpoints_per_decade: int
    checkpoint_on_move: float
    keep_moments: bool
    precision: Literal["float32", "float64"]
    forward_precision: Literal["float32", "float64"] | None
    d_embed: int
    d_hidden: int
    depth: int
    combine: Literal["concat", "sum"]
    n_neurons: int
    n_in: int
    n_out: int
    width: int
    group: str
    n_bits: int
    k: int
    n_train: int
    n_test: int | int | None
    teacher_width: int
    teacher_depth: int
    teacher_alpha: float
    teacher_seed: int
    tolerance: float
    folder: str
