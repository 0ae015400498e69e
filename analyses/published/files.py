"""Rows on networks that others trained and published: measured, not trained, where somebody brings the file."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from published.given import EXACT, JUDGED, Given, Rows

import circuitgrok as cg
from circuitgrok.errors import UserError
from circuitgrok.measures.circuits.controls import jaccard
from circuitgrok.store.checkpoints import Checkpoints
from circuitgrok.study.sheet import Band, Got, NotTried, Row, about, at_least, at_most, by_factor, got
from circuitgrok.table.needs import Group

PIZZA = "Zhong et al. 2023, arXiv:2306.17844"
NANDA = "Nanda et al. 2023, arXiv:2301.05217"
PIZZA_FILES = "https://github.com/fjzzq2002/pizza (MIT)"
NANDA_FILES = "https://github.com/neelnanda-io/Grokking and /progress-measures-paper"
KEYS = {14: 44, 35: 93, 41: 145, 42: 87, 52: 64}  # key frequencies of the main run, and their clusters' sizes
ONE_OUT = {14: 2.0e-4, 35: 4.6e-4, 41: 1.9e-3, 42: 5.2e-3, 52: 2.4e-2}  # loss without its waves at the neurons
HEADS = [(35, 0.9903), (42, 0.9849), (52, 0.9907), (42, 0.9791)]  # each head's frequency and its share
ROUNDED = "printed digits"


@cache
def pizza(folder: Path | None, low: bool) -> tuple[str, Mapping[str, float]]:
    """The first published network of a low attention rate, or of a high one, and its measures."""
    side = "below 0.1" if low else "above 0.9"
    for config in sorted(folder.glob("config_*.json")) if folder else ():
        weights, settings = config.with_name(config.name.replace("config_", "model_")[:-4] + "pt"), read(config)
        rate = settings.get("attn_coeff", 0.5)
        if weights.exists() and settings.get("C") == 59 and (rate < 0.1 if low else rate > 0.9):
            run = cg.open_checkpoints(weights, config=config)
            table = cg.measure(run, ["forms", "circuits", "orbits"])
            return f"{weights.name}, attention rate {rate:.3f}", row_of(table.iloc[-1])
    raise NotTried(f"needs model_ID.pt and config_ID.json with attn_coeff {side} and C 59, from {PIZZA_FILES}")


def read(config: Path) -> dict[str, Any]:
    """Settings beside a network; none where they cannot be read."""
    try:
        found = json.loads(config.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def row_of(series: Any) -> dict[str, float]:
    """A row of a table of measures as numbers by name."""
    return {str(name): float(value) for name, value in series.items()}


def of_pizza(column: str, low: bool = True) -> Callable[[Given], Got]:
    """A measure of that network."""

    def found(given: Given) -> Got:
        name, measures = pizza(given.checkpoints, low)
        return got(measures[column], name)

    return found


@cache
def main_run(folder: Path | None) -> tuple[str, Mapping[str, float]]:
    """The published network of 40,000 epochs and its measures.

    Raises:
        NotTried: The folder holds no network of p = 113 in that layout at 39 to 51 thousand updates.
    """
    for file in sorted(folder.glob("*.pth")) if folder else ():
        try:
            run = cg.open_checkpoints(file, layout="nanda")
        except (UserError, ValueError):
            continue
        if run.model.shapes()["embed.W_E"][0] == 114 and 39_000 <= run.steps[-1] <= 51_000:
            return file.name, measured(run)
    raise NotTried(f"needs the main run's checkpoint of 40,000 epochs (layout nanda, .pth), from {NANDA_FILES}")


def measured(run: Checkpoints) -> dict[str, float]:
    """The measures of a published network's last checkpoint; losses of ablations also over all pairs, as `[…, all]`."""
    groups: list[Group] = ["circuits", "neurons", "attention", "sparsity", "ablations", "orbits"]
    table = cg.measure(run, groups, run.steps[-1], rule="neuron_argmax_pure")
    found, share = row_of(table.iloc[-1]), run.task.is_train.double().mean().item()
    for name in [name for name in found if name.endswith(", train]") and name.startswith("loss[")]:
        stem = name.removesuffix(", train]")
        found[f"{stem}, all]"] = share * found[name] + (1 - share) * found[f"{stem}, test]"]
    keys = table.attrs["key_freqs"]
    overlap = jaccard(*(cg.modular_addition(p=5).labels.new_tensor(x) for x in (keys, [*KEYS])))
    return found | {"overlap": overlap, "pure": found["pure_neurons"] * run.model.shapes()["blocks.0.mlp.b_in"][0]}


def of_main_run(column: str) -> Callable[[Given], Got]:
    """A measure of the published main run; nan if it has none by that name."""

    def found(given: Given) -> Got:
        name, measures = main_run(given.checkpoints)
        return got(measures.get(column, float("nan")), name)

    return found


