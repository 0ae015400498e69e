"""Can a circuit be found from the loss landscape alone, without asking for waves?

Every neuron of a network is moved a little, the others standing still, and the loss that this causes is held against
the loss of each pair: susceptibilities. Neurons are grouped by them, without any knowledge of how tokens are numbered,
and the groups compared with the clusters of neurons that a Fourier transform finds at the end of training. The same
grouping is given what else is known of neurons: noise without a likelihood, activations, gradients times activations,
random directions of the Jacobian, what a neuron writes. A part counts only if the network needs it: its neurons are set
to zero, and as many random ones. First all of it is asked of networks whose parts were planted.

    python analyses/discovery.py            # ten seeds; half an hour
    python analyses/discovery.py --quick    # two, small and for few steps: seconds
"""

from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.exact.planted import planted_network
from circuitgrok.measures.learning.crossings import events
from circuitgrok.measures.parts.last_block import last_block
from circuitgrok.measures.parts.matching import adjusted_rand, average_precision, principal_cosines
from circuitgrok.measures.parts.modes import independent_modes, nonnegative_modes, scaled, subspace_groups
from circuitgrok.measures.spectra.fourier import fourier_basis, frequency_power, neuron_logit_spectrum, sum_table
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, where
from circuitgrok.study.processes import in_processes
from circuitgrok.study.rows import listed
from circuitgrok.study.study import Study, evenly
from circuitgrok.table.susceptibilities import Susceptibilities, discovered, susceptibilities, susceptibilities_of
from circuitgrok.tasks.modular import modular_addition

N_DRAWS = 128
NINES, PLANTED_FREQS, PLANTED_P = 4, (1, 3, 4), 13
WAYS = ("non-negative", "independent")  # of grouping susceptibilities, beside subspaces
OTHERS = ("noise alone", "activations", "gradient × activation", "Jacobian", "written")  # grouped by subspaces
NAMES = ("susceptibilities", *WAYS, *OTHERS)
MOMENTS = ("memorised", "end")
COLOURS = dict(zip(MOMENTS, (figures.RED, figures.BLUE), strict=True))
memorised, end, planted = (where(moment=moment) for moment in (*MOMENTS, "planted"))
ARI = "adjusted Rand index"


def of(name: str) -> str:
    """Column of a way's agreement with the clusters."""
    return f"ari[{name}]"


def beats(name: str, bound: float, text: str) -> Any:
    """The claim that susceptibilities agree better with the clusters at the end than something else."""
    return Mean(end, of("susceptibilities"), f"{ARI}, less that of {name}", by=of(name), bounds=(-2, 2)).exceeds(
        bound, text
    )


CLAIMS = [
    Mean(planted, of("susceptibilities"), ARI, bounds=(-1, 1)).exceeds(
        0.8, "Of networks with planted circuits, susceptibilities find the neurons of each frequency: the adjusted "
        "Rand index is above 0.8.",
    ),
    Mean(end, of("susceptibilities"), ARI, bounds=(-1, 1))
    .exceeds(0.3, "At the end of training they find the clusters of neurons: above 0.3."),
    beats("non-negative", 0.1, "What finds them are subspaces: over 0.1 more than by non-negative factors."),
    beats("independent", 0.1, "And over 0.1 more than by independent components."),
    Mean(end, of("susceptibilities"), f"{ARI}, less that of noise alone", by=of("noise alone"), bounds=(-2, 2))
    .is_within(0.1, "The likelihood adds nothing there: noise without one groups as well, to 0.1."),
    Mean(end, of("susceptibilities"), f"{ARI}, less the best of others", by="best_other", bounds=(-2, 2)).exceeds(
        0, "They tell more than what else is known of neurons: more than the best of noise, activations, gradients, "
        "Jacobian and what is written.",
    ),
    Mean(end, "needed", "rise of the training loss (nats), less that without random neurons")
    .exceeds(0.5, "The network needs the parts: without one its loss is over half a nat above that without as many "
             "random neurons, in the mean over parts."),
    Mean(end, "waves", "mean cosine", bounds=(0, 1)).exceeds(
        0.5, "Their patterns over pairs are waves of a + b of the key frequencies: the mean cosine of the principal "
        "angles is above 0.5.",
    ),
    Mean(memorised, of("susceptibilities"), ARI, bounds=(-1, 1))
    .exceeds(0.05, "When all is memorised and nothing generalised they find clusters of the end already: above 0.05."),
    Mean(memorised, "precision", "average precision, less chance", by="precision_chance", bounds=(-1, 1))
    .exceeds(0.1, "They rank the key frequencies of the end then: over 0.1 more precise than chance."),
    Mean(memorised, "precision", "average precision, less that of W_L", by="precision_W_L", bounds=(-1, 1))
    .exceeds(0, "And more precise than the spectrum of W_L."),
]  # fmt: skip
STUDY = Study(
    "Can a circuit be found from the loss landscape alone?",
    cg.TrainConfig.preset("quickstart").with_(
        split="mirror_free",
        d_model=32,
        d_head=8,
        d_mlp=128,
        frac_train=0.8,
        lr=2e-3,
        steps=4000,
        eval_every=25,
        **evenly(25),
    ),
    {"decay 2": {}},
    claims=CLAIMS,
)
QUICK = STUDY.with_(seeds=[0, 1], p=11, d_mlp=24, d_model=16, d_head=4, frac_train=0.8, steps=300)


