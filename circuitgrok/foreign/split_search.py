"""Which pairs a published network was trained on, found by the losses that its file claims.

The losses of all pairs are taken once. A candidate split (rule, seed, share) is then two means, and each rule puts the
pairs in an order whose beginning is the training set, so one cumulative sum serves every share.

A match must be no chance. Splits that have nothing to do with the network lie about a claim with some density. If a
window k times as wide as the tolerance holds n others, some n / k of them are to be expected within the tolerance
itself; and if it holds none, that one lay there has a probability of at most lambda exp(-k lambda) <= 1 / (e k),
whatever their mean number lambda is. A match is believed if one of these is at most 1 %.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.foreign.claims import FLOAT32, TF32, Claims, Evidence, disbelieved, evidence_of
from circuitgrok.tasks.modular import ModularAddition
from circuitgrok.tasks.splits import ORDERS, SPLITS, share_of
from circuitgrok.tree import Params

STAND_IN = "stand-in"
MOST_PAIRS = 2**22  # p up to 2,048
SEEDS = (*range(300), 598, 999, 1234, 2023, 31415)  # 598: the grokking demo's
SHARES = (*(k / 20 for k in range(1, 20)), 1 / 3, 2 / 3)
WINDOWS = (37, 100, 300, 1000)  # in tolerances
CHANCE = 0.01
_NUMBERS = 2**22  # losses that are summed at once
_MANY = 50  # matches that are looked at; more than one split among them is no match


class Candidate(NamedTuple):
    """A split by its rule."""

    split: str
    data_seed: int
    frac_train: float

    def mask(self, n_pairs: int) -> Tensor:
        """Its training pairs."""
        return SPLITS[self.split](n_pairs, self.frac_train, self.data_seed)

    @property
    def label(self) -> str:
        """How it is said: the share, the seed, and the rule if it is not Nanda's."""
        rule = "" if self.split == "nanda" else f" {self.split}"
        return f"frac {self.frac_train:g} seed {self.data_seed}{rule}"


class Match(NamedTuple):
    """The split that alone has the claimed losses.

    Attributes:
        candidate: The split.
        gap: Its largest relative difference from a claim.
        nearest: That of the next best split.
        products: Rounding that had to be allowed: 1 for float32.
    """

    candidate: Candidate
    gap: float
    nearest: float
    products: float

    @property
    def said(self) -> str:
        """How it was found, in a sentence."""
        coarse = "; rounding of products in TF32 was allowed for" if self.products > FLOAT32 else ""
        return (
            f"split {self.candidate.label}: searched for; it alone has the losses that the file claims, to "
            f"{self.gap:.1g} of themselves (the next best split to {self.nearest:.1g}){coarse}"
        )


