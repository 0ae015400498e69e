"""Steps of a stack as a graph that a GPU replays without asking the host.

A GPU takes a step of a small network faster than the host can ask for its operations one by one. So the operations of a
step are captured once (`torch.cuda.CUDAGraph`) and replayed, forward, backward, penalties, noise, optimizer and
constraint; those of an evaluation are a second graph. A graph has the same operations on the same memory each time:

    Fed         what differs between steps, learning rate, number, noise, batch, lies in a table with a row for each
                step of a block, which the host fills before; a counter on the device says which row is next
    Replayed    what each step of a block finds, its objectives, goes into such a table too, and comes to the host once

Whether losses are finite is seen when a block is through. If one is not, the block is taken back and taken again up to
that step: so a run diverges at the same step, with the same weights and record, and leaves the stack there, whether or
not its steps were captured.

Here torch's deterministic algorithms are off: some of them wait for the device. They are not needed, because no
operation of a captured step sums in an order that threads decide (`apart.picked`).
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from circuitgrok.device import Beforehand
from circuitgrok.interventions.batches import Batches
from circuitgrok.training.moment import Moment, moment, seeds_of
from circuitgrok.training.stack import Stack, everything
from circuitgrok.training.step import evaluated, forward, records, update, watched_update

BLOCK = 128  # most steps between two looks at the losses
BLOCK_BYTES = 2**28  # most that the host gives to the steps of a block
WARM_UPS = 3  # as torch asks for: libraries set themselves up at their first calls
Work = Callable[[Moment], Tensor]


class Fed:
    """What the steps of a block get from the host, in memory that stays where it is.

    Which tensors these are, is found out when a step is taken for the first time.
    """

    def __init__(self, stack: Stack, first: int) -> None:
        self._stack, self._first, self._device = stack, first, stack.flat.device
        self._recipes: list[Callable[[range], Tensor]] = []
        self._here: list[Tensor] = []  # `[row ...]` on the host
        self._there: list[Tensor] = []  # the same on the device
        self._is_settled, self._turn = False, 0
        self._generators: dict[tuple[str, int], Sequence[torch.Generator]] = {}
        self.row = torch.zeros(1, dtype=torch.int64, device=self._device)

    def moment(self) -> Moment:
        """That of the next row; what it gives has to be asked for in the same order each time."""
        self._turn = 0
        seeds, rate = seeds_of(self._stack), self._stack.configs[0].optimizer.rate
        return Moment(
            self._take(lambda steps: torch.arange(steps.start, steps.stop)),
            self._take(lambda steps: torch.tensor([rate(step) for step in steps], dtype=torch.float64)),
            lambda purpose: Beforehand(
                lambda draw: self._take(lambda steps: torch.stack([draw(self._own(purpose, step)) for step in steps]))
            ),
            lambda batches, n_pairs: self._take(
                lambda steps: torch.stack([batches(seeds, n_pairs, step) for step in steps])
            ),
        )

    def settle(self) -> int:
        """Make room, once a step has asked for all that it needs; how many steps there is room for."""
        once = self._given(self._first, 1)
        rows = max(1, min(BLOCK, BLOCK_BYTES // sum(value.nbytes for value in once)))
        pinned = self._device.type == "cuda"
        self._here = [torch.empty(rows, *v.shape[1:], dtype=v.dtype, pin_memory=pinned) for v in once]
        self._there = [here.to(self._device) for here in self._here]
        self._is_settled = True
        return rows

    def fill(self, first: int, count: int) -> None:
        """Give all that `count` steps from `first` on need."""
        for here, there, value in zip(self._here, self._there, self._given(first, count), strict=True):
            there[:count].copy_(here[:count].copy_(value), non_blocking=True)
        self.row.zero_()

    def _given(self, first: int, count: int) -> list[Tensor]:
        self._generators = {}
        return [recipe(range(first, first + count)) for recipe in self._recipes]

    def _take(self, recipe: Callable[[range], Tensor]) -> Tensor:
        if not self._is_settled:
            self._recipes.append(recipe)
            return recipe(range(self._first, self._first + 1))[0].to(self._device)
        self._turn += 1
        return self._there[self._turn - 1].index_select(0, self.row).squeeze(0)

    def _own(self, purpose: str, step: int) -> Sequence[torch.Generator]:
        """The generators of a step, from which its numbers for a purpose are drawn one after the other."""
        key = purpose, step
        if key not in self._generators:
            self._generators[key] = moment(self._stack, step).generators(purpose)
        return self._generators[key]


class Replayed:
    """Work on a stack at a moment that can be done again for the next steps, by a graph where there is a GPU.

    Making one does the work a few times: what it changes is for the caller to put back.
    """

    def __init__(self, stack: Stack, work: Work, first: int) -> None:
        self._work, self._fed = work, Fed(stack, first)
        found = work(self._fed.moment())
        self.room = self._fed.settle()
        self._found = found.new_empty(self.room, *found.shape)
        self._replay = graph_of(self.once, lambda: self._fed.fill(first, 1), stack.flat.device)

    def __call__(self, first: int, count: int) -> Tensor:
        """What the work finds at `count` steps from `first` on, `[step ...]` on the host."""
        self._fed.fill(first, count)
        for _ in range(count):
            self._replay()
        return self._found[:count].cpu()

    def once(self) -> None:
        """The work at the next row, without a look at any number on the device."""
        self._found.index_copy_(0, self._fed.row, self._work(self._fed.moment()).unsqueeze(0))
        self._fed.row.add_(1)


def graph_of(work: Callable[[], None], prepare: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """What does the work: a graph of its operations on a GPU, elsewhere the function itself.

    Args:
        work: Operations on one device, with the same tensors each time.
        prepare: Called before the work is done to warm up, as torch asks for before it captures.
        device: Where.
    """
    if device.type != "cuda":
        return work
    with torch.cuda.device(device):
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                prepare()
                work()
        torch.cuda.current_stream(device).wait_stream(aside)
        torch.cuda.synchronize(device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
    return graph.replay


@contextlib.contextmanager
def any_algorithms() -> Iterator[None]:
    """Torch's deterministic algorithms off, and on again."""
    enabled, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)


