"""The density of solutions: against plain rejection, symmetries, and what it must be where answers are random."""

import math

import pandas as pd
import pytest
import torch
from loops import for_each
from oracles import four_errors, generator
from scipy.stats import t

import circuitgrok as cg
import circuitgrok.landscape.density as landscape
from circuitgrok.errors import UserError
from circuitgrok.exact.analytic import gromov_network
from circuitgrok.faces.cli import run as command
from circuitgrok.geometry import uniform
from circuitgrok.landscape.density import Effort, cooled, evidence, flat, n_weights, summed_loss, summed_value
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.samplers.annealed import annealed
from circuitgrok.table import density as module
from circuitgrok.table.counted import Bracket
from circuitgrok.table.density import wrongly
from circuitgrok.tasks.modular import modular_addition

MODEL, TASK = QuadraticMLP(p=3, n_neurons=3), modular_addition(3, 0.5, split="mirror_free")
EVERYWHERE = torch.ones_like(TASK.is_train)
DIM, RADIUS = n_weights(MODEL), 3.0
SOME = Effort(n_ladders=6, n_rounds=50, n_burnin=25, n_leapfrog=4)
FEW = Effort(n_ladders=2, n_rounds=6, n_burnin=4, n_leapfrog=2, n_particles=8)


@pytest.fixture(scope="module")
def directions():
    return uniform(100_000, DIM, generator(0))


def by_rejection(value, rows, beta=1.0) -> tuple[float, float]:
    """ln of the mean of exp(-beta L) over uniform draws, and its standard error."""
    terms = -beta * torch.cat([value(some) for some in rows.split(20_000)])
    weights = (terms - terms.max()).exp()
    return (weights.mean().log() + terms.max()).item(), (weights.std() / weights.mean() / math.sqrt(len(rows))).item()


@for_each("where", ["train", "all"])
def test_evidence_is_that_of_plain_rejection(where, directions):
    pairs = TASK.is_train if where == "train" else EVERYWHERE
    exact, error = by_rejection(summed_value(MODEL, TASK, pairs), RADIUS * directions)
    rungs = cooled(MODEL, TASK, pairs, RADIUS, 1.0, SOME, 0)
    found = evidence(MODEL, TASK, pairs, rungs, SOME, 0)
    ends = found.ln_Z[:, -1]
    assert abs(ends.mean().item() - exact) < math.hypot(four_errors(6) * ends.std().item() / math.sqrt(6), 4 * error)
    assert ends.std() < 0.3 and found.complexity.shape == (6, len(rungs.betas))
    slope = (found.ln_Z[:, -1] - found.ln_Z[:, -2]) / (rungs.betas[-1] - rungs.betas[-2])  # between E_b[L] at both ends
    assert bool((-slope.mean() < found.mean_loss[:, -2].mean()) & (-slope.mean() > found.mean_loss[:, -1].mean()))


def test_the_gradient_is_that_of_the_summed_loss_in_coordinates_of_the_trained_weights():
    rows = RADIUS * uniform(3, DIM, generator(1))
    found = summed_loss(MODEL, TASK, TASK.is_train)(rows)
    leaf = rows.clone().requires_grad_()
    W_in, W_U = leaf[:, : 6 * 3].view(3, 6, 3), leaf[:, 6 * 3 :].view(3, 3, 3)
    a, b = TASK.inputs[TASK.is_train][:, 0], TASK.inputs[TASK.is_train][:, 1]
    logits = (W_in[:, a] + W_in[:, 3 + b]).square() @ W_U
    slow = -logits.log_softmax(-1).gather(-1, TASK.labels[TASK.is_train].expand(3, -1)[..., None]).sum((1, 2))
    assert torch.allclose(found.value, slow) and torch.allclose(summed_value(MODEL, TASK, TASK.is_train)(rows), slow)
    (gradient,) = torch.autograd.grad(slow.sum(), leaf)
    assert torch.allclose(found.gradient, gradient)
    assert torch.equal(flat(MODEL, {"blocks.0.mlp.W_in": W_in[0], "unembed.W_U": W_U[0]}), rows[0])


