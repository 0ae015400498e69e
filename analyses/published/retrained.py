"""Rows that train: published configurations again, five seeds each, medians against published numbers.

Most of what is published of training curves is one seed; a band about it is a judgement, and times of grokking vary
between seeds by a factor of 1.5 and more.
"""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd
from published.files import NANDA, PIZZA
from published.given import JUDGED, SINGLE, Rows
from published.starts import DEMO, OMNIGROK, PRIETO, TRUONG
from published.training import arms_ratio, at, last, of_runs, time_to

import circuitgrok as cg
from circuitgrok.store.run import Run
from circuitgrok.study.sheet import Band, Row, about, at_least, at_most, by_factor

DOSHI, GROKFAST = "Doshi et al. 2023, arXiv:2310.13061", "Lee et al. 2024, arXiv:2405.20233"
CONSTRAINED = f"{OMNIGROK}, notebook, constrained"
NOTEBOOK = "devinterp 1.x, notebook grokking"
DIRECTION = "quoted direction"


def norm_moves(run: Run) -> float:
    """Largest relative change of the norm."""
    norms = run.history["norm"]
    return float((norms / norms.iloc[0] - 1).abs().max())


def delay(run: Run) -> float:
    """Steps from training accuracy .95 to test accuracy .95; inf if the latter is not reached."""
    later = time_to("test_acc", 0.95)(run)
    return later - time_to("train_acc", 0.95)(run) if math.isfinite(later) else math.inf


@cache
def circuits(folder: Path) -> pd.DataFrame:
    """Measures of the circuit at every checkpoint of a run."""
    return cg.measure(cg.load(folder), "circuits")


def halvings_apart(run: Run) -> float:
    """Steps between the checkpoints at which training loss and restricted loss have fallen to half of their start."""
    table = circuits(run.path)
    halved = [(table[name] < table[name].iloc[0] / 2).idxmax() for name in ("loss[train]", "restricted_loss[all]")]
    return float(abs(int(halved[1]) - int(halved[0])))


def least_excluded(run: Run) -> float:
    """The smallest excluded loss on the training pairs."""
    return float(circuits(run.path)["excluded_loss[train]"].min())


def rise(run: Run) -> float:
    """Largest norm over the first."""
    return float(run.history["norm"].max() / run.history["norm"].iloc[0])


def outwards(run: Run) -> float:
    """Cosine of descent to the weights in the last layer, at the last step that was taken apart."""
    return float(run.updates["cos_descent[unembed.W_U]"].dropna().iloc[-1])


def test_less_train(run: Run) -> float:
    """How much higher test accuracy is than training accuracy at the end."""
    return last("test_acc")(run) - last("train_acc")(run)


def form(column: str) -> Callable[[Run], float]:
    """A measure of clock and pizza at the last checkpoint."""
    return lambda run: float(cg.measure(run, "forms", run.steps[-1])[column].iloc[-1])


def gap(run: Run) -> float:
    """Best training less best test accuracy over the run."""
    return float(run.history["train_acc"].max() - run.history["test_acc"].max())


def excluded_over_full(run: Run) -> float:
    """Excluded loss on train over the full loss, at the end."""
    table = cg.measure(run, "circuits", run.steps[-1])
    return float(table["excluded_loss[train]"].iloc[-1] / table["loss[all]"].iloc[-1])


def n_keys(run: Run) -> float:
    """How many key frequencies."""
    return float(len(cg.measure(run, "circuits", run.steps[-1]).attrs["key_freqs"]))


def shrinks(run: Run) -> float:
    """Last norm over the first."""
    return float(run.history["norm"].iloc[-1] / run.history["norm"].iloc[0])


def grok_time(run: Run) -> float:
    """The delay law's: the first evaluation with test accuracy .9, for good."""
    return time_to("test_acc", 0.9)(run)


def rows() -> Rows:
    """All of them, those that take minutes first."""
    return [
        Row("A5 norm", "relative change of the norm over the run, held at α = .8", CONSTRAINED, "0",
            at_most(1e-6, "rounding"), of_runs("held", norm_moves)),
        Row("A5 solved", "step of test accuracy .95, held at α = .8", CONSTRAINED, "hundreds (one seed)",
            Band(100, 600, SINGLE), of_runs("held", time_to("test_acc", 0.95))),
        Row("A5 together", "steps from train to test accuracy .95", CONSTRAINED, "almost none (one seed)",
            Band(0, 100, SINGLE), of_runs("held", delay)),
        Row("A5 circuit", "steps between the halvings of training and restricted loss", CONSTRAINED,
            "both fall together (one seed)", at_most(100, SINGLE), of_runs("held", halvings_apart)),
        Row("A5 excluded", "least excluded loss on train, in nats: does it memorise?",
            "a prediction, not published: no memorising circuit", "above 1", at_least(1, JUDGED),
            of_runs("held", least_excluded)),
        Row("F1 memorised", "step of training accuracy .99", f"{OMNIGROK}, notebook", "about 150 (one seed)",
            by_factor(150, 1.5, SINGLE), of_runs("first", time_to("train_acc", 0.99))),
        Row("F2 norm at 200", "Σθ² at step 200", f"{NANDA}, figure 7, digitised", "3560 (one seed)",
            by_factor(3560, 1.05, SINGLE), of_runs("first", lambda run: at("norm", 200)(run) ** 2)),
        Row("F3 norm at 1000", "Σθ² at step 1000", f"{NANDA}, figure 7, digitised", "3650 (one seed)",
            by_factor(3650, 1.05, SINGLE), of_runs("first", lambda run: at("norm", 1000)(run) ** 2)),
        Row("F4 peak", "largest norm over the first, within 1000 steps", f"{NANDA}, figure 7, digitised",
            "1.43 (one seed)", Band(1.3, 1.55, SINGLE), of_runs("first", rise)),
        Row("F5 test at 1000", "test loss at step 1000", f"{NANDA}, figure 7, digitised", "23 (one seed)",
            by_factor(23, 1.25, SINGLE), of_runs("first", last("test_loss"))),
        Row("A15 ⊥Grad", "epoch of test accuracy .95 without decay, gradient across the weights", f"{PRIETO}, plot",
            "110 to 120 for both sides (one seed)", Band(60, 250, SINGLE),
            of_runs("orthograd", time_to("test_acc", 0.95))),
        Row("A15 AdamW", "test accuracy at epoch 500 of AdamW without decay", f"{PRIETO}, plot", "0 (one seed)",
            at_most(0.05, SINGLE), of_runs("collapse", last("test_acc"))),
        Row("A15 outwards", "cos(−∇L, θ) of the last layer there", PRIETO, "up to .9", at_least(0.5, JUDGED),
            of_runs("collapse", outwards)),
        Row("A20 clean", "test accuracy after 100 epochs, quadratic network, decay 5", DOSHI, "1 (direction)",
            at_least(0.95, DIRECTION), of_runs("clean", at("test_acc", 100))),
        Row("A20 coexist, train", "training accuracy, .35 of the labels wrong, no decay", DOSHI, "1: fitted beside",
            at_least(0.95, DIRECTION), of_runs("corrupted", last("train_acc"))),
        Row("A20 coexist, test", "test accuracy of the same", DOSHI, "high: coexistence", at_least(0.9, DIRECTION),
            of_runs("corrupted", last("test_acc"))),
        Row("A20 inversion", "test less training accuracy, decay 15", DOSHI, "1 − .65 = .35 at best",
            at_least(0.1, DIRECTION), of_runs("corrupted, decay", test_less_train)),
        Row("A20 ideal", "training accuracy there", DOSHI, "1 − ξ = .65", about(0.65, 0.05, JUDGED),
            of_runs("corrupted, decay", last("train_acc"))),
        Row("L1 validation", "accuracy on test pairs at the end", NOTEBOOK, "1.0 (one seed; not every seed groks)",
            at_least(0.95, SINGLE), of_runs("mlp", last("test_acc"))),
        Row("L2 train loss", "training loss at the end", NOTEBOOK, ".0137 (one seed)", by_factor(0.0137, 1.5, SINGLE),
            of_runs("mlp", last("train_loss"))),
        Row("T1 teacher", "share of test outputs within 1e-3 at step 19,000, α = 2", f"{OMNIGROK}, teacher–student",
            ".76 (one seed)", about(0.76, 0.2, SINGLE), of_runs("teacher", last("test_acc"))),
        Row("A9 .5 to .65", "T_grok on 50 % of the pairs over that on 65 %, p = 59", TRUONG, "above 1: steeply falling",
            at_least(1.2, DIRECTION), arms_ratio(("fractions", "f 0.5"), ("fractions", "f 0.65"), grok_time)),
        Row("A9 .65 to .8", "T_grok on 65 % of the pairs over that on 80 %", TRUONG, "above 1",
            at_least(1, DIRECTION), arms_ratio(("fractions", "f 0.65"), ("fractions", "f 0.8"), grok_time)),
        Row("A10 decay", "T_grok at λ = .3 over that at λ = 3, 65 % of the pairs", f"{TRUONG}; arXiv:2603.13331",
            "above 1; 10 if ∝ 1/λ", at_least(1.2, DIRECTION),
            arms_ratio(("rates", "λ .3"), ("rates", "λ 3"), grok_time)),
        Row("A10 rate", "T_grok at η = 1e-3 over that at 3e-3", f"{TRUONG}; arXiv:2603.13331", "above 1; 3 if ∝ 1/η",
            at_least(1.2, DIRECTION), arms_ratio(("rates", "λ 1"), ("rates", "η 3e-3"), grok_time)),
        Row("A8 few", "best train less best test accuracy, MNIST, norm held at α = 8, N = 200", f"{OMNIGROK}, figure 3",
            "a gap (no number)", at_least(0.2, JUDGED), of_runs("images", gap, arm="α 8.0, N 200")),
        Row("A8 many", "the same at N = 4000", f"{OMNIGROK}, figure 3", "little of it (no number)",
            at_most(0.2, JUDGED), of_runs("images", gap, arm="α 8.0, N 4000")),
        Row("A8 at α = 1", "the same at α = 1, N = 4000", f"{OMNIGROK}, figure 3", "little of it (no number)",
            at_most(0.1, JUDGED), of_runs("images", gap, arm="α 1.0, N 4000")),
        Row("H1 keys", "key frequencies of the main configuration after 40,000 epochs", f"{NANDA}, section 4.1",
            "5 (other seeds 3 to 5)", Band(3, 6, "quoted range of seeds"), of_runs("nanda", n_keys)),
        Row("H2 end", "last norm over the first", f"{NANDA}, figure 7, digitised", ".73 (one seed)",
            Band(0.65, 0.85, SINGLE), of_runs("nanda", shrinks)),
        Row("H3 excluded", "excluded over full loss at the end", f"{NANDA}, figure 7", "2e7 (one seed)",
            at_least(1e5, SINGLE), of_runs("nanda", excluded_over_full)),
        Row("H4 grokked", "epoch of test accuracy .95", f"{NANDA}, figure 7", "about 10,000 (one seed)",
            by_factor(10_000, 1.5, SINGLE), of_runs("nanda", time_to("test_acc", 0.95))),
        Row("H5 free", "epoch of test accuracy .95, α = 1 and decay 1", f"{OMNIGROK}, notebook",
            "7000 to 8000 (one seed)", by_factor(7500, 1.5, SINGLE), of_runs("free", time_to("test_acc", 0.95))),
        Row("H6 demo", "epoch of test accuracy .95", DEMO, "10,000 to 16,000 (one seed)",
            Band(10_000 / 1.5, 16_000 * 1.5, SINGLE), of_runs("demo", time_to("test_acc", 0.95))),
        Row("H7 demo, peak", "largest test loss", DEMO, "above 30 (one seed)", at_least(24, SINGLE),
            of_runs("demo", lambda run: float(run.history["test_loss"].max()))),
        Row("H8 pizza", "gradient symmetricity, attention rate 0", f"{PIZZA}, section 4", "above .98",
            at_least(0.98, "quoted threshold"), of_runs("pizza", form("gradient_symmetricity"))),
        Row("H9 clock", "distance irrelevance, attention rate 1", f"{PIZZA}, section 4", "above .6",
            at_least(0.6, "quoted threshold"), of_runs("clock", form("distance_irrelevance"))),
        Row("H10 Grokfast", "T_grok without it over with it, at equal decay", GROKFAST,
            "tens, at unequal decay (one seed)", at_least(3, JUDGED),
            arms_ratio(("grokfast-baseline", "runs"), ("grokfast", "runs"), time_to("test_acc", 0.95))),
        Row("H11 StableMax", "test accuracy at step 75,000", f"{PRIETO}, plot", ".98 (one seed)",
            at_least(0.9, SINGLE), of_runs("stablemax", at("test_acc", 75_000))),
        Row("H12 StableMax", "‖θ‖ at step 75,000", f"{PRIETO}, plot", "33,500 (one seed)",
            by_factor(33_500, 1.5, SINGLE), of_runs("stablemax", at("norm", 75_000))),
    ]  # fmt: skip
