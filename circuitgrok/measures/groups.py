"""The columns of a run's table of measures, by group; each measure's formula lives in its own file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.landscape.hessian_along import spectrum_columns
from circuitgrok.measures import circuits, fourier, key_freqs, neurons, scores
from circuitgrok.models.transformer import Transformer
from circuitgrok.polar import orbits
from circuitgrok.polar.path import polar_path
from circuitgrok.tasks.modular import Task
from circuitgrok.tree import Params

SPLITS = ("train", "test", "all", "test_mirror_seen", "test_mirror_unseen")
Columns = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoints:
    """Some checkpoints of one run, and what its measures share.

    Attributes:
        params: The weights, `[ckpt ...]`.
        model: The run's model.
        task: The run's task.
        key_freqs: The run's key frequencies.
    """

    params: Params
    model: Transformer
    task: Task
    key_freqs: Tensor

    @cached_property
    def logits(self) -> Tensor:
        """`[ckpt pair c]` over the p numbers as classes, in float64."""
        with torch.no_grad():
            return self.model.logits(self.params, self.task.inputs)[..., : self.model.p].double()

    @property
    def W_E(self) -> Tensor:
        """The embedding of the p numbers, `[ckpt p d_model]`, in float64."""
        return self.params["embed.W_E"][:, : self.model.p].double()

    @property
    def W_L(self) -> Tensor:
        """The last block's neuron-to-logit map over the p numbers, `[ckpt d_mlp c]`, in float64."""
        W_out = self.params[f"blocks.{self.model.n_layers - 1}.mlp.W_out"].double()
        return W_out @ self.params["unembed.W_U"].double()[..., : self.model.p]


def key_frequencies(rule: str, params: Params, model: Transformer, task: Task) -> Tensor:
    """The key frequencies of one network by a named rule, in increasing order.

    Raises:
        ValueError: Unknown rule.
    """
    if rule not in KEY_FREQUENCY_RULES:
        raise ValueError(f"unknown key-frequency rule {rule!r}; there are {', '.join(KEY_FREQUENCY_RULES)}")
    alone = {name: value[None] for name, value in params.items()}
    return KEY_FREQUENCY_RULES[rule](Checkpoints(alone, model, task, torch.empty(0, dtype=torch.long)))


def _neurons(at: Checkpoints) -> Tensor:
    """The last block's neurons at the last position, `[pair neuron]`, of the first checkpoint."""
    params = {name: value[0] for name, value in at.params.items()}
    with torch.no_grad():
        cache = at.model.activations(params, at.task.inputs)
    return cache[f"blocks.{at.model.n_layers - 1}.mlp.hook_post"][:, -1]


KEY_FREQUENCY_RULES: dict[str, Callable[[Checkpoints], Tensor]] = {
    "wl_energy": lambda at: key_freqs.wl_energy(at.W_L[0], at.model.p),
    "embed_energy": lambda at: key_freqs.embed_energy(at.W_E[0], at.model.p),
    "logit_energy": lambda at: key_freqs.logit_energy(at.logits[0]),
    "neuron_argmax": lambda at: key_freqs.neuron_argmax(_neurons(at)),
    "neuron_argmax_pure": lambda at: key_freqs.neuron_argmax(_neurons(at), min_purity=0.85),
}


def polar_columns(stack: Params, steps: Sequence[int]) -> Columns:
    """Polar coordinates of the path, globally, by role and by tensor."""
    columns = {}
    for part, path in polar_path(stack, torch.tensor(steps)).items():
        suffix = "" if part == "global" else f"[{part}]"
        columns |= {f"{name}{suffix}": value for name, value in path._asdict().items()}
    return columns


def fourier_columns(at: Checkpoints) -> Columns:
    """Spectra of the embedding and of the neuron-to-logit map, and how sparse they are."""
    columns = {
        "gini[W_E]": fourier.fourier_gini(at.W_E),
        "gini[W_L]": fourier.fourier_gini(at.W_L.mT),
    }
    spectra = {"W_E": fourier.frequency_power(at.W_E), "W_L": fourier.frequency_power(at.W_L.mT)}
    for tensor, power in spectra.items():
        columns |= {f"power_{tensor}[{k + 1}]": power[:, k] for k in range(power.shape[1])}
    return columns


