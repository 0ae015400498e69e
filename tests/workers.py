"""A process that has imported the trainer once and forks a child for each job, to be killed at any moment.

Requests and answers are lines of JSON: a job starts a child and answers its pid, `wait` answers how it ended.
Imported by tests it gives `Workers`, run as a program it is the process itself.
"""

import importlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Ended(NamedTuple):
    """How a child ended: its exit code (-9 if killed) and what it said."""

    code: int
    stdout: str
    stderr: str


class Workers:
    """The process that forks children, seen from the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._jobs = folder, 0
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def train(self, leaves: list[dict[str, Any]], out: Path, **options: Any) -> int:
        """Start `circuitgrok.training.loop.train` on configs given by all their leaves; the pid."""
        return self._start({"leaves": leaves, "out": str(out), **options})

    def cli(self, *argv: str, **options: Any) -> int:
        """Start a command line; the pid."""
        return self._start({"argv": argv, **options})

    def _start(self, request: dict[str, Any]) -> int:
        self._jobs += 1
        said = str(self.folder / f"{self._jobs}")
        for stream in ("out", "err"):
            Path(f"{said}.{stream}").touch()
        pid = self._ask(request | {"said": said})
        os.symlink(said, self.folder / f"pid{pid}")
        return pid

    def wait(self, pid: int) -> Ended:
        """Wait for a child."""
        code = self._ask({"wait": pid})
        said = self.folder / f"pid{pid}"
        streams = [Path(f"{os.readlink(said)}.{name}").read_text(encoding="utf-8") for name in ("out", "err")]
        said.unlink()
        return Ended(code, *streams)

    def until(self, pid: int, condition: Callable[[], bool]) -> bool:
        """Wait until the condition holds; False if the child ended before."""
        while not condition():
            if self._ask({"ended": pid}):
                return False
            time.sleep(0.002)
        return True

    def close(self) -> None:
        """End the process that forks."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def _child(request: dict[str, Any]) -> int:
    if "largest_file" in request:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"], request["largest_file"]))
    if "argv" in request:
        from functools import partial

        from circuitgrok.faces.cli import run
        from circuitgrok.training import loop as training

        if "save_every_s" in request:
            training.train = partial(training.train, save_every_s=request["save_every_s"])
        return run(request["argv"])
    from circuitgrok.config.train_config import TrainConfig
    from circuitgrok.training.loop import train

    configs = [TrainConfig().with_(**leaves) for leaves in request["leaves"]]
    train(configs, request["out"], names=request["names"], save_every_s=request.get("save_every_s", 10.0))
    return 0


def _fork(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{request['said']}.{name}", os.O_WRONLY), descriptor)
        code = _child(request)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # the child must not go on as a second parent
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve() -> None:
    import circuitgrok.training.loop

    for late in ("torch._dynamo", "safetensors.torch", "filelock", "tyro", "rich.console", "rich.table"):
        importlib.import_module(late)  # else each child does, torch._dynamo at its first optimizer step
    heavy = {"transformer_lens", "matplotlib", "sklearn", "pandas"} & set(sys.modules)
    assert circuitgrok.training.loop and not heavy, heavy
    ended: dict[int, int] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request or "ended" in request:
            pid = request.get("wait", request.get("ended"))
            if pid not in ended:
                found, status = os.waitpid(pid, 0 if "wait" in request else os.WNOHANG)
                if found:
                    ended[pid] = os.waitstatus_to_exitcode(status)
            answer = ended.pop(pid) if "wait" in request else pid in ended
        else:
            answer = _fork(request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
