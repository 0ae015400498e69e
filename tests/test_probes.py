"""The membership probe: planted signals of known area, chance without one, and no leak through mirror pairs."""

import math

import pytest
import torch
from loops import for_each
from oracles import generator, noise

from circuitgrok.measures.learning.probes import membership_probe, mirror_folds, permuted_membership

KINDS = ["random", "mirrored"]


def members(p, kind="random", seed=0, share=0.4):
    drawn = torch.rand(p, p, generator=generator(seed)) < share
    return (drawn if kind == "random" else drawn.triu() | drawn.triu().T).flatten()


def symmetric_noise(p, n, seed=0):
    """Features that are the same for (a, b) and (b, a)."""
    grid = noise(p, p, n, seed=seed)
    return (grid + grid.transpose(0, 1)).reshape(p * p, n)


def slow_area(scores, is_member):
    """The share of member-and-other couples that the scores put in order, ties half."""
    inside, outside = scores[is_member].tolist(), scores[~is_member].tolist()
    wins = sum((x > y) + 0.5 * (x == y) for x in inside for y in outside)
    return wins / (len(inside) * len(outside))


# What it finds


@pytest.mark.parametrize("shift", [0.5, 1.5])
def test_a_planted_shift_is_read_off_as_well_as_it_can_be(shift):
    """Gaussians a distance d apart are told apart with an area of Phi(d / sqrt 2)."""
    p = 41
    is_train = members(p)
    features = noise(p * p, 6)
    features[:, 2] += shift * is_train
    probe = membership_probe(features, is_train, seed=1, n_permutations=2)
    best = 0.5 * (1 + math.erf(shift / 2))
    # Hanley and McNeil's bound: a standard error below sqrt(A (1 - A) / min(n, m)). The probe's six weights, fitted on
    # 1340 pairs, cost a few 1e-3.
    error = math.sqrt(best * (1 - best) / int(is_train.sum()))
    assert abs(probe.auc - best) < 4 * error
    assert 0 < probe.stderr < 4 * error and probe.p_value == 1 / 3


def test_noise_is_at_chance_and_its_null_too():
    is_train, draws = members(23), 20
    probe = membership_probe(noise(529, 8), is_train, seed=0, n_permutations=draws)
    n, m = int(is_train.sum()), int((~is_train).sum())
    error = math.sqrt((n + m + 1) / (12 * n * m))  # of an area at chance (Mann and Whitney)
    assert abs(probe.auc - 0.5) < 4 * error
    assert abs(probe.null_mean - 0.5) < 4 * error / math.sqrt(draws)
    assert abs(probe.null_std / error - 1) < 4 / math.sqrt(2 * (draws - 1))  # four standard errors of a deviation
    assert 1 / (draws + 1) <= probe.p_value <= 1


def test_mirrors_do_not_leak_when_both_are_on_the_same_side():
    """Symmetric noise with many features: known by heart if a pair's mirror was seen, worth nothing if not."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    p = 17
    is_train, features = members(p, "mirrored"), symmetric_noise(p, 200)
    careless = cross_val_predict(
        LogisticRegression(max_iter=1000),
        features.numpy(),
        is_train.numpy(),
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
        method="decision_function",
    )
    assert slow_area(torch.from_numpy(careless), is_train) > 0.8
    probe = membership_probe(features, is_train, seed=0, n_permutations=2)
    n = int(is_train.sum()) // 2  # a pair and its mirror are one example
    assert abs(probe.auc - 0.5) < 4 * math.sqrt(1 / (12 * n) + 1 / (12 * (p * (p + 1) // 2 - n)))


def test_areas_are_those_of_counting_couples():
    p = 9
    is_train, features = members(p), noise(p * p, 1)
    folds = mirror_folds(is_train, n_folds=2, generator=generator(4))
    # With one feature the probe's order is the feature's, up to a sign that the other fold decides.
    expected = []
    for fold in range(2):
        area = slow_area(features[folds == fold, 0], is_train[folds == fold])
        mean_gap = features[(folds != fold) & is_train].mean() - features[(folds != fold) & ~is_train].mean()
        expected.append(area if mean_gap > 0 else 1 - area)
    probe = membership_probe(features, is_train, seed=4, n_folds=2, n_permutations=2)
    assert probe.auc == pytest.approx(sum(expected) / 2, abs=1e-12)
    assert probe.stderr == pytest.approx(abs(expected[0] - expected[1]) / 2, abs=1e-12)


def test_the_same_seed_gives_the_same_answer():
    is_train, features = members(11), noise(121, 3)
    one, again, other = (membership_probe(features, is_train, seed=s, n_permutations=2) for s in (0, 0, 1))
    assert one == again != other


# Folds and permutations


@for_each("kind", KINDS)
@for_each("n_folds", [2, 5])
def test_mirrors_share_a_fold_and_folds_are_balanced(kind, n_folds):
    p = 23
    is_train = members(p, kind)
    folds = mirror_folds(is_train, n_folds=n_folds, generator=generator(0)).reshape(p, p)
    assert torch.equal(folds, folds.T) and sorted(folds.unique().tolist()) == list(range(n_folds))
    grid = is_train.reshape(p, p)
    off = torch.ones(p, p).triu(1).bool()
    for both in ((True, True), (True, False), (False, True), (False, False)):
        here = off & (grid == both[0]) & (grid.T == both[1])
        sizes = folds[here].bincount(minlength=n_folds)
        assert int(sizes.max() - sizes.min()) <= 1


@for_each("kind", KINDS)
def test_permuted_memberships_keep_the_number_of_pairs_of_each_kind(kind):
    p = 23
    is_train = members(p, kind)
    permuted = permuted_membership(is_train, generator=generator(0))
    assert not torch.equal(permuted, is_train)

    def census(mask):
        grid = mask.reshape(p, p)
        off = torch.ones(p, p).triu(1).bool()
        return (grid.long() + 2 * grid.T.long())[off].bincount(minlength=4).tolist(), int(grid.diagonal().sum())

    assert census(permuted) == census(is_train)


def test_every_pair_is_as_likely_to_be_given_a_membership():
    p, draws = 5, 500
    is_train = members(p)
    g = generator(0)
    count = torch.stack([permuted_membership(is_train, generator=g) for _ in range(draws)]).double().mean(0)
    grid, found = is_train.reshape(p, p), count.reshape(p, p)
    for where in (torch.eye(p).bool(), torch.ones(p, p).triu(1).bool(), torch.ones(p, p).tril(-1).bool()):
        share = grid[where].double().mean()
        error = (share * (1 - share) / draws).sqrt()
        assert bool(((found[where] - share).abs() <= 4 * error).all())


# Refusals


def test_what_cannot_be_probed_is_refused():
    is_train = members(7)
    with pytest.raises(ValueError, match="got 48, which is no square"):
        mirror_folds(is_train[:48], n_folds=2, generator=generator(0))
    with pytest.raises(ValueError, match="two folds or more; got 1"):
        mirror_folds(is_train, n_folds=1, generator=generator(0))
    with pytest.raises(ValueError, match="there are 1 on one"):
        mirror_folds(torch.arange(49) == 3, n_folds=2, generator=generator(0))
    with pytest.raises(ValueError, match="two permutations or more; got 1"):
        membership_probe(noise(49, 2), is_train, seed=0, n_permutations=1)
