"""TensorBoard as a listener of training: the one door to `torch.utils.tensorboard`, which is an extra.

Each run's history goes to `RUN/tensorboard`, beside its own files, so that `tensorboard --logdir checkpoints` shows
all. Nothing of a run depends on it.
"""

from collections.abc import Sequence
from typing import Any

from circuitgrok.errors import UserError
from circuitgrok.store.run import Run
from circuitgrok.training.progress import Silent

FOLDER = "tensorboard"  # in a run's folder


class TensorBoard(Silent):
    """A `Progress` that writes every evaluation of every run for TensorBoard, by the names of the history's columns.

    Raises:
        UserError: The extra is not installed.

    Example:
        >>> import tempfile
        >>> import circuitgrok as cg
        >>> config = cg.TrainConfig.preset("quickstart").with_(p=7, d_model=16, d_head=4, d_mlp=16, steps=2)
        >>> run = cg.train([config], tempfile.mkdtemp(), progress=TensorBoard())[0]
        >>> len(list((run.path / "tensorboard").iterdir()))
        1
    """

    def __init__(self) -> None:
        self._door()
        self._writers: list[Any] = []

    @staticmethod
    def _door() -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError(
                "logging to TensorBoard needs the extra: pip install 'circuitgrok[tensorboard]', or leave out --log"
            ) from None
        return SummaryWriter

    def begin(self, runs: Sequence[Run], start: int, steps: int) -> None:
        """Open a log for each run; after resuming, what was logged beyond `start` is taken back."""
        writer = self._door()
        self._writers = [writer(str(run.path / FOLDER), purge_step=start + 1) for run in runs]

    def at(self, step: int, records: Sequence[dict[str, Any]] | None) -> None:
        """Write the runs' new lines of history."""
        for writer, record in zip(self._writers, records or (), strict=False):
            for name, value in record.items():
                if name != "step" and isinstance(value, int | float):
                    writer.add_scalar(name, value, step)

    def end(self) -> None:
        """Close the logs."""
        for writer in self._writers:
            writer.close()
        self._writers = []