class CapturedSteps:
    """The steps of a stack, taken by graphs; see `training.steps.Steps`."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._columns: list[str] = []
        self._known: dict[tuple[str, int], Replayed] = {}
        self._live = [*everything(stack).values(), *stack.optimizer.counters]
        self._kept = [torch.empty_like(live) for live in self._live]
        self._finite: list[bool] | None = None  # at the present step, where a block was taken back

    @any_algorithms()
    def look(self, step: int, due: bool) -> tuple[list[bool], list[dict[str, float]] | None]:
        """Whether each run's objective is finite, and the lines of history if they are due or one is not."""
        if not due and self._finite is None:
            return [True] * len(self.stack.configs), None
        objective, *found = self._replayed("look", step)(step, 1)[0].unbind()
        finite, self._finite = self._finite or objective.isfinite().tolist(), None
        columns = dict(zip(self._columns, found, strict=True))
        columns["train_loss"] = torch.where(torch.tensor(finite), columns["train_loss"], torch.nan)
        return finite, records(step, columns)

    @any_algorithms()
    def watched(self, step: int) -> list[dict[str, float]]:
        """Take a step apart; each run's line about it."""
        return watched_update(self.stack, forward(self.stack, step), step)

    @any_algorithms()
    def advance(self, step: int, is_due: Callable[[int], bool]) -> int:
        """Go on to the next step that is due, or as far as there is room for; the step reached."""
        take, size = self._replayed("move", step), self._size(step)
        count = 1
        while count < take.room and not is_due(step + count) and self._size(step + count) == size:
            count += 1
        self._keep()
        finite = take(step, count).isfinite()
        if bool(finite.all()):
            return step + count
        self._put_back()
        good = int(finite.all(1).long().argmin())
        if good:
            take(step, good)
        self._finite = finite[good].tolist()
        return step + good

    def _replayed(self, name: str, step: int) -> Replayed:
        key = name, self._size(step)
        if key not in self._known:
            self._keep()
            self._known[key] = Replayed(self.stack, {"look": self._look, "move": self._move}[name], step)
            self._put_back()
        return self._known[key]

    def _size(self, step: int) -> int:
        """How many pairs a step sees."""
        n = self.stack.train_pairs.labels.shape[1]
        batches = [one for one in self.stack.configs[0].interventions if isinstance(one, Batches)]
        return batches[0].seen(n, step) if batches else n

    def _move(self, now: Moment) -> Tensor:
        """Take a step; the objectives before it, `[run]`."""
        ahead = forward(self.stack, now)
        update(self.stack, ahead, now)
        return ahead.objective.detach()

    @torch.no_grad()
    def _look(self, now: Moment) -> Tensor:
        """The objectives and the columns of history, `[column run]`."""
        ahead = forward(self.stack, now)
        columns = evaluated(self.stack, ahead)
        self._columns = list(columns)
        return torch.stack([value.double() for value in (ahead.objective, *columns.values())])

    def _keep(self) -> None:
        for kept, live in zip(self._kept, self._live, strict=True):
            kept.copy_(live)

    def _put_back(self) -> None:
        for kept, live in zip(self._kept, self._live, strict=True):
            live.copy_(kept)