def circuit_columns(at: Checkpoints) -> Columns:
    """Loss and accuracy in full, restricted to the key frequencies, and without them, on every split."""
    labels = at.task.labels
    by_pair = {
        "loss": cross_entropy(at.logits, labels),
        "accuracy": (at.logits.argmax(-1) == labels).double(),
        "excluded_loss": cross_entropy(circuits.excluded_logits(at.logits, at.key_freqs), labels),
    }
    columns = {
        f"{name}[{split}]": values[:, at.task.where(split)].mean(-1)
        for name, values in by_pair.items()
        for split in SPLITS
    }
    for split in SPLITS:
        where = at.task.where(split)
        none = at.logits.new_full(at.logits.shape[:1], torch.nan)  # a small task may lack a kind of mirror
        restricted = circuits.restricted_loss(at.logits, labels, at.key_freqs, where) if bool(where.any()) else none
        columns[f"restricted_loss[{split}]"] = restricted
    without = circuits.excluded_loss_by_freq(at.logits, labels, at.key_freqs, at.task.is_train)
    columns |= {f"excluded_loss[{k}]": without[:, i] for i, k in enumerate(at.key_freqs.tolist())}
    columns["frac_explained"] = circuits.frac_explained(at.logits, at.key_freqs)
    alpha = circuits.cosine_coefficients(at.logits)
    return columns | {f"cosine_coefficient[{k}]": alpha[:, k - 1] for k in at.key_freqs.tolist()}


def scale_columns(at: Checkpoints) -> Columns:
    """Size of the logits, and margins on each side of the split."""
    scale = scores.logit_scale(at.logits)
    margins = scores.margin(at.logits, at.task.labels)
    columns = {"logit_scale": scale.mean_abs, "logit_std": scale.std}
    for split in ("train", "test"):
        here = margins[:, at.task.where(split)]
        columns |= {f"margin_mean[{split}]": here.mean(-1), f"margin_min[{split}]": here.amin(-1)}
    return columns


def orbit_columns(at: Checkpoints) -> Columns:
    """The least norm with which the same function can be written, how far from it the network is, and path norms."""
    plain, least = orbits.part_norms(at.params, at.model), orbits.orbit_minimal_norm(at.params, at.model)
    columns = {"norm_min": least.total, "norm_excess": plain.total / least.total}
    for part in ("qk", "vo", "mlp"):
        columns |= _by_layer(f"norm_excess[{part}", getattr(plain, part) / getattr(least, part))
    return columns | _by_layer("path_norm[mlp", orbits.path_norm(at.params, at.model))


def sparsity_columns(at: Checkpoints) -> Columns:
    """How few frequencies a feature or a neuron uses, and how few directions W_L."""
    return {
        "ipr[W_E]": neurons.inverse_participation(at.W_E).mean(-1),
        "ipr[W_L]": neurons.inverse_participation(at.W_L.mT).mean(-1),
        "low_rank_residual[W_L]": neurons.low_rank_residual(at.W_L, 2 * len(at.key_freqs)),
    }


def hessian_columns(at: Checkpoints) -> Columns:
    """The spectrum of the training loss's Hessian; a second or more for each checkpoint."""
    return spectrum_columns(at.params, at.model, at.task)


def _by_layer(name: str, values: Tensor) -> Columns:
    """A column per layer, `name, l]`; without the number in a network of one layer."""
    layers = range(values.shape[1])
    return {f"{name}]" if len(layers) == 1 else f"{name}, {layer}]": values[:, layer] for layer in layers}


SLOW = ("hessian", "llc")  # groups that are measured only when they are asked for
GROUPS: dict[str, Callable[[Checkpoints], Columns]] = {
    "fourier": fourier_columns,
    "circuits": circuit_columns,
    "scale": scale_columns,
    "orbits": orbit_columns,
    "sparsity": sparsity_columns,
    "hessian": hessian_columns,
}
