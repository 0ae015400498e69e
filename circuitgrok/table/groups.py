"""The groups of measures that make the columns of a run's table; a group is a function of some checkpoints.

Adding a measure means adding a column to a group here, or a group to `GROUPS` (and to `needs.NEEDS`, if it makes no
sense for some runs). The formulas live in their own files.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from circuitgrok.device import CPU, moved
from circuitgrok.errors import Undefined
from circuitgrok.interventions.losses import accuracy, cross_entropy, within_tolerance
from circuitgrok.landscape.hessian_along import spectrum_columns
from circuitgrok.measures import scores
from circuitgrok.measures.circuits.ablations import ablation_scores, control_scores
from circuitgrok.measures.circuits.controls import random_sets
from circuitgrok.measures.circuits.explained import cosine_coefficients, frac_explained, frac_explained_within_classes
from circuitgrok.measures.circuits.restricted import (
    Circuit,
    excluded_losses,
    logit_circuit,
    neuron_circuit,
    of_sets,
    parts_of,
    restricted_losses,
    together,
)
from circuitgrok.measures.circuits.unseen import is_sparse, restricted_loss_blank, restricted_loss_unseen
from circuitgrok.measures.learning import memorization
from circuitgrok.measures.parts import attention, clock_pizza, neurons, representations
from circuitgrok.measures.parts.last_block import stacked
from circuitgrok.measures.parts.logit_forms import accompanying_share, circle_turns, logit_forms
from circuitgrok.measures.spectra import complexity, fourier
from circuitgrok.measures.spectra.sum_waves import Rivals, losses_of_sums, rivals
from circuitgrok.measures.spectra.tuning import NeuronFrequencies, WaveShares, frequencies_of, shares_of
from circuitgrok.models.kinds import transformer_of
from circuitgrok.table.checkpoints import SPLITS, Opened
from circuitgrok.table.polar import orbit_columns

Columns = dict[str, Tensor]
Some = Mapping[str, Tensor | Undefined]  # columns, some of which may have no value here
N_CONTROLS = 16  # random sets of frequencies
SIDES = ("train", "test")
SEED = 0  # of all draws that a measure makes: of random sets, random neurons, triples


def fourier_columns(at: Opened) -> Columns:
    """Spectra of the embedding (or of a's rows of W_in) and of the neuron-to-logit map, and how sparse they are."""
    columns = {"gini[W_E]": fourier.fourier_gini(at.W_E), "gini[W_L]": fourier.fourier_gini(at.W_L.mT)}
    spectra = {"W_E": fourier.frequency_power(at.W_E), "W_L": fourier.frequency_power(at.W_L.mT)}
    for tensor, power in spectra.items():
        columns |= {f"spectral_entropy[{tensor}]": complexity.spectral_entropy(power)}
        columns |= {f"power_{tensor}[{k + 1}]": power[:, k] for k in range(power.shape[1])}
    return columns


def circuit_columns(at: Opened) -> Columns:
    """Loss and accuracy in full, of the circuit alone and without it, at the logits and at the neurons; controls."""
    every = logit_circuit(at.logits, torch.arange(1, at.hidden.m // 2 + 1))
    each, against = Circuit(every.waves[:, at.key_freqs - 1], every.mean), rivals(at.logits, at.labels)
    parts = Circuit(torch.cat([together(each).waves, each.waves], dim=1), every.mean)  # all at once, then each
    restricted, excluded = restricted_losses(parts, at.labels), excluded_losses(parts, against)
    by_pair = {
        "loss": cross_entropy(at.logits, at.labels),
        "accuracy": (at.logits.argmax(-1) == at.labels).double(),
        "restricted_loss": restricted[:, 0],
        "restricted_loss_no_mean": losses_of_sums(parts.waves[:, 0], at.labels),
        "excluded_loss": excluded[:, 0],
    }
    if at.model.reads_linearly:
        of_neurons = together(neuron_circuit(at.neurons, at.W_L / at.temperature, at.logits, at.key_freqs))
        by_pair["restricted_act_loss"] = restricted_losses(of_neurons, at.labels)[:, 0]
        by_pair["excluded_act_loss"] = excluded_losses(of_neurons, against)[:, 0]
    columns = {
        f"{name}[{split}]": values[:, at.where(split)].mean(-1) for name, values in by_pair.items() for split in SPLITS
    }
    train, everywhere = at.where("train"), at.where("all")
    for i, k in enumerate(at.key_freqs.tolist(), start=1):
        columns[f"excluded_loss[{k}]"] = excluded[:, i, train].mean(-1)
        columns[f"restricted_loss[{k}]"] = restricted[:, i].mean(-1)
    unseen = at.where("test_mirror_unseen")
    columns["restricted_loss_unseen"] = restricted_loss_unseen(at.logits, at.labels, at.key_freqs, unseen)
    columns["restricted_loss_blank"] = restricted_loss_blank(at.logits, at.labels, at.key_freqs, unseen, everywhere)
    columns |= _random_controls(at, every, against)
    columns["frac_explained"] = frac_explained(at.logits, at.key_freqs)
    columns["frac_explained_within_classes"] = frac_explained_within_classes(at.logits, at.key_freqs)
    alpha = cosine_coefficients(at.logits)
    return columns | {f"cosine_coefficient[{k}]": alpha[:, k - 1] for k in at.key_freqs.tolist()}


def _random_controls(at: Opened, every: Circuit, against: Rivals) -> Columns:
    """Losses of as many other frequencies, mean and spread over random sets; nan where there are not as many."""
    columns = {}
    drawn = of_sets(every, random_sets(at.key_freqs, at.hidden.m, N_CONTROLS, SEED))
    for kind, by_pair in {
        "restricted": restricted_losses(drawn, at.labels),
        "excluded": excluded_losses(drawn, against)[..., at.where("train")],
    }.items():
        losses = by_pair.mean(-1)
        if not is_sparse(at.key_freqs, at.hidden.m):
            losses = torch.full_like(losses, torch.nan)
        columns[f"{kind}_loss_random"], columns[f"{kind}_loss_random_sd"] = losses.mean(-1), losses.std(-1)
    return columns


def memorization_columns(at: Opened) -> Columns:
    """What the circuit and the rest each carry of the right answers, and what a unit of norm buys."""
    parts = parts_of(at.logits, at.key_freqs)
    margins = {s: memorization.mean_margins(parts, at.labels, at.where(s)) for s in SIDES}
    shares = {split: memorization.margin_shares(margin) for split, margin in margins.items()}
    columns = {f"circuit_share[{split}]": share.circuit for split, share in shares.items()}
    columns["memorised_share[train]"] = shares["train"].memorised
    if at.model.has_heads:  # of other networks the least norm on the orbit is not known
        efficiency = memorization.efficiency(margins["train"], at.least_norms.total)._asdict()
        columns |= {f"efficiency[{part}]": value for part, value in efficiency.items()}
    credit = memorization.credit(memorization.answered_right(parts, at.labels), at.where("train"))
    columns |= {f"pairs_{who}[train]": share for who, share in credit._asdict().items()}
    columns["low_ipr_share[W_L]"] = memorization.low_ipr_share(neurons.inverse_participation(at.W_L.mT))
    if bool(at.is_corrupted.any()):
        true = at.hidden.true_labels
        fit = memorization.label_fit(at.logits, at.labels, true, at.where("train"), at.is_corrupted)
        columns |= {f"label_fit[{which}]": share for which, share in fit._asdict().items()}
    return columns


def scale_columns(at: Opened) -> Columns:
    """Size of the logits, and margins on each side of the split."""
    return _sizes(at.logits, at.labels, {split: at.where(split) for split in SIDES})


def score_columns(at: Opened) -> Columns:
    """The trained loss and accuracy on each side of the split; for classes, size of the logits and margins too."""
    sides = {split: at.task.where(split) for split in SIDES}
    columns = {}
    for split, here in sides.items():
        outputs, labels = at.outputs[:, here], at.task.labels[here]
        numbers = labels.is_floating_point()
        columns[f"loss[{split}]"] = at.loss.exact(outputs, labels)
        columns[f"accuracy[{split}]"] = (
            within_tolerance(outputs, labels, at.tolerance) if numbers else accuracy(outputs, labels)
        )
    return columns if at.task.labels.is_floating_point() else columns | _sizes(at.outputs, at.task.labels, sides)


def _sizes(logits: Tensor, labels: Tensor, sides: dict[str, Tensor]) -> Columns:
    scale, margins = scores.logit_scale(logits), scores.margin(logits, labels)
    columns = {"logit_scale": scale.mean_abs, "logit_std": scale.std}
    for split, where in sides.items():
        here = margins[:, where]
        columns |= {f"margin_mean[{split}]": here.mean(-1), f"margin_min[{split}]": here.amin(-1)}
    return columns


def irrep_columns(at: Opened) -> Columns:
    """How much of the logits' variance is a function of the product in each irrep, and how like its trace."""
    if at.group is None:
        raise ValueError("irreps are of the products of a finite group; got checkpoints without one")
    logits = at.outputs[..., : at.group.order]
    share = representations.logit_irrep_share(logits, at.group)
    similarity = representations.logit_trace_similarity(logits, at.group)
    columns = {f"irrep_share[{name}]": share[:, i] for i, name in enumerate(at.group.irreps)}
    return columns | {f"trace_similarity[{name}]": similarity[:, i] for i, name in enumerate(at.group.irreps)}


def sparsity_columns(at: Opened) -> Columns:
    """How few frequencies a feature or a neuron uses, and how few directions the weights."""
    return {
        "ipr[W_E]": neurons.inverse_participation(at.W_E).mean(-1),
        "ipr[W_L]": neurons.inverse_participation(at.W_L.mT).mean(-1),
        "low_rank_residual[W_L]": neurons.low_rank_residual(at.W_L, 2 * len(at.key_freqs)),
        "effective_rank[W_E]": complexity.effective_rank(at.W_E),
        "effective_rank[W_L]": complexity.effective_rank(at.W_L),
        "stable_rank[W_E]": complexity.stable_rank(at.W_E),
        "stable_rank[W_L]": complexity.stable_rank(at.W_L),
    }


def neuron_columns(at: Opened) -> Columns:
    """How purely neurons are tuned, to which key frequencies, and what their waves of a + b reach W_L's directions."""
    tuned = NeuronFrequencies(*(torch.stack(field) for field in zip(*map(frequencies_of, at.spectra), strict=True)))
    sizes = neurons.cluster_sizes(tuned, at.hidden.m)
    phases, pure = neurons.neuron_phases(at.reads, at.W_L, tuned.freq), neurons.in_cluster(tuned)
    columns = {
        "neuron_purity": tuned.purity.mean(-1),
        "pure_neurons": pure.double().mean(-1),
        "phase_alignment": neurons.phase_alignment(phases, pure),
        **{f"cluster_size[{k}]": sizes[:, k - 1] for k in at.key_freqs.tolist()},
    }
    if len(at.key_freqs):
        directions = complexity.wave_directions(at.W_L, at.key_freqs)
        explained = complexity.direction_tuning(at.neurons, directions).frac_explained
        columns |= {"direction_fve_mean": explained.mean(-1), "direction_fve_min": explained.amin(-1)}
    keys = at.key_freqs - 1
    shares = [shares_of(spectrum) for spectrum in at.spectra]
    for kind in WaveShares._fields:
        columns[f"neuron_share[{kind}]"] = torch.stack([getattr(share, kind)[keys].sum() for share in shares])
    return columns


def attention_columns(at: Opened) -> Columns:
    """Where each head of the last block looks, how sharply, and to which frequency it is tuned."""
    model = transformer_of(at.model)
    pattern = torch.stack([one.pattern for one in at.last_blocks]).mT  # [ckpt pair head pos]
    mass, entropy = attention.attention_mass(pattern), attention.attention_entropy(pattern)
    names = ("a", "b", "=")[: model.n_positions]
    heads = range(model.n_heads)
    columns = {f"attention[head {h}, {name}]": mass[:, h, i] for h in heads for i, name in enumerate(names)}
    columns |= {f"attention_entropy[head {h}]": entropy[:, h] for h in heads}
    tiny = torch.finfo(pattern.dtype).tiny
    softmax = (pattern - (1 - model.attention_rate)).clamp(min=tiny).log()  # scores, up to what softmax forgets
    tuned = attention.head_tuning(softmax[..., 0] - softmax[..., 1])
    columns |= {f"head_freq[head {h}]": tuned.freq[:, h] for h in heads}
    return columns | {f"head_fve[head {h}]": tuned.frac_explained[:, h] for h in heads}


def form_columns(at: Opened) -> Some:
    """Clock or pizza: symmetricity of gradients, distance irrelevance, circularity, and both forms of the logits."""
    model, m = transformer_of(at.model), at.hidden.m
    drawn = clock_pizza.sample_triples(m, torch.Generator().manual_seed(SEED))
    inputs = at.inputs[drawn[:, 0] * m + drawn[:, 1]]
    triples = torch.stack([inputs[:, 0], inputs[:, 1], at.hidden.classes[drawn[:, 2]]], dim=1)
    gradients = clock_pizza.logit_gradients(model, at.params, triples)
    symmetry = clock_pizza.gradient_symmetricity(gradients)
    irrelevance = clock_pizza.distance_irrelevance(at.logits, at.labels)
    turns = None
    if model.own_tokens:
        turns = circle_turns(at.params["embed.W_E"], model.p, at.key_freqs)
    forms = logit_forms(at.logits, at.key_freqs, turns)
    is_solved = (at.logits.argmax(-1) == at.labels).all(-1)
    columns: dict[str, Tensor | Undefined] = {
        "gradient_symmetricity": symmetry.mean,
        "gradient_symmetricity_se": symmetry.stderr,
        "distance_irrelevance": irrelevance,
        "circularity": _if_defined(lambda: clock_pizza.circularity(at.W_E, m)),
        "is_pizza": clock_pizza.is_pizza(symmetry.mean, irrelevance).double().where(is_solved, torch.nan),
        "frac_pizza": forms.pizza.sum(-1),
        "frac_clock_and_pizza": forms.both.sum(-1),
    }
    return columns | {f"pizza_coefficient[{k}]": forms.beta[:, i] for i, k in enumerate(at.key_freqs.tolist())}


def circle_columns(at: Opened) -> Columns:
    """Clock or pizza by circle: what each writes alone, and what the circle of twice its frequency writes beside it.

    A forward over all pairs for each. In the whole network's logits circles even each other out.
    """
    p, columns = at.hidden.m, {}
    for k in at.key_freqs.tolist():
        key = torch.tensor([k])
        logits, turns = _of_circle(at, k)
        forms = logit_forms(logits, key, turns)
        columns |= {f"circle_pizza[{k}]": forms.pizza[:, 0], f"circle_clock[{k}]": forms.clock[:, 0]}
        if 2 * k == p:  # twice this frequency is a constant
            continue
        logits, turns = _of_circle(at, min(2 * k, p - 2 * k))
        if turns is not None and 2 * k > p // 2:  # it is called p - 2 k, and runs backwards
            turns = -turns
        columns[f"accompanying_pizza[{k}]"] = accompanying_share(logits, key, turns)[:, 0]
    return columns


def _of_circle(at: Opened, freq: int) -> tuple[Tensor, Tensor | None]:
    """The logits with one circle left in the embedding; how far b's is turned, if b has its own."""
    model = transformer_of(at.model)
    with torch.no_grad():
        logits = at.hidden.classed(model.logits(clock_pizza.one_circle(model, at.params, freq), at.inputs)).double()
    turns = circle_turns(at.params["embed.W_E"], model.p, torch.tensor([freq])) if model.own_tokens else None
    return logits, turns


def ablation_columns(at: Opened) -> Columns:
    """Loss and accuracy on both sides of the split without each part of the last block, and without random neurons."""
    where = torch.stack([at.where(split) for split in SIDES])
    classes = at.hidden.classes
    tables = []
    for one in at.last_blocks:
        labels = classes[at.labels]
        cut = ablation_scores(one, labels, where, at.key_freqs)
        tables.append(cut | control_scores(one, labels, where, at.key_freqs, seed=SEED))
    columns = {}
    for name, found in stacked(tables).items():
        for field, values in found._asdict().items():
            columns |= {f"{field}[{name}, {s}]": values[:, i] for i, s in enumerate(SIDES)}
    return columns


def hessian_columns(at: Opened) -> Columns:
    """The spectrum of the training loss's Hessian, on the CPU; a second or more for each checkpoint."""
    return spectrum_columns(moved(at.params, CPU), at.model, moved(at.task, CPU))


def _if_defined(compute: Callable[[], Tensor]) -> Tensor | Undefined:
    """What is computed, or why it has no value: the group's other columns stay."""
    try:
        return compute()
    except Undefined as reason:
        return reason


SLOW = ("circles", "ablations", "hessian", "llc")  # groups that are measured only when they are asked for
GROUPS: Mapping[str, Callable[[Opened], Some]] = {
    "fourier": fourier_columns,
    "circuits": circuit_columns,
    "memorization": memorization_columns,
    "scale": scale_columns,
    "orbits": orbit_columns,
    "sparsity": sparsity_columns,
    "neurons": neuron_columns,
    "attention": attention_columns,
    "forms": form_columns,
    "circles": circle_columns,
    "scores": score_columns,
    "irreps": irrep_columns,
    "ablations": ablation_columns,
    "hessian": hessian_columns,
}