def grouped(found: Susceptibilities, others: dict[str, Tensor], n: int) -> dict[str, Tensor]:
    """Groups of neurons by every way."""
    chi = found.response.chi
    groups = {"susceptibilities": subspace_groups(chi, n)}
    groups |= {"non-negative": nonnegative_modes(scaled(chi), n).groups}
    groups |= {"independent": independent_modes(scaled(chi), n).groups}
    return groups | {
        name: subspace_groups(rows, n) for name, rows in {"noise alone": found.response.blind, **others}.items()
    }


def known_otherwise(run: Run, step: int) -> dict[str, Tensor]:
    """What else is known of each neuron for every pair (of `written`, for every class)."""
    block = last_block(run.at(step), run.config.transformer, run.task.inputs)
    post, gate = block.post.T.double(), (block.pre.T > 0).double()
    writes = block.W_write.double()
    logits = block.read(block.skip + block.mlp).double()
    error = logits.softmax(-1)
    error[torch.arange(len(error)), run.task.labels] -= 1
    reads = block.resid_mid.double().square().sum(1) + 1  # and the bias
    out = block["mlp.W_out"].double() @ run.at(step)["unembed.W_U"].double()
    moved = gate * reads * out.square().sum(1, keepdim=True) + post.square() * out.square().mean()
    return {
        "activations": post - post.mean(1, keepdim=True),
        "gradient × activation": post * (writes @ error.T),
        "Jacobian": moved,
        "written": writes - writes.mean(1, keepdim=True),
    }


def clusters(run: Run) -> Tensor:
    """The frequency of each neuron's cluster at the end of training, 0 for those in none."""
    table = cg.neurons(run, run.steps[-1]).sort_index()
    return torch.tensor(table["cluster"].tolist())


def of_waves(rows: Tensor) -> Tensor:
    """Energy of scaled rows over all pairs in waves of a + b, by frequency from 1."""
    return frequency_power(sum_table(scaled(rows).T))


