"""What chains of a study come to: a line for each, whether those of several starts have met, and quantities for claims.

Gains are of unseen mirrors, from the start to the last fifth of a chain; step sizes are frozen in its second half
(`circuitgrok.samplers.tuned`), which is what R-hat is of.
"""

import math
from typing import TYPE_CHECKING

import torch

from circuitgrok.samplers.diagnostics import diagnose
from circuitgrok.samplers.tuned import WANTED
from circuitgrok.study.chain_courses import GENERALISER, MEMORISER, RANDOM, SHARE, WIDTH, Effort, Starts
from circuitgrok.study.claims import Mean, Selection, where
from circuitgrok.study.effects import GAIN
from circuitgrok.study.rows import listed

if TYPE_CHECKING:
    import pandas as pd

CAME = 0.9  # of unseen mirrors: a chain that has come to generalise
LEAST = 1e-16  # of a training loss whose logarithm is taken


def r_hats(frozen: "pd.DataFrame") -> list[float]:
    """R-hat over starts of the loss of unseen mirrors, the norm and ln training loss."""
    traces = [frozen.pivot(index="start", columns="gradients", values=name) for name in ("unseen_loss", "norm")]
    traces.append(frozen.pivot(index="start", columns="gradients", values="train_loss").clip(lower=LEAST).map(math.log))
    stacked = torch.stack([torch.tensor(trace.to_numpy()) for trace in traces])
    return diagnose(stacked, n_burnin=torch.zeros(3).long()).r_hat.tolist()


def counted(courses: "pd.DataFrame") -> "pd.DataFrame":
    """A line for each chain; and for each cell of several starts R-hat over them, in the frozen half.

    Args:
        courses: Of `sample_all`.

    Returns:
        `outcome` (accuracy on unseen mirrors, mean of the last fifth), `gain` over `start_unseen`, `best`; `came`,
        gradients until `CAME`, nan if never, and `back`, the least since then; `settling`, ln training loss of the last
        quarter less the third; `acceptance`, `abs_delta_H` and `rounding` of the second half; what it ends with.
    """
    import pandas as pd

    lines = []
    for (cell, seed), of in courses.groupby(["cell", "seed"], sort=False):
        whole = of["gradients"].max()
        frozen, met = of[of["gradients"] > whole / 2], {}
        if {MEMORISER, GENERALISER} <= {*of["start"]}:
            met = dict(zip(("r_hat_unseen", "r_hat_norm", "r_hat_loss"), r_hats(frozen), strict=True))
            met |= {"r_hat_pair": r_hats(frozen[frozen["start"] != RANDOM])[0]}
        for begin, chain in of.groupby("start", sort=False):
            since, first, last = chain["gradients"] / whole, chain.iloc[0], chain.iloc[-1]
            late, came = chain[since > 0.5], (chain["unseen_acc"] >= CAME).cummax()
            outcome = chain.loc[since >= 0.8, "unseen_acc"].mean()
            line = {"arm": f"{cell}, {begin}", "cell": cell, "start": begin, "seed": seed, "outcome": outcome}
            line |= {
                "start_unseen": first["unseen_acc"],
                "gain": outcome - first["unseen_acc"],
                "best": chain["unseen_acc"].max(),
            }
            line |= {"came": chain.loc[came, "gradients"].min(), "back": chain.loc[came, "unseen_acc"].min()}
            third, fourth = (chain.loc[part, "train_loss"].mean() for part in (since.between(0.5, 0.75), since > 0.75))
            line["settling"] = math.log(max(fourth, LEAST) / max(third, LEAST))
            line |= {"acceptance": late["acceptance"].mean(), "abs_delta_H": late["delta_H"].abs().median()}
            line |= {"share": chain["share"].max(), "rounding": late["rounding"].abs().max()}
            line |= {name: last[name] for name in ("unseen_acc", "train_acc", "train_loss", "norm", "diverged")}
            lines.append(line | {"start_norm": first["norm"]} | met)
    return pd.DataFrame(lines)


def of(cell: str, begin: str) -> Selection:
    """The chains of a cell from one kind of start."""
    return where(cell=cell, start=begin)


def change(cell: str, begin: str) -> Mean:
    """By how much accuracy on unseen mirrors changes from the start to the last fifth."""
    return Mean(of(cell, begin), "gain", f"{cell}, from {begin}: last fifth less start, of unseen mirrors", bounds=GAIN)