def test_accuracies_of_directions_are_the_same_at_every_radius_and_their_losses_are_not(directions):
    rows = directions[:20_000]
    network = {"blocks.0.mlp.W_in": rows[:, :18].view(-1, 6, 3), "unembed.W_U": rows[:, 18:].view(-1, 3, 3)}
    right = [
        (MODEL.logits({k: r * v for k, v in network.items()}, TASK.inputs).argmax(-1) == TASK.labels).sum(1)
        for r in (1.0, 3.0, 10.0)
    ]
    assert torch.equal(right[0], right[1]) and torch.equal(right[0], right[2])  # a homogeneous network: to the bit
    losses = [summed_value(MODEL, TASK, EVERYWHERE)(r * rows).mean().item() for r in (1.0, 3.0, 10.0)]
    assert losses == sorted(losses) and losses[2] > 2 * losses[0]


def test_a_temperature_is_a_radius_where_the_network_is_homogeneous():
    rows = RADIUS * uniform(3, DIM, generator(2))
    sharp, small = (
        summed_loss(MODEL, TASK, TASK.is_train)(2 * rows),
        summed_loss(MODEL, TASK, TASK.is_train, 1 / 8)(rows),
    )
    torch.testing.assert_close(small.value, sharp.value, rtol=1e-13, atol=0)
    torch.testing.assert_close(small.gradient, 2 * sharp.gradient, rtol=1e-12, atol=1e-13)
    one, other = cg.density(MODEL, TASK, 2.0, n_wrong=1, effort=FEW), cg.density(
        MODEL, TASK, 1.0, n_wrong=1, effort=FEW, temperature=1 / 8
    )  # fmt: skip
    pd.testing.assert_frame_equal(one.table, other.table, rtol=1e-6)


def test_what_is_kept_at_one_temperature_is_not_taken_for_another(tmp_path):
    given = {"n_wrong": 0, "effort": FEW, "keep": tmp_path}
    plain, sharp = cg.density(MODEL, TASK, 1.0, **given), cg.density(MODEL, TASK, 1.0, **given, temperature=0.5)
    assert len(list(tmp_path.glob("density_*.jsonl"))) == 2 and plain.R_gen.value != sharp.R_gen.value
    assert cg.density(MODEL, TASK, 1.0, **given, temperature=0.5).rows == sharp.rows


def test_labels_that_are_all_shifted_have_the_same_density(directions):
    shifted = TASK.__class__(TASK.p, TASK.inputs, (TASK.labels + 1) % 3, TASK.is_train, TASK.split_hash, TASK.operation)
    ends = []
    for task in (TASK, shifted):
        rungs = cooled(MODEL, task, EVERYWHERE, RADIUS, 1.0, SOME, 3)
        ends.append(evidence(MODEL, task, EVERYWHERE, rungs, SOME, 3).ln_Z[:, -1])
    error = math.hypot(*(of.std().item() / math.sqrt(6) for of in ends))
    assert abs((ends[0] - ends[1]).mean().item()) < four_errors(6) * error and error < 0.2


