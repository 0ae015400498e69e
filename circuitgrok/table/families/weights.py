"""Columns that look at weights: norm and direction of the path, orbits, parts of a step, spectra of the tables.

θ are the weights, r = ‖θ‖ their norm, u = θ/r their direction; k is a frequency, w_k = 2πk/p.
"""

from circuitgrok.table.family import ANGLE, ANY, COSINE, FROM_ONE, NOT_NEGATIVE, SHARE, Family, Range

_OF_PATH: tuple[tuple[str, str, str, Range], ...] = (
    ("norm", "Norm r of the weights, the root of the sum of their squares.", "weights", NOT_NEGATIVE),
    ("cos_start", "Cosine of the angle to the first checkpoint.", "1", COSINE),
    ("angle_start", "Angle to the first checkpoint, 2 atan2(‖u′ − u‖, ‖u′ + u‖).", "rad", ANGLE),
    ("cos_end", "Cosine of the angle to the last checkpoint.", "1", COSINE),
    ("angle_end", "Angle to the last checkpoint.", "rad", ANGLE),
    (
        "radial_distance",
        "Sum of |Δr| from checkpoint to checkpoint so far; a lower bound that grows as checkpoints get denser.",
        "weights",
        NOT_NEGATIVE,
    ),
    ("angular_distance", "Sum of the angles φ between neighbouring checkpoints so far.", "rad", NOT_NEGATIVE),
    (
        "arc_length",
        "Sum of the angles between neighbouring checkpoints so far, each times the mean of the norms at its ends.",
        "weights",
        NOT_NEGATIVE,
    ),
    ("angular_speed", "Angle turned over the interval that ends here, per step.", "rad/step", NOT_NEGATIVE),
)
_OF_HEADS = ("norm", "angle_start", "angle_end", "arc_length", "angular_speed")
_OF_NEURONS = ("norm", "angle_end")
_PATHS = tuple(
    (name, f"{name}{place}", f"{whose}{text[0].lower()}{text[1:]}" if whose else text, unit, bounds)
    for place, whose in (
        ("", ""),
        ("[role]", "Of the weights of one role: "),
        ("[tensor]", "Of one tensor: "),
        ("[head h(, layer)]", "Of W_Q, W_K, W_V, W_O and biases of one head, as one vector: "),
        ("[neurons q%(, layer)]", "Quantile over the neurons of a block, each what enters and leaves it: "),
    )
    for name, text, unit, bounds in _OF_PATH
)
POLAR = tuple(
    Family(name, meaning, unit, bounds, "here", ("polar",), "polar/parts.py" if "(" in name else "polar/path.py")
    for field, name, meaning, unit, bounds in _PATHS
    if (field in _OF_HEADS or "[head" not in name) and (field in _OF_NEURONS or "[neurons" not in name)
)

ORBITS = (
    Family(
        "norm_min",
        "Least norm with which the same function can be written, over β, 1/β of ReLU neurons and any invertible G of "
        "each head's products.",
        "weights", NOT_NEGATIVE, "here; nuclear norm: Srebro et al. 2004", ("orbits",), "polar/orbits.py",
    ),
    Family(
        "norm_excess", "Norm over the least norm on its orbit.", "1", FROM_ONE, "here", ("orbits",), "polar/orbits.py"
    ),
    Family(
        "norm_excess[pair(, layer)]",
        "Norm over the least norm of the weights of one kind of product in a block.",
        "1", FROM_ONE, "here", ("orbits",), "polar/orbits.py",
    ),
    Family(
        "path_norm[mlp(, layer)]",
        "Sum over a block's neurons of |w_in|₁ |w_out|₁, biases among what enters; β, 1/β do not change it.",
        "weights²", NOT_NEGATIVE, "arXiv:1506.02617, with exponent 1", ("orbits",), "polar/orbits.py",
    ),
)  # fmt: skip

