"""Do the stiffest directions of the Hessian belong to the circuit's key frequencies, before and after grokking?

Two arms from the same weights and splits: `grokking`, and a `control` without weight decay, which memorises and does
not generalise. At four moments (before training, first checkpoint after memorisation, half-way from there to grokking,
end of the run; the control at the steps of the run with its seed) the ten largest eigenpairs of the Hessian of the
training loss are found, and what each eigenvector does to the logits is split into the clock of each frequency k
(waves of a + b times waves of c), other functions of k alone, and the rest. The key frequencies come from the last
checkpoint.

Chance has three meanings here: independent logits (dimensions over dimensions), other frequencies in the same
directions, and random directions of the same network. The last counts most: a network's Jacobian has preferences
without any curvature. The Hessian is exact and of the bare loss; on the design run (seed 0, left out here) the ten
largest eigenvalues of the Gauss-Newton matrix, and the clock shares of their eigenvectors, were within 5 % of its own.

    python analyses/landscape_to_circuit.py            # minutes
    python analyses/landscape_to_circuit.py --quick    # seconds: a smaller network that may not grok
"""

import math

import pandas as pd
import torch
from torch import Tensor

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.landscape.flat import logits_on, loss_on
from circuitgrok.landscape.hessian import extreme_eigenpairs, hessian_operator
from circuitgrok.landscape.stiffness import LogitShares, chance_shares, stiffness_map
from circuitgrok.measures.learning.crossings import events
from circuitgrok.store.run import Run
from circuitgrok.study import verdicts
from circuitgrok.study.verdicts import Claim, above, mean_interval
from circuitgrok.table.checkpoints import key_frequencies
from circuitgrok.training.progress import LiveProgress
from circuitgrok.tree import ROLES

QUESTION = "Can circuits be found from the loss landscape: do its stiffest directions belong to the key frequencies?"
ARMS = {"grokking": figures.BLUE, "control": figures.RED}
MOMENTS = ["start", "memorised", "half-way", "end"]
TOP, RANDOM = 10, 20  # eigenvectors, and random directions to compare them with
RULE = "wl_energy"


def configs(seeds: list[int], quick: bool) -> dict[str, cg.TrainConfig]:
    """Both arms for every seed; a seed sets the initial weights and the split of both arms."""
    base = cg.TrainConfig.preset("quickstart").with_(checkpoint_every=100, steps=6000)
    if quick:
        base = base.with_(p=7, frac_train=0.8, d_model=16, d_head=4, d_mlp=32, lr=1e-2, weight_decay=3.0)
        base = base.with_(steps=150, checkpoint_every=10)
    base = base.with_(checkpoints_per_decade=0, checkpoint_on_move=100.0)
    decays = {"grokking": base.optimizer.weight_decay, "control": 0.0}
    return {
        f"{arm}-s{seed}": base.with_(seed=seed, data_seed=seed, weight_decay=decays[arm])
        for arm in ARMS
        for seed in seeds
    }


def moments(run: Run) -> list[int]:
    """The checkpoints of the four moments; an event that did not happen counts as the end of the run."""
    end = run.steps[-1]
    memorised, grokked = (end if event.by is None else event.by for event in events(run.history).values())
    first = next(step for step in run.steps if step >= memorised)
    return [0, first, min(run.steps, key=lambda step: abs(step - (memorised + grokked) / 2)), end]


