"""Description of the machine and software of a measurement."""

import os
import platform
from typing import Any

import torch

from srn_d2.bfloat16 import cpu_units, read_cpuinfo
from srn_d2.cores import usable_cores


def describe(device: torch.device) -> dict[str, Any]:
    """The machine and its software, and how busy it was in the last minute."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "cores": usable_cores(),
        "bfloat16": bfloat16_units(device),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def cpu_name() -> str:
    """Name of the processor as the system has it."""
    for line in (read_cpuinfo() or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def bfloat16_units(device: torch.device) -> list[str]:
    """Units of the device that compute in bfloat16; empty: none, or it is not known."""
    if device.type == "cuda":
        return ["CUDA"] if torch.cuda.is_bf16_supported(including_emulation=False) else []
    return cpu_units(read_cpuinfo())