_STEP = "polar/updates.py"
_BATCH = "interventions/batches.py"
UPDATES = (
    Family(
        "update_radial[step part]",
        "Component along u of a part of the step that left the checkpoint; positive outwards.",
        "weights", ANY, "here", ("updates",), _STEP,
    ),
    Family(
        "update_radial[step part, role]",
        "The same among the weights of one role.",
        "weights", ANY, "here", ("updates",), _STEP,
    ),
    Family(
        "update_tangential[step part]",
        "Length of a part of the step across u.",
        "weights", NOT_NEGATIVE, "here", ("updates",), _STEP,
    ),
    Family(
        "update_tangential[step part, role]",
        "The same among the weights of one role.",
        "weights", NOT_NEGATIVE, "here", ("updates",), _STEP,
    ),
    Family(
        "update_angle",
        "Angle that the step that left the checkpoint turned the weights by.",
        "rad", ANGLE, "here", ("updates",), _STEP,
    ),
    Family(
        "update_angle[role]", "The same among the weights of one role.", "rad", ANGLE, "here", ("updates",), _STEP
    ),
    Family(
        "angular_rate",
        "Effective learning rate on the sphere of directions: −⟨step, g⟩ / (r² ‖g‖²), both across u; lr/r² for "
        "gradient descent.",
        "1/weights²", ANY, "here", ("updates",), _STEP,
    ),
    Family(
        "full_gradient_norm",
        "Norm of the gradient of all training pairs, where the step that left the checkpoint saw a batch.",
        "nats/weights", NOT_NEGATIVE, "here", ("updates",), _BATCH,
    ),
    Family(
        "batch_noise_norm",
        "Length of what the batch's gradient has beside that of all training pairs.",
        "nats/weights", NOT_NEGATIVE, "arXiv:1812.06162", ("updates",), _BATCH,
    ),
    Family(
        "batch_noise_radial",
        "Component of that difference along u: positive where it makes a descending step shorten the weights.",
        "nats/weights", ANY, "here", ("updates",), _BATCH,
    ),
    Family(
        "noise_scale",
        "tr Σ / ‖g‖², Σ the covariance of the pairs' gradients, estimated by one batch: the size of a batch whose "
        "noise is as long as the gradient.",
        "pairs", NOT_NEGATIVE, "arXiv:1812.06162, 2.2", ("updates",), _BATCH,
    ),
    Family(
        "angular_rate[role]", "The same among the weights of one role.", "1/weights²", ANY, "here", ("updates",), _STEP
    ),
    Family(
        "cos_descent",
        "Cosine of −∇L to the weights: positive where descent makes them larger.",
        "1", COSINE, "here", ("updates",), _STEP,
    ),
    Family("cos_descent[role]", "The same among the weights of one role.", "1", COSINE, "here", ("updates",), _STEP),
    Family("cos_descent[tensor]", "The same of one tensor.", "1", COSINE, "here", ("updates",), _STEP),
)  # fmt: skip

FOURIER = (
    Family(
        "gini[matrix]",
        "Gini coefficient of the norms of the p − 1 Fourier rows of a matrix: how few waves it uses. At most "
        "1 − 1/(p − 1).",
        "1", SHARE, "arXiv:2301.05217, 5.1", ("fourier",), "measures/spectra/fourier.py",
    ),
    Family(
        "spectral_entropy[matrix]",
        "Entropy of the shares of the frequencies in a matrix's energy; ln(p // 2) if they are equal.",
        "nats", NOT_NEGATIVE, "here", ("fourier",), "measures/spectra/complexity.py",
    ),
    Family(
        "power_W_E[k]",
        "Energy of frequency k in the embedding: squares of its cosine's and its sine's rows, summed.",
        "weights²", NOT_NEGATIVE, "arXiv:2301.05217, 4.1", ("fourier",), "measures/spectra/fourier.py",
    ),
    Family(
        "power_W_L[k]",
        "Energy of frequency k in the neuron-to-logit map, along its classes.",
        "squared entries of W_L", NOT_NEGATIVE, "arXiv:2301.05217, 4.1", ("fourier",), "measures/spectra/fourier.py",
    ),
)  # fmt: skip

SPARSITY = (
    Family(
        "ipr[matrix]",
        "Inverse participation ratio of each column (of W_L, of each neuron's row), averaged: sum over frequencies of "
        "squared shares of its energy; 1 for one frequency, (4p − 1)/(p(p + 2)) for Gaussian ones.",
        "1", SHARE, "arXiv:2301.02679, 4", ("sparsity",), "measures/parts/neurons.py",
    ),
    Family(
        "low_rank_residual[W_L]",
        "Share of W_L's norm beyond its best approximation of rank two per key frequency.",
        "1", SHARE, "arXiv:2301.05217, 4.1", ("sparsity",), "measures/parts/neurons.py",
    ),
    Family(
        "effective_rank[matrix]",
        "exp of the entropy of σ²/Σσ² over singular values σ: how many directions carry the matrix.",
        "1", FROM_ONE, "Roy & Vetterli 2007, there with σ for σ²", ("sparsity",), "measures/spectra/complexity.py",
    ),
    Family(
        "stable_rank[matrix]",
        "Squared Frobenius norm over squared largest singular value.",
        "1", FROM_ONE, "here", ("sparsity",), "measures/spectra/complexity.py",
    ),
)  # fmt: skip

FAMILIES: tuple[Family, ...] = POLAR + ORBITS + UPDATES + FOURIER + SPARSITY