def search(evidence: Sequence[Evidence], first: Candidate, products: Sequence[float] = (FLOAT32, TF32)) -> Match | None:
    """The one split that has all the losses that a file claims, if there is one, and it is no chance.

    Args:
        evidence: Claims and losses; both a training and a test loss are needed.
        first: What the file or its code suggests: this share and seed are tried too.
        products: Roundings, the finest first.
    """
    if {one.column for one in evidence} != {"train_loss", "test_loss"}:
        return None
    n_pairs = len(evidence[0].losses)
    shares = _shares(evidence, first, n_pairs)
    sizes = torch.tensor([int(share * n_pairs) for share in shares])
    table = torch.stack([one.losses for one in evidence])
    orders = list(_orders(n_pairs, first))
    rows = max(1, _NUMBERS // table.numel())
    gaps = torch.cat([
        _gaps(evidence, table, torch.stack([order for _, _, order in orders[i : i + rows]]), sizes)
        for i in range(0, len(orders), rows)
    ])  # fmt: skip
    for allowed in products:
        # In tolerances, the worst claim of each candidate.
        far = (gaps / torch.tensor([one.tolerance(allowed) for one in evidence], dtype=torch.float64)).amax(-1)
        near = sorted((far <= 1).nonzero().tolist(), key=lambda at: float(far[at[0], at[1]]))
        matches = [Candidate(orders[i][0], orders[i][1], shares[j]) for i, j in near[:_MANY]]
        if not matches or len({match.mask(n_pairs).numpy().tobytes() for match in matches}) > 1:
            continue
        others = [int((far <= k).sum()) - len(near) for k in WINDOWS]
        if min(max(n, 1 / math.e) / k for n, k in zip(others, WINDOWS, strict=True)) <= CHANCE:
            worst = gaps.amax(-1)
            nearest = worst[far > 1].min().item() if bool((far > 1).any()) else math.inf
            return Match(matches[0], worst[near[0][0], near[0][1]].item(), nearest, allowed)
    return None


def _shares(evidence: Sequence[Evidence], first: Candidate, n_pairs: int) -> list[float]:
    """Shares to try: the suggested, the usual, and that at which both claims have the mean of all pairs."""
    shares = [first.frac_train, *SHARES]
    by_column = {one.column: one for one in evidence if one.step == evidence[-1].step}
    if len(by_column) == 2:
        train, test = by_column["train_loss"].claimed, by_column["test_loss"].claimed
        every = evidence[-1].losses.mean().item()
        n = n_pairs * (every - test) / (train - test) if train != test else 0.0
        unsure = max(one.tolerance() for one in evidence) * 3 * max(train, test) / max(abs(train - test), 1e-300)
        # Only where the claims tell the number of pairs from its neighbours, which would be matches beside it.
        if 0.5 < n < n_pairs - 0.5 and unsure * n_pairs < 0.5:
            shares.append(share_of(round(n), n_pairs))
    of_size = {int(share * n_pairs): share for share in reversed(shares)}  # the first of those that are one size
    return [share for share in dict.fromkeys(shares) if share in of_size.values() and 0 < share * n_pairs - 1]


def _orders(n_pairs: int, first: Candidate) -> Iterator[tuple[str, int, Tensor]]:
    rules = [rule for rule in dict.fromkeys([first.split, *ORDERS]) if rule in ORDERS]
    for rule in rules:
        for seed in dict.fromkeys([first.data_seed, *SEEDS]):
            yield rule, seed, ORDERS[rule](n_pairs, seed)


def _gaps(evidence: Sequence[Evidence], table: Tensor, orders: Tensor, sizes: Tensor) -> Tensor:
    """Relative differences from each claim, `[order share claim]`."""
    sums = table[:, orders].cumsum(-1)  # [claim order pair]
    first, every = sums[..., sizes - 1], sums[..., -1:]
    is_train = torch.tensor([one.column == "train_loss" for one in evidence])[:, None, None]
    here = torch.where(is_train, first / sizes, (every - first) / (table.shape[1] - sizes))
    claimed = torch.tensor([one.claimed for one in evidence], dtype=torch.float64)[:, None, None]
    gaps = (here - claimed).abs() / torch.maximum(here.abs(), claimed.abs()).clamp(min=1e-300)
    return gaps.permute(1, 2, 0)


def contradictions(evidence: Sequence[Evidence], is_train: Tensor, products: float = FLOAT32) -> list[str]:
    """The claims that a split does not have, a sentence each."""
    said = []
    for one in evidence:
        here = one.here(is_train)
        gap, allowed = one.gap(here), one.tolerance(products)
        if gap > allowed:
            said.append(
                f"the file claims {one.column} {one.claimed:.3g} at step {one.step}, but the weights have {here:.3g} "
                f"({one.exactly}): {gap:.2g} of itself, where {allowed:.2g} can be explained"
            )
    return said


def impossible(evidence: Sequence[Evidence]) -> list[str]:
    """Claims that no split can have: the mean over all pairs lies between those of its two sides."""
    said = []
    for step in sorted({one.step for one in evidence}):
        sides = [one for one in evidence if one.step == step]
        if len(sides) == 2:
            every = sides[0].losses.mean().item()
            low, high = sorted(one.claimed for one in sides)
            slack = 1 + max(one.tolerance(TF32) for one in sides)
            if not low / slack <= every <= high * slack:
                said.append(
                    f"no split has the losses that the file claims at step {step}: the mean over all pairs is "
                    f"{every:.3g}, and does not lie between {low:.3g} and {high:.3g}"
                )
    return said


def settled(
    file: str,
    config: TrainConfig,
    told: str,
    claims: Claims,
    networks: Mapping[int, Params],
    before: Params | None,
    notes: list[str],
) -> tuple[TrainConfig, str]:
    """The config with the split that the claims bear out, and where that split comes from.

    Args:
        file: Its name, for messages.
        config: With the split that was told.
        told: `listed` pair by pair in the file; by rule `in the file` or `given`; `assumed`.
        claims: Losses that the file claims.
        networks: By step.
        before: The last network one update earlier, if that is known.
        notes: Gets a sentence for each thing that was found.

    Raises:
        UserError: The split given is not the one trained on, or the losses are far from those of any.
    """
    if config.task.n_pairs > MOST_PAIRS:
        raise UserError(f"at most {MOST_PAIRS} pairs are evaluated; the task has {config.task.n_pairs}")
    task, modular = config.task.draw(), config.task if isinstance(config.task, ModularAddition) else None
    evidence = evidence_of(claims, networks, before, config.model, task.inputs, task.labels)
    wrong, never = contradictions(evidence, task.is_train), impossible(evidence)
    known = told in ("listed", "in the file", "given")
    if known and not wrong:
        if not evidence:
            notes.append("the file claims no losses that its split could be compared by")
        return config, "given" if told == "given" else "in the file"
    found = None
    if modular and not never and told != "listed":
        found = search(evidence, Candidate(modular.split, modular.data_seed, modular.frac_train))
    if known and not (found and found.products == FLOAT32) and not contradictions(evidence, task.is_train, TF32):
        notes.extend(f"contradicts the file: {one}; products in TF32 would explain it" for one in wrong)
        return config, "given" if told == "given" else "in the file"
    if told == "given":
        advice = f"the losses are those of {found.candidate.label}" if found else "no split known here has these losses"
        raise UserError(
            f"{file}: the split given is not the one trained on: {'; '.join(wrong)}; {advice}: leave out "
            "--data-seed, --frac-train and --split to have it searched for"
        )
    if found:
        notes.extend(f"contradicts the file's settings: {one}" for one in (wrong if known else []))
        notes.append(found.said)
        return config.with_(**found.candidate._asdict()), f"found: {found.candidate.label}"
    far = max((abs(one.here(task.is_train) - one.claimed) for one in evidence), default=0.0)
    # Half the loss of guessing: one update moves a loss by far less, a matrix the wrong way round by more.
    if far > math.log(config.task.n_classes) / 2 and (known if told != "listed" else bool(never)):
        raise UserError(
            f"{file}: {'; '.join(never or wrong)}: a matrix is the wrong way round for this layout (or in "
            "the mapping of keys), or the split or the task is another; --data-seed, --frac-train, --split and "
            "--operation say which"
        )
    notes.extend(f"contradicts the file: {one}" for one in never or (wrong if known else []))
    if told == "listed":
        notes.extend(disbelieved(evidence, networks, config, task))
        return config, "in the file"
    notes.append("the split is a stand-in: train and test columns are nan, those on all pairs are what they are")
    return config, STAND_IN
