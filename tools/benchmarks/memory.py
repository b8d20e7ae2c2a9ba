"""Peak memory of a block of code: resident memory, or a GPU's."""

import ctypes
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # value that resets the peak resident size, see proc(5)


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
        """Bytes allocated by the block at its peak."""
        return max(self.peak - self.before, 0)


@contextmanager
def measure_memory(device: torch.device) -> Iterator[MemoryUse]:
    """Measure the block's peak; the yielded object is filled in at the end.

    Where an earlier peak cannot be reset (no Linux, or /proc is read-only), the peak is that of the
    process so far: an upper bound.
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
    use.peak = _status_bytes("VmHWM") if is_reset else _process_peak()


def _return_free_memory() -> None:
    """Return free memory of glibc's allocator to the system: it would hide a growth."""
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


def _process_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux
