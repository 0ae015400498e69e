"""The command line: `circuitgrok` and one of the commands of `HELP`.

Exit codes: 0 done; 1 a run diverged, or the doctor found damage; 2 bad input (one line says the rule,
what was got, what to type); 70 a fault of circuitgrok (a traceback, and what to report); 74 the disk is full
or refuses; 75 stopped by a signal with everything saved: the same command goes on;
130 stopped at once (by a second signal, or outside training): what was saved last holds; 141 whoever read the output
has gone, as `head` does; files were written before. What each command does is in `circuitgrok.faces.commands`.
"""

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence

from circuitgrok.errors import Interrupted, UserError, nearest
from circuitgrok.faces.commands import counting, discovering, exchanging, listing, looking, showing, studying, training
from circuitgrok.text import show
from circuitgrok.version import __version__

HELP = """usage: circuitgrok COMMAND ...

Train grokking networks, checkpoint them densely, take every checkpoint apart.

  train PRESET [--FIELD VALUE ...]             train one run; the same command again resumes it
  train --config FILE [--FIELD VALUE ...]      the same from a run's folder, its config.json, or a JSON file
  sweep --preset PRESET [--FIELD VALUES ...]   train a grid of runs; alike ones as one stack
  presets                                      list the presets: whose they are, how long they take
  import SOURCE                                bring in networks of other hands as a run: a file, a folder
                                               or a pattern of files
  export RUN --as huggingface                  write a network for TransformerLens, as safetensors, or as a
                                               folder for the hub (tl, safetensors, huggingface)
  runs [FOLDER] [--where "alpha > 1"]          list the runs below a folder; --sort, --csv, --json
  measure RUN                                  measure every checkpoint, write measures.parquet
  measure RUN --measures llc hessian           learning coefficients and curvature (minutes)
  explore RUN@STEP --sampler hmc ...           walk the loss basin from a checkpoint (hmc, sgld, ...)
  density PRESET --radii 5 10 --out FOLDER     count solutions on spheres of weights (hours; goes on)
  discover RUN@STEP                            parts of a network by how they respond to pairs' losses
  report RUN... -o FILE.html                   one offline page: curves, spectra, neurons, hands on the model
  doctor RUN                                   verify every file of a run
  thin RUN --checkpoint-every 1000             remove other checkpoints of a run that is over, after asking
  new-study NAME                               lay a small analysis that runs, to be changed into one's own

fields: any field of the config by its own name, such as --alpha 0.8 --p 59 --fixed-norm on;
        `circuitgrok train nanda --help` lists them all, with `--model dense --task digits` those of other kinds
"""
PATHS = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}
DISK = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EIO}
WHAT_NOW = {
    errno.EROFS: "the disk is read-only: choose another --out",
    errno.EIO: "the disk fails: choose another --out, on another disk",
    errno.EFBIG: "the file is larger than this disk or `ulimit -f` allows",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; exits with the code of the command. What the output cannot encode is printed as `?`."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    code = run(list(sys.argv[1:] if argv is None else argv))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _unread()
    sys.exit(code)


def run(argv: list[str]) -> int:
    """Run one command; its exit code."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0 if argv else 2
    if argv[0] == "--version":
        show(__version__)
        return 0
    if argv[0] not in COMMANDS:
        return _refuse(f"unknown command {argv[0]!r}{nearest(argv[0], COMMANDS)}; there are {', '.join(COMMANDS)}")
    try:
        return COMMANDS[argv[0]](argv[1:])
    except KeyboardInterrupt as stopped:
        show(f"circuitgrok: {stopped or 'stopped'}", file=sys.stderr)
        return 75 if isinstance(stopped, Interrupted) else 130
    except UserError as error:
        return _refuse(str(error))
    except BrokenPipeError:
        return _unread()
    except OSError as error:
        if error.errno in PATHS or error.errno is None:
            return _refuse(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        if error.errno not in DISK:
            return _fault(argv)
        place = f" at {error.filename}" if error.filename else ""
        advice = WHAT_NOW.get(error.errno, "make room, then the same command goes on")
        show(
            f"circuitgrok: cannot write{place}: {error.strerror}; what was saved before is whole: {advice}",
            file=sys.stderr,
        )
        return 74
    except Exception:
        return _fault(argv)


def _unread() -> int:
    """Say nothing more: nobody reads it, and the interpreter must not try again when it ends."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(devnull, stream.fileno())
    return 141


def _fault(argv: list[str]) -> int:
    """Show where an error that nobody foresaw came from, and what to report."""
    import platform
    import shlex
    import traceback

    traceback.print_exc()
    torch = sys.modules.get("torch")
    versions = [f"circuitgrok {__version__}", f"Python {platform.python_version()}"]
    versions += [f"torch {torch.__version__}"] if torch else []
    show(
        f"circuitgrok: this is a fault of circuitgrok, not of what you typed. Report the lines above with "
        f"`circuitgrok {shlex.join(argv)}`, {', '.join(versions)}, {platform.platform()}",
        file=sys.stderr,
    )
    return 70


def _refuse(message: str) -> int:
    show(f"circuitgrok: {message}", file=sys.stderr)
    return 2


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": training.train,
    "sweep": training.sweep,
    "presets": listing.presets,
    "import": exchanging.import_published,
    "export": exchanging.export,
    "runs": listing.runs,
    "measure": looking.measure,
    "explore": looking.explore,
    "density": counting.density,
    "discover": discovering.discover,
    "report": showing.report,
    "doctor": looking.doctor,
    "thin": looking.thin,
    "new-study": studying.new_study,
}