def by_frequency(shares: LogitShares, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean over directions of the share of each frequency's clock, and of all functions of it alone."""
    return weights @ shares.clock, weights @ (shares.clock + shares.single)


def precision(energy: Tensor, keys: Tensor) -> float:
    """Share of key frequencies among as many with the largest energy."""
    found = energy.argsort(descending=True)[: len(keys)] + 1
    return torch.isin(found, keys).double().mean().item()


def measure(run: Run, step: int, keys: Tensor, own: Tensor) -> tuple[dict[str, object], Tensor]:
    """One moment of one run as a line of the table, and each eigenvector's share by frequency, `[eig freq]`."""
    model, task, params = run.config.transformer, run.task, run.at(step)
    loss, at, _ = loss_on(model, params, task, task.is_train)
    logits = logits_on(model, params, task.inputs)
    draws = torch.Generator().manual_seed(run.config.init.seed)
    pairs = extreme_eigenpairs(hessian_operator(loss, at), len(at), n_top=TOP, n_bottom=0, generator=draws)
    drawn = torch.randn(RANDOM, len(at), generator=draws, dtype=at.dtype)
    stiff, random = stiffness_map(logits, pairs.vectors), stiffness_map(logits, drawn)
    weights = pairs.values / pairs.values.sum()
    clock, alone = by_frequency(stiff.logits, weights)
    clock_random, alone_random = by_frequency(random.logits, torch.full((RANDOM,), 1 / RANDOM, dtype=at.dtype))
    chance = chance_shares(model.p)
    row = {
        "step": step,
        "train_loss": loss(at).item(),
        "test_acc": run.history["test_acc"][step],
        "key_freqs": " ".join(map(str, keys.tolist())),
        "own_freqs": " ".join(map(str, own.tolist())),
        "largest": pairs.values[0].item(),
        "tenth": pairs.values[-1].item(),
        "residual": (pairs.residuals / pairs.values).max().item(),
        "clock": clock[keys - 1].sum().item(),
        "clock_chance": chance.clock[keys - 1].sum().item(),
        "clock_other": len(keys) * clock.mean().item(),  # the mean over all sets of as many frequencies
        "clock_random": clock_random[keys - 1].sum().item(),
        "clock_own": (clock[own - 1].sum() / chance.clock[own - 1].sum()).item(),
        "alone": alone[keys - 1].sum().item(),
        "alone_chance": (chance.clock + chance.single)[keys - 1].sum().item(),
        "alone_random": alone_random[keys - 1].sum().item(),
        "bias": (weights @ stiff.logits.bias).item(),
        "rest": (weights @ stiff.logits.rest).item(),
        "precision": precision(alone, keys),
        "precision_clock": precision(clock, keys),
        "precision_chance": len(keys) / len(alone),  # hypergeometric
        "precision_random": precision(alone_random, keys),
        **{f"role[{name}]": share for name, share in zip(ROLES, (weights @ stiff.roles).tolist(), strict=True)},
    }
    return row, stiff.logits.clock + stiff.logits.single


def compare(text: str, over: pd.Series, under: pd.Series, least: float = 1.0) -> Claim:
    """That a ratio of columns is above `least`: paired by seed, decided by the interval of its mean logarithm."""
    interval = mean_interval((over / under).map(math.log).tolist())
    numbers = ", ".join(f"{math.exp(x):.3g}" for x in interval)
    said = f"{over.name} / {under.name}, geometric mean and 95 % interval over seeds {numbers}"
    return Claim(text, said, above(interval, math.log(least)))


def claims(table: pd.DataFrame) -> list[Claim]:
    """Against three kinds of chance, before against after, frequencies found blindly, and the control."""
    parts = {key: rows.set_index("seed") for key, rows in table.groupby(["arm", "moment"])}
    first, end, control = parts["grokking", "memorised"], parts["grokking", "end"], parts["control", "end"]
    start = "Just after memorisation, stiff directions move"
    made = [
        compare(
            f"{start} the clock of the eventual key frequencies more than twice as much as independent logits would.",
            first["clock"],
            first["clock_chance"],
            least=2.0,
        ),
        compare(f"{start} it more than the clock of other frequencies.", first["clock"], first["clock_other"]),
        compare(
            "At the end, after grokking, they move it more than just after memorisation.",
            end["clock"].rename("clock (end)"),
            first["clock"].rename("clock (memorised)"),
        ),
    ]
    made += [
        compare(f"{when} {what} of the key frequencies more than random directions do.", rows[of], rows[f"{of}_random"])
        for when, rows in ((start, first), ("At the end, stiff directions move", end))
        for what, of in (("the clock", "clock"), ("all functions", "alone"))
    ]
    for others, null in (("as many drawn blindly", "chance"), ("those that random directions move most", "random")):
        text = f"After memorisation, more of the frequencies that stiff directions move most are key than of {others}."
        gain = mean_interval((first["precision"] - first[f"precision_{null}"]).tolist())
        both = f"{first['precision'].mean():.3g} against {first[f'precision_{null}'].mean():.3g}"
        made.append(Claim(text, f"mean precision {both}, difference {gain}", above(gain, 0.0)))
    untrained = parts["grokking", "start"]
    gain = mean_interval((untrained["precision_random"] - untrained["precision_chance"]).tolist())
    both = f"{untrained['precision_random'].mean():.3g} against {untrained['precision_chance'].mean():.3g}"
    text = "Before training, more of the frequencies that random directions move most are later key than drawn blindly."
    made.append(Claim(text, f"mean precision {both}, difference {gain}", above(gain, 0.0)))
    for whose, of in (("these", "clock"), ("each run's own", "clock_own")):
        text = (
            f"At the end they move the clock of {whose} key frequencies more in runs that grokked than in the control."
        )
        made.append(compare(text, end[of].rename(f"{of} (grokking)"), control[of].rename(f"{of} (control)")))
    return made


def notes(found: dict[str, Run], table: pd.DataFrame) -> list[str]:
    """What was trained, at which steps it was looked at, and how far the numbers can be trusted."""
    base = next(iter(found.values())).config
    grokking, control = (table[table["arm"] == arm] for arm in ARMS)
    grokked = [f"{name[9:]} {events(run.history)['grokked']}" for name, run in found.items() if "grokking" in name]
    keys = [f"s{seed} {{{freqs}}}" for seed, freqs in grokking.groupby("seed")["key_freqs"].first().items()]
    own = [len(freqs.split()) for freqs in control.groupby("seed")["own_freqs"].first()]
    course = grokking.groupby("moment", sort=False).median(numeric_only=True)
    columns = ["train_loss", "largest", "tenth", "bias", "rest"]
    medians = [
        f"{moment} {row['step']:g}, {', '.join(f'{x:.2g}' for x in row[columns])}" for moment, row in course.iterrows()
    ]
    return [
        f"a + b mod {base.modular.p}, {base.modular.frac_train:.0%} of the pairs for training; one layer, d_model "
        f"{base.transformer.d_model}, d_mlp {base.transformer.d_mlp}; AdamW {base.optimizer.lr:g}, weight decay "
        f"{base.optimizer.weight_decay:g} (control 0), {base.schedule.steps} steps. Grokked: {'; '.join(grokked)}; an "
        f"event outside the budget counts as its end. The claims were written on seed 0. Best final test accuracy of a "
        f"control: {control[control['moment'] == 'end']['test_acc'].max():.2f}.",
        f"Key frequencies (rule {RULE}, last checkpoint): {', '.join(keys)}. A control is asked for those of the run "
        f"with its seed; in the controls themselves the rule finds {', '.join(map(str, own))} "
        f"of {base.modular.p // 2}.",
        "Medians of the grokking runs (step; training loss; largest and tenth eigenvalue; share of logit changes that "
        f"are the same for all pairs, and in products of different frequencies): {'; '.join(medians)}. Curvature falls "
        f"with the loss; products are in float64, and |Hv - λv|/λ is at most {table['residual'].max():.1g}.",
        f"Top {TOP} eigenpairs of the training loss without weight decay, of which no moment is a critical point; "
        f"means weighted by the eigenvalue. Of {RANDOM} random directions, plain means. Both depend on the coordinates "
        "of weight space. Frequencies are ranked by all functions of them alone; mean precision after memorisation by "
        f"the clock only: {grokking[grokking['moment'] == 'memorised']['precision_clock'].mean():.2f}.",
    ]


def draw(table: pd.DataFrame, maps: dict[str, Tensor], seed: int) -> "figures.Figure":
    """Frequency by eigenvector at the four moments of one run; shares and precision against the moment, all runs."""
    figure, axes = figures.sheet(2, 4, (13, 6.4))
    keys = table[table["seed"] == seed]["key_freqs"].iloc[0].split()
    top = max(found.max().item() for found in maps.values())
    for ax, (moment, found) in zip(axes[0], maps.items(), strict=True):
        extent = (0.5, len(found) + 0.5, 0.5, found.shape[1] + 0.5)
        ax.imshow(found.T.numpy(), origin="lower", aspect="auto", cmap="magma", vmin=0, vmax=top, extent=extent)
        ax.set_yticks(range(1, found.shape[1] + 1))
        for label in ax.get_yticklabels():
            label.set_color(figures.RED if label.get_text() in keys else figures.GREY)
        ax.set_title(f"seed {seed}, {moment}", fontsize=9)
        ax.set_xlabel("eigenvector, stiffest first")
        ax.grid(False)
    axes[0, 0].set_ylabel("frequency k (key: red)")
    figure.colorbar(axes[0, 3].images[0], ax=axes[0, 3], label="share in functions of k alone")
    table = table.assign(at=table["moment"].map(MOMENTS.index))
    names = {
        "clock": "share in the clock of the key frequencies",
        "alone": "share in all functions of one key frequency",
        "precision": "precision of the ranking",
    }
    for ax, (column, name) in zip(axes[1], names.items(), strict=False):
        for arm, colour in ARMS.items():
            rows = table[table["arm"] == arm]
            figures.draw_seeds(ax, rows, "at", column, colour, "-", f"{arm}, stiff")
            figures.draw_seeds(ax, rows, "at", f"{column}_random", colour, "--", f"{arm}, random")
        figures.draw_seeds(ax, table, "at", f"{column}_chance", figures.GREY, ":", "chance")
        ax.set_xticks(range(len(MOMENTS)), MOMENTS)
        ax.set_ylabel(name)
    axes[1, 0].set_yscale("log")
    axes[1, 3].axis("off")
    axes[1, 3].legend(*axes[1, 0].get_legend_handles_labels(), loc="center left", frameon=False)
    return figure


def main() -> None:
    given = verdicts.asked(QUESTION, __file__, "a small network and two seeds")
    torch.set_num_threads(given.threads)
    seeds = [1, 2] if given.quick else [1, 2, 3, 4, 5]
    grid = configs(seeds, given.quick)
    runs = cg.train(
        list(grid.values()), given.out / "runs", names=list(grid), progress=LiveProgress(), threads=given.threads
    )
    found = dict(zip(grid, runs, strict=True))
    own = {
        name: key_frequencies(RULE, run.at(run.steps[-1]), run.config.transformer, run.task)
        for name, run in found.items()
    }
    rows, maps = [], {}
    for arm, seed in ((arm, seed) for arm in ARMS for seed in seeds):
        name, twin = f"{arm}-s{seed}", f"grokking-s{seed}"
        for moment, step in zip(MOMENTS, moments(found[twin]), strict=True):
            row, by_eigenvector = measure(found[name], step, own[twin], own[name])
            rows.append({"arm": arm, "seed": seed, "moment": moment, **row})
            if name == f"grokking-s{seeds[0]}":
                maps[moment] = by_eigenvector
    table = pd.DataFrame(rows)
    verdicts.write(given.out, QUESTION, claims(table), notes(found, table), table, draw(table, maps, seeds[0]))
    print((given.out / "verdict.md").read_text())


if __name__ == "__main__":
    main()