def test_on_simulated_data_ways_up_and_down_hold_the_evidence_between_them():
    point = RADIUS * uniform(1, DIM, generator(4))[0]
    network = {"blocks.0.mlp.W_in": point[:18].view(6, 3), "unembed.W_U": point[18:].view(3, 3)}
    drawn = torch.distributions.Categorical(logits=MODEL.logits(network, TASK.inputs))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        labels = drawn.sample()
    task = TASK.__class__(TASK.p, TASK.inputs, labels, TASK.is_train, TASK.split_hash, TASK.operation)
    loss, n = summed_loss(MODEL, task, EVERYWHERE), 300
    rungs = cooled(MODEL, task, EVERYWHERE, RADIUS, 1.0, SOME, 5)
    draws = [torch.Generator().manual_seed(i) for i in range(n)]
    up = annealed(loss, RADIUS * uniform(n, DIM, generator(6)), rungs.betas, rungs.step_sizes, draws, n_moves=2)
    # the weights that drew the labels are one exact draw of the posterior at beta = 1
    back = annealed(loss, point.expand(n, -1), rungs.betas.flip(0), rungs.step_sizes.flip(0), draws, n_moves=2)
    low, high = (torch.logsumexp(up, 0) - math.log(n)).item(), -(torch.logsumexp(back, 0) - math.log(n)).item()
    exact, error = by_rejection(summed_value(MODEL, task, EVERYWHERE), RADIUS * uniform(100_000, DIM, generator(7)))
    assert low == pytest.approx(exact, abs=4 * math.hypot(error, (up - low).exp().std().item() / math.sqrt(n)))
    assert up.mean() < exact and high > exact - 1  # of one draw only the mean over data is a bound


# --- the answer -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    planted = gromov_network(3, 3, generator(0))
    return cg.density(MODEL, TASK, RADIUS, n_wrong=2, planted=planted, effort=SOME._replace(n_rounds=30))


def test_shares_are_differences_of_evidence_and_planted_starts_meet_hot_ones(found, directions):
    of = [by_rejection(summed_value(MODEL, TASK, pairs), RADIUS * directions) for pairs in (EVERYWHERE, TASK.is_train)]
    exact = of[0][0] - of[1][0]
    for bracket in (found.R_gen, found.generalising("planted")):  # intervals of 95 %, which are widened to the test's
        wide = (bracket.high - bracket.low) / 2 * four_errors(6) / t.ppf(0.975, 5)
        assert abs(exact - bracket.value) < wide + 4 * math.hypot(of[0][1], of[1][1]), bracket
    assert found.status == "agree" and found.chance == pytest.approx(-6 * math.log(3))
    assert found.delta.value == pytest.approx(found.R_gen.value - found.R_mem.value, abs=1e-9)
    assert found.R_mem.low < found.R_mem.value < found.R_mem.high
    assert "R_gen" in str(found) and "2 draws of wrong labels" in str(found)


def test_its_table_has_every_ladder_and_its_curves_fall_from_nothing(found):
    table = found.table
    assert table.groupby(["data", "start"]).size().to_dict() == {
        ("all", "hot"): 6, ("all", "planted"): 6, ("train", "hot"): 6, ("train", "planted"): 6,
        ("wrong 0", "hot"): 6, ("wrong 1", "hot"): 6,
    }  # fmt: skip
    curve = found.curve("all")
    assert curve["beta"].iloc[-1] == 1 and curve["ln_Z"].iloc[0] == 0
    assert curve["ln_Z"].is_monotonic_decreasing and curve["complexity"].is_monotonic_increasing
    of_all, of_train = (table[(table["data"] == name) & (table["start"] == "hot")] for name in ("all", "train"))
    assert of_train["acc_train"].mean() > of_train["acc_held"].mean()
    assert of_all["acc_held"].mean() > of_train["acc_held"].mean()


def test_at_a_small_radius_everything_is_chance():
    found = cg.density(MODEL, TASK, 0.05, n_wrong=2, effort=FEW)
    assert found.R_gen.value == pytest.approx(found.chance, abs=0.05)
    assert found.delta.value == pytest.approx(0, abs=0.05) and found.status == "hot starts alone"