def rows() -> Rows:
    """All of them."""
    found: Rows = [
        Row("P1 accuracy", "accuracy of a released network on all 59² pairs", PIZZA, "1", about(1, 0, EXACT),
            of_pizza("accuracy[all]")),
        Row("P2 symmetricity", "gradient symmetricity at a low attention rate", f"{PIZZA}, section 4",
            "above .98 (their example of a pizza .9937)", at_least(0.98, "quoted threshold"),
            of_pizza("gradient_symmetricity")),
        Row("P3 irrelevance", "distance irrelevance at a low attention rate", f"{PIZZA}, section 4",
            "below .6 (their example of a pizza .17)", at_most(0.6, "quoted threshold"),
            of_pizza("distance_irrelevance")),
        Row("P4 circularity", "circularity of its embedding", f"{PIZZA}, appendix", "above .995",
            at_least(0.995, "quoted threshold"), of_pizza("circularity")),
        Row("P5 balance", "‖θ‖² over its orbit's least, decay 2", "Du et al. 2018, arXiv:1806.00900",
            "1 (decay balances)", Band(1, 1.01, JUDGED), lambda given: got(
                pizza(given.checkpoints, True)[1]["norm_excess"] ** 2)),
        Row("P6 symmetricity", "gradient symmetricity at a high attention rate", f"{PIZZA}, section 4",
            "below .98 (their example of a clock .3336)", at_most(0.98, "quoted threshold"),
            of_pizza("gradient_symmetricity", low=False)),
        Row("P7 irrelevance", "distance irrelevance at a high attention rate", f"{PIZZA}, section 4",
            "above .6 (their example of a clock .85)", at_least(0.6, "quoted threshold"),
            of_pizza("distance_irrelevance", low=False)),
        Row("M1 keys", "overlap of the key frequencies with {14, 35, 41, 42, 52}", f"{NANDA}, section 4.1", "1",
            about(1, 0, EXACT), of_main_run("overlap")),
        Row("M2 loss", "loss over all pairs", f"{NANDA}, section 4", "2.4122e-7",
            by_factor(2.4122e-7, 1.005, ROUNDED), of_main_run("loss[all]")),
        Row("M3 W_L", "share of W_L's norm beyond rank 10", f"{NANDA}, section 4.1", "below .0055",
            at_most(0.0055, "quoted"), of_main_run("low_rank_residual[W_L]")),
        Row("M4 clock", "share of the logits' variance in Σ α cos w(a + b − c)", f"{NANDA}, section 4.1", ".95",
            about(0.95, 0.005, ROUNDED), of_main_run("frac_explained")),
        Row("M5 waves", "loss of the sum waves of the key frequencies alone", f"{NANDA}, section 4.4", "5.547e-8",
            by_factor(5.547e-8, 1.05, "with or without the mean logit is not said"),
            of_main_run("restricted_loss_no_mean[all]")),
        Row("M6 excluded", "excluded loss on train at the end", f"{NANDA}, figure 7, digitised", "6.0",
            by_factor(6.0, 1.05, "read off a figure"), of_main_run("excluded_loss[train]")),
        Row("M7 neurons", "neurons of one frequency (above .85)", f"{NANDA}, section 4.2", "433 of 512",
            about(433, 1, "ties at the threshold"), of_main_run("pure")),
        *[Row(f"M8 cluster {k}", f"neurons in the cluster of frequency {k}", f"{NANDA}, section 4.2", str(n),
              about(n, 1, "ties at the threshold"), of_main_run(f"cluster_size[{k}]")) for k, n in KEYS.items()],
        Row("M9 polynomials", "loss with clustered neurons as polynomials of degree 2", f"{NANDA}, section 4.4",
            "2.48e-7", by_factor(2.48e-7, 1.01, ROUNDED), of_main_run("loss[clusters, polynomial, all]")),
        Row("M10 directions", "least share of a W_L direction explained by its wave", f"{NANDA}, section 4.2", ".932",
            about(0.932, 0.001, ROUNDED), of_main_run("direction_fve_min")),
        *[Row(f"M11 head {h}", f"share of head {h}'s scores in frequency {k}", f"{NANDA}, section 4.3", f"{fve}",
              about(fve, 0.001, ROUNDED), of_main_run(f"head_fve[head {h}]"))
          for h, (k, fve) in enumerate(HEADS)],
        *[Row(f"M12 without {k}", f"loss without the waves of {k} at the neurons", f"{NANDA}, section 4.4", f"{loss:g}",
              by_factor(loss, 1.05, ROUNDED), of_main_run(f"loss[waves {k}, zero, all]"))
          for k, loss in ONE_OUT.items()],
        Row("M13 skip, zero", "loss without the stream around the MLP", f"{NANDA}, section 4.4", "9.12e-7",
            by_factor(9.12e-7, 1.01, ROUNDED), of_main_run("loss[skip, zero, all]")),
        Row("M13 skip, mean", "the same by its mean", f"{NANDA}, section 4.4", "7.25e-7",
            by_factor(7.25e-7, 1.01, ROUNDED), of_main_run("loss[skip, mean, all]")),
        Row("M14 norm", "‖θ‖ over its orbit's least, decay 1", "Du et al. 2018, arXiv:1806.00900", "1 (decay balances)",
            Band(1, 1.01, JUDGED), of_main_run("norm_excess")),
    ]  # fmt: skip
    return found
