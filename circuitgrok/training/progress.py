"""What a person sees while a stack trains: a live bar on a terminal, plain lines elsewhere."""

import contextlib
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any, NamedTuple, Protocol, TextIO

from circuitgrok.store.run import Run
from circuitgrok.text import plain

LINE_EVERY_S = 10.0
LOADING = "loading torch…"


class StackNow(NamedTuple):
    """How far a stack is that trains in another process.

    Attributes:
        label: Its run, or how many there are.
        step: The last evaluation of the run that is behind.
        steps: The last step.
        text: The newest evaluations in a few words.
        left_s: Seconds left, if that can be told.
    """

    label: str
    step: int
    steps: int
    text: str
    left_s: float | None


class Progress(Protocol):
    """Whoever watches the training; `LiveProgress` draws it."""

    def begin(self, runs: Sequence[Run], start: int, steps: int) -> None:
        """A stack starts at `start` of `steps`."""

    def at(self, step: int, records: Sequence[dict[str, Any]] | None) -> None:
        """A step was reached; `records` are the runs' new lines of history, if any."""

    def note(self, text: str) -> None:
        """Something happened that a person should know, before the stack starts."""

    def stacks(self, now: Sequence[StackNow], done: int, of: int) -> None:
        """How far the stacks are that train in other processes; `done` of all are through."""

    def end(self) -> None:
        """The stack is finished or stopped."""


class Silent:
    """A `Progress` that shows nothing."""

    def begin(self, runs: Sequence[Run], start: int, steps: int) -> None:
        """Show nothing."""

    def at(self, step: int, records: Sequence[dict[str, Any]] | None) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def stacks(self, now: Sequence[StackNow], done: int, of: int) -> None:
        """Show nothing."""

    def end(self) -> None:
        """Show nothing."""


class Together:
    """Several `Progress`, each told everything in turn.

    Example:
        >>> Together(Silent(), Silent()).note("nobody shows it")
    """

    def __init__(self, *listeners: Progress) -> None:
        self._listeners = listeners

    def begin(self, runs: Sequence[Run], start: int, steps: int) -> None:
        """Tell all."""
        for one in self._listeners:
            one.begin(runs, start, steps)

    def at(self, step: int, records: Sequence[dict[str, Any]] | None) -> None:
        """Tell all."""
        for one in self._listeners:
            one.at(step, records)

    def note(self, text: str) -> None:
        """Tell all."""
        for one in self._listeners:
            one.note(text)

    def stacks(self, now: Sequence[StackNow], done: int, of: int) -> None:
        """Tell all."""
        for one in self._listeners:
            one.stacks(now, done, of)

    def end(self) -> None:
        """Tell all."""
        for one in self._listeners:
            one.end()


class LiveProgress:
    """A bar with loss, test accuracy, norm and time left; for a stack, medians and how many have grokked.

    Writes to stderr, so that stdout stays clean. Off a terminal it writes one plain line every ten
    seconds, and the first and the last.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        from rich.console import Console

        self._console = Console(file=stream or sys.stderr)
        self._bar: Any = None
        self._live: Any = None
        self._text, self._label, self._total = "", "", 0
        self._started_at, self._started, self._last_line = 0, 0.0, 0.0

    def begin(self, runs: Sequence[Run], start: int, steps: int) -> None:
        """Open the bar of a stack."""
        self._label = plain(runs[0].name, longest=60) if len(runs) == 1 else f"{len(runs)} runs as one stack"
        self._total, self._started_at, self._started = steps, start, time.monotonic()
        self._last_line, self._text = 0.0, ""
        if self._console.is_terminal:
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.completed}/{task.total}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[now]}", markup=False),
                console=self._console,
                refresh_per_second=4,
            )
            self._bar.start()
            self._bar.add_task(self._label, total=steps, completed=start, now="")

    def at(self, step: int, records: Sequence[dict[str, Any]] | None) -> None:
        """Move the bar; show the newest records."""
        if records:
            self._text = describe(records)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=step, now=self._text)
            return
        now = time.monotonic()
        if now - self._last_line > LINE_EVERY_S or step == self._total:
            self._last_line = now
            done = step - self._started_at
            left = (now - self._started) / done * (self._total - step) if done else None
            eta = f", {left:.0f} s left" if left is not None else ""
            line = f"{self._label}: step {step}/{self._total}{eta}  {self._text}"
            self._console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a line above whatever is drawn."""
        self._console.print(plain(text), highlight=False, soft_wrap=True, markup=False, emoji=False)

    def stacks(self, now: Sequence[StackNow], done: int, of: int) -> None:
        """Show a line for each stack at work: a table on a terminal, a plain line every ten seconds elsewhere."""
        if self._console.is_terminal:
            from rich.live import Live

            if self._live is None:
                self._live = Live(console=self._console, refresh_per_second=4, transient=False)
                self._live.start()
            self._live.update(_table_of(now, done, of))
            return
        clock = time.monotonic()
        if clock - self._last_line > LINE_EVERY_S or done == of:
            self._last_line = clock
            parts = [f"{done} of {of} stacks done", *(f"{one.label}: step {one.step}/{one.steps}" for one in now)]
            left = [one.left_s for one in now if one.left_s is not None]
            parts += [f"{max(left):.0f} s left for these"] if left else []
            self._console.print("; ".join(parts), markup=False, emoji=False, highlight=False, soft_wrap=True)

    def end(self) -> None:
        """Close the bar."""
        for drawn in (self._bar, self._live):
            if drawn is not None:
                drawn.stop()
        self._bar = self._live = None