def met(cell: str, column: str = "r_hat_unseen", of_what: str = "starts") -> Mean:
    """R-hat over the starts of a cell, in the loss of unseen mirrors, which no chain has constant."""
    known = where(cell=cell, start=MEMORISER, **{column: lambda r_hat: r_hat.notna()})
    return Mean(known, column, f"R-hat over {of_what} of the loss of unseen mirrors, {cell}")


def beside(cell: str, begin: str, other: str, from_there: str, column: str = "outcome") -> Mean:
    """A column of chains less that of others of the same seeds."""
    name = f"{column} of {cell}, from {begin}, less {other}, from {from_there}"
    return Mean(of(cell, begin), column, name, of(other, from_there), bounds=GAIN)


def settling(cell: str, begin: str) -> Mean:
    """By how much ln of the training loss changes from the third quarter to the last."""
    return Mean(of(cell, begin), "settling", f"ln training loss, last quarter less third, {cell}, from {begin}")


def said_of_starts(there: Starts, effort: Effort) -> str:
    """Note of a verdict: what the starts are, and which seeds have no generaliser."""
    missing = [str(seed) for seed, of_seed in there.items() if GENERALISER not in of_seed]
    return (
        f"Starts: memorisers are the first checkpoint without decay with train accuracy {effort.fitted:g} and training "
        f"loss {effort.level:g}; generalisers the last one with decay that answers {effort.generalises:g} of the "
        "unseen mirrors; random weights those of step 0. Seeds without a generaliser, left out of claims about these: "
        f"{', '.join(missing) or 'none'}; there are {len(there)}."
    )


def said_of_chains(table: "pd.DataFrame", effort: Effort) -> str:
    """Note of a verdict: how long chains are, how their steps are chosen, what a prior is, and rounding."""
    return (
        f"Chains: one for each start, cell and seed; {effort.gradients} gradients, {effort.each} for a draw "
        "(leapfrogs of one trajectory, steps of SGLD or in descent from rest) where no other number is said. Step "
        f"sizes start at {SHARE:g} of the bound of stability, follow acceptance ({WANTED:g}; of SGLD and descent that "
        "which a test would have) in the first half and are frozen in the second. The prior alone would have "
        f"{WIDTH:g} of the memoriser's norm, of its seed; the sphere has all of it. Weights of chains are float32, "
        f"energies float64; by rounding these are wrong by at most {table['rounding'].max():.1g}, the median chain's "
        f"largest by {table['rounding'].median():.1g}."
    )


def said_of_ends(table: "pd.DataFrame") -> list[str]:
    """Notes of a verdict: means by cell and start, which chains came to generalise and when, R-hat by cell."""
    ends = table.groupby(["cell", "start"], sort=False)
    columns = ["outcome", "unseen_acc", "train_acc", "train_loss", "norm", "acceptance", "abs_delta_H", "share"]
    hats = ["r_hat_unseen", "r_hat_pair", "r_hat_norm", "r_hat_loss"]
    r_hats_of = table.dropna(subset="r_hat_norm").groupby("cell", sort=False)[hats].median()
    of_each = "{} from {}: {:.2f}, {:.2f}, {:.3f}, {:.1e}, {:.1f}, {:.2f}, {:.2g}, {:.2g}"
    came = ends["came"].agg(["count", "median"]).query("count > 0")
    return [
        "Means over seeds of unseen mirrors in the last fifth and at the end, train accuracy, training loss, norm, "
        "acceptance and median |ΔH| of the second half, step size over the bound of stability (the larger of halfway "
        "and the end): "
        f"{listed(ends[columns].mean(), of_each, '; ')}. "
        f"Diverged: {int(table['diverged'].sum())} of {len(table)}.",
        f"Chains that came to {CAME:g} of the unseen mirrors, and after how many gradients in the median: "
        f"{listed(came, '{} from {}: {}, {:.0f}', '; ')}.",
        "R-hat in the second half, of the loss of unseen mirrors over all starts and over memorisers and generalisers, "
        "of norm and ln training loss over all, medians: "
        f"{listed(r_hats_of, '{} {:.2f}, {:.2f}, {:.2f}, {:.2f}', '; ')}.",
    ]