def measured(run: Run, moment: str) -> dict[str, Any]:
    """One moment of one run as a line of the table."""
    times = events(run.history)
    by = times["memorised"].by
    step = run.steps[-1] if moment == "end" or by is None else next(s for s in run.steps if s >= by)
    true, p = clusters(run), run.config.transformer.p
    keys = true[true > 0].unique()
    live, n = true > 0, max(2, len(keys))
    found = susceptibilities(run, step, n_draws=N_DRAWS, seed=run.config.init.seed)
    groups = grouped(found, known_otherwise(run, step), n)
    line: dict[str, Any] = {"moment": moment, "step": step, "test_acc": run.history["test_acc"][step]}
    line |= {of(name): adjusted_rand(which[live], true[live]) for name, which in groups.items()}
    line["best_other"] = max(line[of(name)] for name in OTHERS)
    parts = discovered(found, run.at(step), run.model, run.task, n, seed=run.config.init.seed)
    line["needed"] = (parts.table["train"] - parts.table["train_random"]).mean()
    line |= {"n_clusters": len(keys), "in_clusters": live.double().mean().item(), "loss": found.losses.mean().item()}
    line |= {"signal": (found.response.chi.norm() / found.response.se.norm()).item(), "nbeta": found.nbeta}
    line["worth"] = found.response.worth.min().item()
    rows = torch.stack([2 * keys - 1, 2 * keys], 1).flatten()
    a, b = torch.cartesian_prod(torch.arange(p), torch.arange(p)).T
    waves = fourier_basis(p)[rows][:, (a + b) % p]
    line["waves"] = principal_cosines(parts.patterns, waves).mean().item() if len(keys) else float("nan")
    weights = run.at(step)
    spectra = {
        "": of_waves(found.response.chi),
        "_W_L": neuron_logit_spectrum(run.model.neuron_to_logit(weights), p),
        "_W_E": frequency_power(weights["embed.W_E"][:p]),
    }
    line |= {f"precision{name}": average_precision(energy, keys - 1) for name, energy in spectra.items() if len(keys)}
    return line | {"precision_chance": len(keys) / (p // 2)}


def of_planted(seed: int, p: int, n_draws: int) -> dict[str, Any]:
    """A network whose parts are known, as a line of the table."""
    task, own = modular_addition(p, 0.6, seed=seed, split="mirror_free"), 100 + seed  # not those of the design
    network = planted_network(p, PLANTED_FREQS, n_decoys=6, nines=NINES, circuit=4.0, seed=own)
    found = susceptibilities_of(network.params, network.model, task, nbeta=10.0, n_draws=n_draws, seed=own)
    live, chi = network.group > 0, found.response.chi
    n, blind = len(PLANTED_FREQS), found.response.blind
    groups = {"susceptibilities": subspace_groups(chi, n), "noise alone": subspace_groups(blind, n)}
    groups |= {"non-negative": nonnegative_modes(scaled(chi), n).groups}
    groups |= {"independent": independent_modes(scaled(chi), n).groups}
    line = {of(name): adjusted_rand(which[live], network.group[live]) for name, which in groups.items()}
    return {"moment": "planted", "seed": seed, "arm": "planted", **line}


def draw(table: pd.DataFrame) -> "figures.Figure":
    """Agreement with the clusters by every way, at both moments; what parts are needed for; precision."""
    figure, (left, middle, right) = figures.sheet(1, 3, (10.2, 3.8), width_ratios=[2.2, 1, 1])
    for i, name in enumerate(NAMES):
        for shift, (moment, colour) in zip((-0.15, 0.15), COLOURS.items(), strict=True):
            values = where(moment=moment)(table)[of(name)]
            left.plot(values, [i + shift] * len(values), "o", ms=3, color=colour, alpha=0.5)
            label = f"{moment}, median" if i == 0 else None
            left.plot(values.median(), i + shift, "|", ms=12, mew=2, color=colour, label=label)
    left.set_yticks(range(len(NAMES)), NAMES)
    left.invert_yaxis()
    left.axvline(0, color=figures.GREY, lw=0.8)
    left.set_xlabel("agreement with the clusters of the end (adjusted Rand index)")
    rows = end(table)
    middle.plot(rows["needed"], rows[of("susceptibilities")], "o", color=figures.BLUE, ms=4)
    middle.set(xlabel="rise of the loss without a part,\nless that without random neurons (nats)")
    middle.set_ylabel("adjusted Rand index, end")
    names = {"precision": "χ", "precision_W_L": "W_L", "precision_W_E": "W_E", "precision_chance": "chance"}
    for i, column in enumerate(names):
        values = memorised(table)[column]
        right.plot([i] * len(values), values, "o", ms=3, color=figures.RED, alpha=0.5)
        right.plot(i, values.median(), "_", ms=14, mew=2, color=figures.RED)
    right.set_xticks(range(len(names)), list(names.values()))
    right.set(ylabel="precision of key frequencies\nwhen memorised", ylim=(0, 1.03))
    figures.legends([left])
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "a small network, two seeds")
    runs = study.train(given)
    p, n_draws = (11, 8) if given.quick else (PLANTED_P, 512)
    jobs = [partial(measured, run, moment) for run in runs.values() for moment in MOMENTS]
    jobs += [partial(of_planted, seed, p, n_draws) for seed in study.seeds]
    found = in_processes(jobs, given.threads, "measuring", "moments")
    labels = [study.labels()[name] for name in runs for _ in MOMENTS]
    rows = [{**label, **line} for label, line in zip(labels, found, strict=False)] + found[len(labels) :]
    table = pd.DataFrame(rows)
    means = table[table["moment"] != "planted"].groupby("moment")[[of(name) for name in NAMES]].mean().T
    about = table.groupby("moment", sort=False)[["step", "test_acc", "n_clusters", "in_clusters", "signal", "worth"]]
    told = "{}: step {:.0f}, test accuracy {:.2f}, {:.1f} clusters, {:.2f} of neurons in one, susceptibilities "
    told += "{:.2g} times their errors, at least {:.0f} draws count"
    planted_means = planted(table)[[of(n) for n in ("susceptibilities", "noise alone", *WAYS)]].mean()
    notes = [
        f"{N_DRAWS} draws for each neuron, width 0.05 of the weights, nβ = n / ln n. As many groups as there are "
        "clusters at the end (neurons of one frequency, purity 0.85), for every way; agreement is of the neurons in a "
        "cluster. Both moments are asked for the clusters of the end.",
        f"Means over seeds: {listed(about.mean().iloc[:2], told, '; ')}.",
        f"Adjusted Rand indices, means (end, memorised): {listed(means, '{} {:.2f}, {:.2f}', '; ')}.",
        f"Planted: p = {PLANTED_P}, frequencies {', '.join(map(str, PLANTED_FREQS))}, {9 * NINES} neurons each with "
        f"turned phases, six decoys, 512 draws, nβ 10; {listed(planted_means, '{} {:.2f}')}.",
        "Ridge and scaling of the grouping were chosen on three planted networks and on the reference run, and budget "
        "and rate on seeds 90 and 91, none of which are among these.",
    ]
    study.write(given, table, draw(table), notes, runs=study.table(runs))


if __name__ == "__main__":
    main()