def test_what_is_kept_is_not_sampled_again_and_nothing_else_is_taken_for_it(tmp_path, monkeypatch):
    given = {"n_wrong": 2, "effort": FEW, "keep": tmp_path}
    told = []
    whole = cg.density(MODEL, TASK, 1.0, **given, tick=lambda done, total: told.append((done, total)))
    assert told[-1] == (40, 40) and len(told) == 40  # 4 data sets of 10 rounds

    def never(*_, **__):
        raise AssertionError("sampled again")

    monkeypatch.setattr(module, "evidence", never)
    pd.testing.assert_frame_equal(cg.density(MODEL, TASK, 1.0, **given).table, whole.table)
    with pytest.raises(AssertionError, match="sampled again"):
        cg.density(MODEL, TASK, 1.5, **given)
    monkeypatch.undo()
    more = cg.density(MODEL, TASK, 1.0, n_wrong=3, effort=FEW, keep=tmp_path)  # goes on with the third draw
    assert len(more.rows) == 5 and list(more.rows[:4]) == [dict(row) for row in whole.rows]


def test_a_planted_start_is_added_to_what_is_kept_and_another_is_sampled_anew(tmp_path, monkeypatch):
    given, sampled, evidence = {"n_wrong": 1, "effort": FEW, "keep": tmp_path}, [], module.evidence

    def counting(*of, planted, **more):
        sampled.append("hot" if planted is None else "planted")
        return evidence(*of, planted=planted, **more)

    monkeypatch.setattr(module, "evidence", counting)
    one, other = (gromov_network(3, 3, generator(i)) for i in range(2))
    hot = cg.density(MODEL, TASK, 1.0, **given)
    first = cg.density(MODEL, TASK, 1.0, planted=one, **given)
    assert sampled == ["hot"] * 3 + ["planted"] * 2 and list(first.rows[:3]) == list(hot.rows)
    second = cg.density(MODEL, TASK, 1.0, planted=other, **given)
    assert sampled[5:] == ["planted"] * 2 and second.rows[3:] != first.rows[3:]
    assert cg.density(MODEL, TASK, 1.0, planted=one, **given).rows == first.rows and len(sampled) == 7


def test_interrupted_it_goes_on_to_the_same_numbers(tmp_path):
    whole = cg.density(MODEL, TASK, 1.0, n_wrong=2, effort=FEW)

    def stop(done, total):
        if done == 25:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cg.density(MODEL, TASK, 1.0, n_wrong=2, effort=FEW, keep=tmp_path, tick=stop)
    again = cg.density(MODEL, TASK, 1.0, n_wrong=2, effort=FEW, keep=tmp_path)
    pd.testing.assert_frame_equal(again.table, whole.table)


@for_each("operation", ["add", "subtract"])
def test_wrong_labels_are_wrong_uniform_and_of_operations_that_commute_alike_in_mirrors(operation):
    task = cg.tasks.modular.ModularAddition(p=5, frac_train=0.4, operation=operation).draw()
    counts = torch.zeros(5, dtype=torch.long)
    for draw in range(400):
        other = wrongly(task, 5, 0, draw)
        off = (other.labels - task.labels) % 5
        assert torch.equal(off == 0, task.is_train)
        counts += off[~task.is_train].bincount(minlength=5)
        both = ~task.is_train & ~task.mirror_seen
        if operation == "add":
            mirrored = off.view(5, 5).T.flatten()
            assert torch.equal(off[both], mirrored[both])
    n = counts.sum().item()
    spread = 4 * math.sqrt(2 * n * 3 / 16)  # mirrors go together: at most twice the variance
    assert bool(((counts[1:] - n / 4).abs() < spread).all())


def test_intervals_meet_or_do_not():
    assert Bracket(1.0, 0.0, 2.0).meets(Bracket(3.0, 2.0, 4.0)) and not Bracket(1.0, 0.0, 2.0).meets(
        Bracket(4.0, 3.0, 5.0)
    )


def test_nothing_held_out_is_refused():
    whole = TASK.__class__(TASK.p, TASK.inputs, TASK.labels, EVERYWHERE, "x", TASK.operation)
    with pytest.raises(UserError, match="pairs that are held out"):
        cg.density(MODEL, whole, 1.0)


