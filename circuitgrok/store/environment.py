"""What the bits of a run depend on beside its config: recorded when a run begins, compared before it goes on.

A sum of floating-point numbers has other last bits in another order, and the order is chosen by torch and its BLAS
from the processor, the instruction set and the threads. Two environments that agree in `DECISIVE` give the same
bits; where they differ a run still trains, though not to the bits of an unbroken run.
"""

import os
import platform
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from circuitgrok import onednn
from circuitgrok.device import CPU, facts, is_elsewhere
from circuitgrok.version import __version__

DECISIVE = (
    "torch",
    "blas",
    "isa",
    "mkl_cbwr",
    "mkl_instructions",
    "onednn",
    "onednn_isa",
    "threads",
    "device",
    "system",
    "machine",
    "cpu",
    "arithmetic",
)
OF_GPU = ("device_name", "cuda", "cublas", "cublas_workspace", "products")  # decisive too, where there is one
_LATER = {"arithmetic": 1}  # what a record says that was written before the fact was recorded


def environment(threads: int, device: torch.device = CPU) -> dict[str, Any]:
    """Everything that is known to decide bits, and the versions beside it.

    Args:
        threads: Of torch, in the training that is recorded.
        device: Where it computes.

    Returns:
        torch: Its version and build.
        blas: The library behind products and decompositions, with its version.
        isa: The instruction set that torch's own loops use; `ATEN_CPU_CAPABILITY` lowers it.
        mkl_cbwr: `MKL_CBWR`, which pins the branch of Intel's library; "" if it is not set.
        mkl_instructions: `MKL_ENABLE_INSTRUCTIONS`, which lowers its instruction set; "" if it is not set.
        onednn: Whether large products of float32 are oneDNN's: a fact of torch's build.
        onednn_isa: `ONEDNN_MAX_CPU_ISA`, or its older name, which lowers its instruction set; "" if it is not set.
        threads: As given.
        device: The kind of device that computes: cpu or cuda.
        device_name: The model of the GPU; like the next four only where one computes.
        cuda: The version of CUDA that torch was built for.
        cublas: The version of the library behind products on the GPU; "" if it is not known.
        cublas_workspace: `CUBLAS_WORKSPACE_CONFIG`, on which its bits may depend.
        products: The form of a layer's large products there: "plain", all pairs of all runs at once, in their format.
        system: The operating system.
        machine: The architecture.
        cpu: Maker and model of the processor.
        arithmetic: As counted by `arithmetic`.
        python: Its version, which decides nothing.
        circuitgrok: The same.

    Example:
        >>> environment(1)["device"], environment(2)["threads"]
        ('cpu', 2)
    """
    return {
        "torch": torch.__version__,
        "blas": blas(),
        "isa": torch.backends.cpu.get_cpu_capability(),
        "mkl_cbwr": os.environ.get("MKL_CBWR", ""),
        "mkl_instructions": os.environ.get("MKL_ENABLE_INSTRUCTIONS", ""),
        "onednn": onednn.BUILT,
        "onednn_isa": os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "")),
        "threads": threads,
        **facts(device),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": cpu(),
        "arithmetic": arithmetic(device),
        "python": platform.python_version(),
        "circuitgrok": __version__,
    }


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """In what two environments differ that decides bits, one phrase for each; a fact not recorded is no difference.

    Args:
        there: That of the run.
        here: The present one.

    Example:
        >>> differences(environment(1), environment(2))
        ['threads 1 then, 2 now']
    """
    then = _LATER | dict(there)
    return [
        f"{key} {then[key]!r} then, {here[key]!r} now"
        for key in (*DECISIVE, *OF_GPU)
        if key in then and key in here and then[key] != here[key]
    ]


def arithmetic(device: torch.device = CPU) -> int:
    """Counts the changes of this package after which the same config gives other bits on a device.

    The second was that matrices of a stack begin where they would alone: it changed no bits where products do not
    depend on that, as on Intel's processors, and was counted on all others. The third changed them everywhere: large
    products of float32 are oneDNN's, and attention's output is multiplied as mixtures of tables. The fourth changed
    only those of GPUs: sums over equal tokens are products, and the optimizer steps from zero.
    """
    return 4 if is_elsewhere(device) else 3


def blas() -> str:
    """The library that multiplies matrices, as torch names it: maker, version, build; empty if torch names none."""
    shown = torch.__config__.show()
    mkl = re.search(r"Math Kernel Library Version (\S+(?: Build \d+)?)", shown)
    if mkl:
        return f"MKL {mkl[1]}"
    other = re.search(r"BLAS_INFO=(\w+)", shown)
    return other[1] if other else ""


@cache
def cpu() -> str:
    """Maker and model of the processor, from the system; empty where it does not say.

    The clock rate is part of some makers' model names.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").partition("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    named = [facts.get(key, "") for key in ("vendor_id", "model name")]
    numbers = [f"{key} {facts[key]}" for key in ("cpu family", "model") if key in facts]
    return ", ".join(filter(None, [*named, *numbers])) or platform.processor()
