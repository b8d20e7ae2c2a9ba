"""Hardware support of bfloat16, and the choice of SOLVER.CPU_BFLOAT16 "auto".

Torch is imported for a GPU only.
"""

import functools
import logging
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

AUTO = "auto"

# CPU flag in /proc/cpuinfo -> unit that computes in bfloat16; fastest first.
CPU_FLAGS = {
    "amx_bf16": "AMX",
    "avx512_bf16": "AVX512_BF16",
    "avx_ne_convert": "AVX-NE-CONVERT",
    "bf16": "Arm BF16",
}
FAST_UNITS = ("AMX", "AVX512_BF16")
"""Units with which a training step was measured to be faster in bfloat16 than in float32."""

# The instruction sets to which ONEDNN_MAX_CPU_ISA may restrict oneDNN, which runs torch's
# convolutions -> the units that it still uses then [oneDNN's documentation, "CPU Dispatcher
# Control"]. With any other value it uses all.
_UNITS_BELOW = {
    **dict.fromkeys(("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"), ()),
    "AVX2_VNNI_2": ("AVX-NE-CONVERT",),
    **dict.fromkeys(
        ("AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX10_1_512"),
        ("AVX512_BF16", "AVX-NE-CONVERT"),
    ),
}
_CPUINFO = Path("/proc/cpuinfo")

logger = logging.getLogger(__name__)


def read_cpuinfo() -> str | None:
    """The text of Linux' /proc/cpuinfo; None on another system."""
    if not _CPUINFO.is_file():
        return None
    return _CPUINFO.read_text(encoding="utf-8", errors="replace")


def cpu_units(cpuinfo: str | None, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Units of a CPU that compute in bfloat16, fastest first; empty: none, or unknown.

    Args:
        cpuinfo: from ``read_cpuinfo``.
        environ: environment variables; ONEDNN_MAX_CPU_ISA (formerly DNNL_MAX_CPU_ISA) is read.
    """
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo or "", re.MULTILINE)
    flags = set(match.group(1).split()) if match else set()
    limit = environ.get("ONEDNN_MAX_CPU_ISA") or environ.get("DNNL_MAX_CPU_ISA", "")
    usable = _UNITS_BELOW.get(limit.upper(), CPU_FLAGS.values())
    return [unit for flag, unit in CPU_FLAGS.items() if flag in flags and unit in usable]


def resolve_cpu_bfloat16(setting: str | bool | None) -> bool:
    """Return whether SOLVER.CPU_BFLOAT16 selects bfloat16 on this machine.

    Args:
        setting: True, False, None (False), or "auto": True if the CPU has one of ``FAST_UNITS``.

    Raises:
        ValueError: any other value.
    """
    if setting == AUTO:
        return any(unit in FAST_UNITS for unit in cpu_units(read_cpuinfo()))
    if setting is None or isinstance(setting, bool):
        return bool(setting)
    raise ValueError(f"SOLVER.CPU_BFLOAT16 is {setting!r}; valid are 'auto', True and False")


def explain_auto() -> str:
    """Describe the choice of "auto" on this machine and its reason."""
    units = cpu_units(read_cpuinfo())
    if resolve_cpu_bfloat16(AUTO):
        return f"bfloat16, since the CPU has {', '.join(units)}"
    if read_cpuinfo() is None:
        return f"float32, since what the CPU has cannot be told on {platform.system()}"
    return "float32, since the CPU has neither AMX nor AVX512_BF16"


def is_emulated(device_type: str) -> bool:
    """Return whether bfloat16 is known to be emulated on this machine's "cpu" or "cuda"."""
    if device_type == "cuda":
        import torch

        return not torch.cuda.is_bf16_supported(including_emulation=False)
    cpuinfo = read_cpuinfo()
    return device_type == "cpu" and cpuinfo is not None and not cpu_units(cpuinfo)


@functools.cache  # once a process
def warn_if_emulated(device_type: str) -> None:
    """Warn, once, if the device emulates bfloat16.

    Args:
        device_type: as ``torch.device.type``.
    """
    if is_emulated(device_type):
        logger.warning(
            "bfloat16 is emulated on this %s: expect it to be slower than float32, on a CPU some "
            "ten times",
            {"cpu": "CPU", "cuda": "GPU"}[device_type],
        )
