"""Slurm on this one machine, for a test: munged, slurmctld, a slurmd for each of two nodes, in a folder of their own.

`with one_machine(folder) as cluster:` starts all of it as root and ends all of it, also on an error. Nothing of the
system's own Slurm or munge is touched: keys, sockets, ports, state and logs are the folder's.

    python tests/clusters/slurm.py FOLDER      the same by hand, until Ctrl-C; says what to export
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "srun")
PACKAGES = "apt-get install slurm-wlm munge"
NODES = ("one", "two")
START_S = 60
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000,requeue_delay=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=20
MinJobAge=300
ReturnToService=2
SlurmdTimeout=300
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
{nodes}
PartitionName=plain Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=15
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


class Cluster(NamedTuple):
    """A Slurm that runs.

    Attributes:
        folder: Of all its files.
        env: What makes its commands find it.
    """

    folder: Path
    env: dict[str, str]

    def ask(self, *command: str) -> str:
        """What one of Slurm's commands prints; an error is one."""
        found = subprocess.run(command, env=os.environ | self.env, capture_output=True, text=True, timeout=60)
        if found.returncode:
            raise RuntimeError(f"{' '.join(command)}: {found.stderr}")
        return found.stdout


def missing() -> str:
    """What is not there of all that is needed; empty if nothing is."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if absent:
        return f"needs {', '.join(absent)}: `{PACKAGES}`"
    return "" if os.geteuid() == 0 else "needs root, as which slurmd starts jobs"


@contextlib.contextmanager
def one_machine(folder: Path) -> Iterator[Cluster]:
    """A Slurm with two nodes of one processor each."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state").mkdir()
    controller, *ports = _free_ports(1 + len(NODES))
    host = socket.gethostname()
    nodes = [
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=1000 State=UNKNOWN"
        for name, port in zip(NODES, ports, strict=True)
    ]
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=host, controller=controller, folder=folder, nodes="\n".join(nodes)))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    cluster = Cluster(folder, {"SLURM_CONF": str(conf), "PATH": _path()})
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        with (folder / f"{command[0]}.out").open("ab") as said:
            started.append(
                subprocess.Popen(
                    command, env=os.environ | cluster.env, stdout=said, stderr=said, start_new_session=True
                )
            )

    munge = {"key-file": key, "socket": folder / "munge.socket", "pid-file": folder / "munge.pid"}
    munge |= {"log-file": folder / "munge.log", "seed-file": folder / "munge.seed"}
    try:
        start("munged", "--foreground", "--force", *(f"--{name}={file}" for name, file in munge.items()))
        _until(lambda: (folder / "munge.socket").exists(), cluster)
        start("slurmctld", "-D")
        for name in NODES:
            (folder / name).mkdir()
            start("slurmd", "-D", "-N", name)
        _until(lambda: _idle(cluster) == len(NODES), cluster)
        yield cluster
    finally:
        with contextlib.suppress(Exception):
            cluster.ask("scancel", "--user=root", "--signal=KILL")
            cluster.ask("scancel", "--user=root")
            _until(lambda: not cluster.ask("squeue", "--noheader"), cluster)
        for one in reversed(started):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGTERM)
        for one in reversed(started):
            try:
                one.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(one.pid, signal.SIGKILL)
                one.wait()
        _end_strays(conf)


def _end_strays(conf: Path) -> None:
    """End what this Slurm has started and not ended: known by the environment that it began with."""
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"SLURM_CONF={conf}".encode() in environment.read_bytes().split(b"\0"):
                os.kill(int(environment.parent.name), signal.SIGKILL)


def _path() -> str:
    """Debian's daemons are in sbin, which is not on everybody's path."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        taken = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]


def _idle(cluster: Cluster) -> int:
    with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
        return cluster.ask("sinfo", "--Node", "--noheader", "--partition=plain", "--format=%T").split().count("idle")
    return 0


def _until(condition: Callable[[], bool], cluster: Cluster) -> None:
    ends = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > ends:
            logs = [f"{log.name}: {log.read_text('utf-8', 'replace')[-1500:]}" for log in cluster.folder.glob("*.log")]
            raise RuntimeError("\n".join(["Slurm does not start, or end", *logs]))
        time.sleep(0.2)


if __name__ == "__main__":
    with one_machine(Path(sys.argv[1]).resolve()) as by_hand, contextlib.suppress(KeyboardInterrupt):
        print(f"export SLURM_CONF={by_hand.env['SLURM_CONF']}", flush=True)
        while True:
            time.sleep(1)
