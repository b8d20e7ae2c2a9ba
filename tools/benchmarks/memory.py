"""The peak of memory within a block of code: resident memory, or a GPU's."""

import ctypes
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # what Linux' proc(5) wants there to forget the peak of the resident size


@dataclass
class MemoryUse:
    """Bytes in use before the block and at its peak.

    On the CPU that is the process' resident size, libraries and weights included; on CUDA what
    torch has allocated there.
    """

    before: int = 0
    peak: int = 0

    @property
    def added(self) -> int:
        """Bytes that the block needed beyond what was there."""
        return max(self.peak - self.before, 0)


@contextmanager
def measure_memory(device: torch.device) -> Iterator[MemoryUse]:
    """Measure the block's peak; the object that it gives is filled in at the end.

    Where the system cannot forget an earlier peak (no Linux, or /proc is read-only), the peak is
    the largest of the process so far: an upper bound.
    """
    use = MemoryUse()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        use.before = torch.cuda.memory_allocated(device)
        yield use
        torch.cuda.synchronize(device)
        use.peak = torch.cuda.max_memory_allocated(device)
        return
    _return_free_memory()
    is_reset = _reset_peak()
    use.before = _status_bytes("VmRSS") if is_reset else 0
    yield use
    use.peak = _status_bytes("VmHWM") if is_reset else _peak_of_process()


def _return_free_memory() -> None:
    """Give back to the system what glibc's allocator keeps: it would hide a growth."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # another C library
        return


def _reset_peak() -> bool:
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, value = line.split(":", 1)
        if name == field:
            return int(value.split()[0]) * 1024  # "kB" are KiB
    raise OSError(f"/proc/self/status has no {field}")


def _peak_of_process() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux
