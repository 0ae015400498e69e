"""Courses of chains: starts by rule, descent by hand in float64, the sphere; and chains share nothing."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny import tiny

from circuitgrok.store.run import Run
from circuitgrok.study.asked import Asked
from circuitgrok.study.chain_courses import (
    GENERALISER,
    MEMORISER,
    RANDOM,
    SHARE,
    STARTS,
    Cell,
    Chain,
    Effort,
    sample_all,
    sampled,
    starts_of,
)
from circuitgrok.training.loop import train

EFFORT = Effort(2.3, 0.0, 0.0, 12, 3)
HELD = Cell("descent", "sphere", False, 1e4, STARTS[:1], 0.0)
LABELS = {"a": {"arm": "no decay"}, "b": {"arm": "decay"}, "c": {"arm": "no decay"}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    base = tiny(split="mirror_free", frac_train=0.7, eval_every=2, checkpoint_every=2, steps=30)
    configs = [base.with_(weight_decay=decay, seed=seed) for decay, seed in ((0.0, 1), (2.0, 1), (0.0, 2))]
    return dict(zip(LABELS, train(configs, tmp_path_factory.mktemp("runs"), names=list(LABELS)), strict=True))


def test_memorisers_are_the_first_that_fit_generalisers_the_last_that_answer_and_seeds_without_one_are_left_out(runs):
    there = starts_of(runs, LABELS, EFFORT)
    at = runs["a"].history.loc[runs["a"].steps, "train_loss"]
    first, last = at.index[at <= EFFORT.level][0], runs["b"].steps[-1]
    assert [*there] == [1, 2] and 0 < first < runs["a"].steps[-1]
    for start, run, step in ((MEMORISER, "a", first), (GENERALISER, "b", last), (RANDOM, "b", 0)):
        want = runs[run].at(int(step))
        assert all(torch.equal(there[1][start][name], want[name]) for name in want)
    assert GENERALISER not in there[2]
    assert not starts_of(runs, LABELS, EFFORT._replace(level=0.0)) and RANDOM in there[2]


def trained_of(weights: dict[str, torch.Tensor], run: Run) -> list[str]:
    return [name for name in weights if run.config.model.is_trainable(name)]


@pytest.mark.parametrize("place", ["sphere", "free"])
def test_short_steps_of_descent_are_those_by_hand(runs, place):
    """One leapfrog from rest a draw, in float64, by autograd of the plain forward."""
    there, effort, cell = (
        starts_of(runs, LABELS, EFFORT),
        EFFORT._replace(gradients=4, each=1),
        HELD._replace(place=place),
    )
    course = sampled(there, [Chain(1, cell, MEMORISER, 0)], effort)
    run, size = there[1]["run"], float(course["step_size"].iloc[0])
    names, model = trained_of(there[1][MEMORISER], run), run.config.model
    weights = {name: value.double() for name, value in there[1][MEMORISER].items()}
    at = torch.cat([weights[name].flatten() for name in names])
    pairs, radius = run.task.where("train"), at.norm()

    def loss_of(position: torch.Tensor) -> torch.Tensor:
        parts = position.split([weights[name].numel() for name in names])
        moved = {name: part.view_as(weights[name]) for name, part in zip(names, parts, strict=True)}
        logits = model.logits(weights | moved, run.task.inputs[pairs])
        return torch.nn.functional.cross_entropy(logits, run.task.labels[pairs])

    for line in course.to_dict("records"):
        at = at.detach().requires_grad_()
        loss = loss_of(at)
        assert line["train_loss"] == pytest.approx(loss.item(), rel=1e-4)
        assert line["norm"] == pytest.approx(at.norm().item(), rel=1e-5)
        step = -size / 2 * cell.nbeta * torch.autograd.grad(loss, at)[0]
        with torch.no_grad():
            if place == "free":
                at = at + step
            else:
                step = step - at * (at @ step) / radius**2
                angle = step.norm() / radius
                at = angle.cos() * at + radius * angle.sin() * step / step.norm()
    assert course["step_size"].nunique() == 1 and course["train_loss"].is_monotonic_decreasing
    assert course["share"].iloc[-1] == pytest.approx(SHARE, rel=0.5)  # the curvature has hardly changed


def test_chains_of_a_stack_are_those_alone_and_stay_on_the_memorisers_sphere(runs):
    there, warm = starts_of(runs, LABELS, EFFORT), Cell("HMC", "sphere", False, 1e2, STARTS)
    chains = [Chain(1, warm, RANDOM, 5), Chain(2, warm, MEMORISER, 6), Chain(2, warm._replace(nbeta=1e3), MEMORISER, 7)]
    of_energies = 8 * torch.finfo(torch.float32).eps * 1e3 * 2.4  # what rounding does to nβ L
    together = sampled(there, chains, EFFORT)
    for chain in chains:
        course = together[(together["cell"] == chain.cell.name) & (together["seed"] == chain.seed)]
        alone = sampled(there, [chain], EFFORT).reset_index(drop=True)
        pd.testing.assert_frame_equal(course.reset_index(drop=True), alone, rtol=1e-4, atol=of_energies)
        of = there[chain.seed][MEMORISER]
        norm = sum(of[name].double().square().sum().item() for name in trained_of(of, there[chain.seed]["run"])) ** 0.5
        assert course["norm"].tolist() == pytest.approx([norm] * 5, rel=1e-5)
        assert course["acceptance"].notna().sum() == 4 and course["gradients"].tolist() == [0, 3, 6, 9, 12]


def test_a_prior_pulls_in_sgld_walks_and_kept_courses_are_read_again(runs, tmp_path: Path):
    there = starts_of(runs, LABELS, EFFORT)
    cells = [Cell("descent", "free", True, 1.0, STARTS[:1]), Cell("SGLD", "free", False, 1e5, STARTS[:1]), HELD]
    given, effort = Asked(True, tmp_path, 1), EFFORT._replace(gradients=90)
    (tmp_path / "runs").mkdir()
    courses = sample_all(cells, there, given, effort)
    ends = courses.groupby(["cell", "seed"], sort=False).agg({"norm": ["first", "last"], "step_size": "nunique"})
    norm, sizes = ends["norm"], ends["step_size"]["nunique"]
    assert (norm.loc[cells[0].name, "last"] < 0.9 * norm.loc[cells[0].name, "first"]).all()
    assert (norm.loc[cells[1].name, "last"] != norm.loc[cells[1].name, "first"]).all()
    assert (sizes.loc[HELD.name] == 1).all() and (sizes.loc[cells[0].name] > 1).all()
    files = sorted((tmp_path / "runs").glob("chains-*.json"))
    assert [file.name for file in files] == [f"chains-{i}-s1-2.json" for i in range(3)]
    files[2].write_text(files[1].read_text())
    assert HELD.name not in set(sample_all(cells, there, given, effort)["cell"])
