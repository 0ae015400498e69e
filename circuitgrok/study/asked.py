"""The command line that analyses have in common."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from circuitgrok.config.train_config import TrainConfig


class Asked(NamedTuple):
    """What an analysis was asked for on its command line.

    Attributes:
        quick: Whether the small design is asked for, that only shows that it runs.
        out: Where results go.
        threads: Of torch.
        device: Where to compute, if not on the CPU.
        script: The analysis' own file; None outside one.
        replicates: Whether as many other seeds are asked for, to replicate the first.
        mnist: Folder of MNIST's files, if it was given.
    """

    quick: bool
    out: Path
    threads: int
    device: str | None = None
    script: Path | None = None
    replicates: bool = False
    mnist: Path | None = None

    def placed(self, config: "TrainConfig") -> "TrainConfig | None":
        """A config that reads its data where they are here; None if it needs data that were not given.

        Rows are kept by the config as the study has it, so that they are the same wherever its data lie.

        Example:
            >>> from circuitgrok.config.train_config import TrainConfig
            >>> images = TrainConfig.preset("omnigrok-mnist")
            >>> here = Asked(False, Path("out"), 1, mnist=Path("/data/images"))
            >>> here.placed(images).task.folder, here._replace(mnist=None).placed(images)
            ('/data/images', None)
            >>> here.placed(TrainConfig()) == TrainConfig()
            True
        """
        if config.task.kind != "mnist":
            return config
        return config.with_(folder=str(self.mnist)) if self.mnist else None

    @property
    def claims(self) -> Path:
        """The file of what is claimed, which is committed before anything is trained: beside the usual results."""
        return (out_of(self.script) if self.script else self.out) / "claims.json"


def out_of(script: Path) -> Path:
    """Where an analysis' results are kept: `out/<its name>` beside it."""
    return script.parent / "out" / script.stem


def parser_of(question: str, script: str, quick: str, device: str) -> argparse.ArgumentParser:
    """The options that every analysis has: `--quick`, `--out FOLDER`, `--threads N`, `--device`.

    Args:
        question: Shown by `--help`.
        script: The analysis' own `__file__`; results go to `out/<its name>` beside it by default.
        quick: What `--quick` makes smaller.
        device: What `--device` is for; there is none without.
    """
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--quick", action="store_true", help=f"{quick}, for tests")
    parser.add_argument("--out", type=Path, default=out_of(Path(script)))
    parser.add_argument("--threads", type=int, default=2)
    if device:
        parser.add_argument("--device", help=device)
    return parser


def asked(question: str, script: str, quick: str, device: str = "") -> Asked:
    """What was asked for of an analysis that is no study; arguments are those of `parser_of`."""
    given = parser_of(question, script, quick, device).parse_args()
    return Asked(given.quick, given.out, given.threads, given.device if device else None, Path(script))