def counted(betas, ln_Z, slope):
    """A density of which ln Z of every data set is known."""
    row = {
        "betas": betas, "ln_Z": [[ln_Z(b) for b in betas]] * 2, "mean_loss": [[-slope(b) for b in betas]] * 2,
        "accuracy": [[1.0, 1.0]] * 2, "traded": [0.5] * (len(betas) - 1),
    }  # fmt: skip
    return [{"data": data, "start": "hot", **row} for data in ("train", "all", "wrong 0", "wrong 1")]


def test_between_rungs_ln_Z_is_the_cubic_through_values_and_slopes():
    betas = [0.0, 0.3, 1.0, 2.5, 4.0]
    cubic = counted(betas, lambda b: -3 * b + 2 * b**2 - 0.3 * b**3, lambda b: -3 + 4 * b - 0.9 * b**2)
    found = module.Density(1.0, 4.0, 3, 2, 1, 1, cubic)
    for beta in (0.0, 0.2, 1.7, 3.3, 4.0):
        assert found.ln_Z("train", "hot", beta) == pytest.approx([-3 * beta + 2 * beta**2 - 0.3 * beta**3] * 2)
    assert found.ln_Z("all") == found.ln_Z("all", "hot", 4.0) and found.ln_Z("all", "planted") == []
    smooth = module.Density(1.0, 4.0, 3, 2, 1, 1, counted(betas, lambda b: -math.log1p(b), lambda b: -1 / (1 + b)))
    assert smooth.ln_Z("train", "hot", 1.7)[0] == pytest.approx(-math.log(2.7), abs=2e-3)
    assert smooth.excess(2.0).value == 0 and smooth.memorising(2.0).value == 0
    with pytest.raises(UserError, match="beta must be 0 to 4"):
        smooth.ln_Z("train", "hot", 5.0)


TINY = ["--p", "3", "--n-neurons", "2", "--frac-train", "0.5", "--split", "mirror_free"]
QUICK = ["--ladders", "2", "--rounds", "4", "--burnin", "2", "--particles", "4", "--wrong", "2", "--quiet"]


def test_the_command_counts_writes_and_goes_on(tmp_path, capsys):
    asked = ["density", "gromov", *TINY, *QUICK, "--radii", "0.5", "1", "--out", str(tmp_path / "out")]
    assert command(asked) == 0
    said = capsys.readouterr().out
    assert said.count("R_gen") == 4 and "chance -6.592" in said
    table = pd.read_csv(tmp_path / "out" / "density.csv")
    assert table.groupby("radius").size().to_dict() == {0.5: 8, 1.0: 8} and {"R_gen", "delta_low"} <= set(table)
    assert command(asked) == 0 and capsys.readouterr().out == said


@for_each(
    ("more", "said"),
    [
        ([], "say at which norms, above 0: --radii 5 10 20"),
        (["--radii", "-1"], "say at which norms"),
        (["--radii", "1", "--planted", "nowhere"], "--planted must be RUN_FOLDER@STEP"),
    ],
)
def test_what_it_cannot_do_is_said_with_two(more, said, tmp_path, capsys):
    assert command(["density", "gromov", *TINY, *QUICK, "--out", str(tmp_path), *more]) == 2
    assert said in capsys.readouterr().err


@for_each("rows_together", [1, 2, 5])
def test_how_many_rows_go_through_one_backward_is_not_in_the_numbers(rows_together, monkeypatch):
    rows = RADIUS * uniform(5, DIM, generator(0))
    whole = summed_loss(MODEL, TASK, EVERYWHERE)(rows)
    monkeypatch.setattr(landscape, "_WITH_SLOPES", rows_together * int(EVERYWHERE.sum()) * MODEL.n_neurons)
    found = summed_loss(MODEL, TASK, EVERYWHERE)(rows)
    assert torch.equal(found.value, whole.value) and torch.equal(found.gradient, whole.gradient)