def usual_progress() -> Progress:
    """Who is told if nobody is named: a bar in a notebook, elsewhere nobody."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return LiveProgress() if hasattr(shell, "kernel") else Silent()


def _table_of(now: Sequence[StackNow], done: int, of: int) -> Any:
    """The stacks at work, a line each, and how many are through."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for column in range(5):
        table.add_column(no_wrap=column != 4, overflow="ellipsis")
    for one in now:
        bar = ProgressBar(total=one.steps, completed=one.step, width=16)
        left = "" if one.left_s is None else f"{int(one.left_s) // 60}:{int(one.left_s) % 60:02d} left"
        table.add_row(Text(plain(one.label, longest=40)), bar, f"{one.step}/{one.steps}", left, Text(one.text))
    table.add_row(Text(f"{done} of {of} stacks done"))
    return table


def describe(records: Sequence[dict[str, Any]]) -> str:
    """The newest evaluation in a few words; records of one stack may differ in what else they tell.

    >>> one = {"train_loss": 0.01, "test_loss": 5.0, "test_acc": 0.25, "norm": 30.0}
    >>> describe([one])
    'loss 1.0e-02  test loss 5.0e+00  test acc 0.250  norm 30.0'
    >>> describe([one | {"train_corrupted_acc": 1.0}, one])
    'medians: loss 1.0e-02  test loss 5.0e+00  test acc 0.250  norm 30.0  test acc ≥ 0.95: 0/2'
    """
    middle = {key: median(record[key] for record in records) for key in ("train_loss", "test_loss", "test_acc", "norm")}
    text = (
        f"loss {middle['train_loss']:.1e}  test loss {middle['test_loss']:.1e}  "
        f"test acc {middle['test_acc']:.3f}  norm {middle['norm']:.1f}"
    )
    if len(records) == 1:
        return text
    grokked = sum(record["test_acc"] >= 0.95 for record in records)
    return f"medians: {text}  test acc ≥ 0.95: {grokked}/{len(records)}"


@contextlib.contextmanager
def ticks(what: str, of: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A function to call with (done, total): a bar on a terminal, elsewhere a line now and then and at the end."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(file=sys.stderr)
    with Progress(console=console, disable=quiet or not console.is_terminal) as bar:
        task, last = bar.add_task(what, total=None), time.monotonic()
        first: tuple[int, float] | None = (
            None  # what was done by the first call, and when: an earlier one may have begun
        )

        def tick(done: int, total: int) -> None:
            nonlocal last, first
            bar.update(task, completed=done, total=total)
            if quiet or console.is_terminal:
                return
            now = time.monotonic()
            first = first or (done, now)
            if done == total:
                console.print(f"{what}: {total} {of}", highlight=False, soft_wrap=True)
            elif now - last > LINE_EVERY_S and done > first[0]:
                last, left = now, (now - first[1]) * (total - done) / (done - first[0])
                console.print(f"{what}: {done}/{total} {of}, {left:.0f} s left", highlight=False, soft_wrap=True)

        yield tick


def load_torch(quiet: bool = False) -> None:
    """Import torch, which takes seconds, and say so: the first sign of life; on a terminal it is wiped afterwards."""
    said = not quiet and "torch" not in sys.modules
    if said:
        print(LOADING, end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)
    importlib.import_module("torch")

    if said and sys.stderr.isatty():
        print("\r" + " " * len(LOADING) + "\r", end="", file=sys.stderr, flush=True)
