"""Largest input size of a detector, from the free memory."""

import logging
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

MAX_AUTOMATIC_SIZE = 2100
"""Side of the largest square, in pixels: the released code's --max_size for its best figures."""

USED_SHARE = 0.8
"""Share of the free memory to use: the rest is for fragmentation and for other programs."""

CALIBRATION_SIZE = 512
"""Side of the square, in pixels, on which a GPU's use of memory is measured."""

CPU_BYTES_PER_PIXEL = 650
"""Peak memory of a forward in float32 on a CPU for each pixel of the image.

For configs/srn_R50_released.yaml, where the peak resident size grew by 625 bytes a pixel at
512 x 512 and by 596 at 1024 x 1024 (torch 2.14); smaller models need less.
"""


def automatic_max_size(detect: Callable[[Tensor], object], device: torch.device) -> int:
    """Side of the largest square image that fits in memory, in pixels.

    Between CALIBRATION_SIZE and MAX_AUTOMATIC_SIZE. The memory of a forward pass is nearly
    proportional to the number of pixels.

    Args:
        detect: runs the model on an image (3, H, W), uint8, on the CPU.
        device: the model's device. On CUDA one small image is run to measure memory per pixel.

    Raises:
        OSError: on the CPU of a system without /proc/meminfo.
    """
    if device.type == "cuda":
        bytes_per_pixel = _cuda_bytes_per_pixel(detect, device)
        free = _free_cuda_memory(device)
    else:
        bytes_per_pixel, free = CPU_BYTES_PER_PIXEL, free_ram()
    fitting = math.isqrt(int(USED_SHARE * free / bytes_per_pixel))
    size = min(max(fitting, CALIBRATION_SIZE), MAX_AUTOMATIC_SIZE)
    logger.info(
        "Images of up to %d x %d pixels: %.1f GiB are free, a pixel takes %d bytes",
        *(size, size, free / 2**30, bytes_per_pixel),
    )
    return size


def free_ram(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes available without swapping, from Linux' /proc/meminfo."""
    for line in meminfo.read_text(encoding="ascii").splitlines():
        name, value = line.split(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024  # "kB" are KiB
    raise OSError(f"{meminfo} has no line MemAvailable")


def _cuda_bytes_per_pixel(detect: Callable[[Tensor], object], device: torch.device) -> float:
    """Peak memory of one forward pass in bytes per pixel, workspaces included."""
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    detect(torch.zeros(3, CALIBRATION_SIZE, CALIBRATION_SIZE, dtype=torch.uint8))
    return (torch.cuda.max_memory_allocated(device) - before) / CALIBRATION_SIZE**2


def _free_cuda_memory(device: torch.device) -> int:
    """Free bytes of the device, including unused ones that the allocator has reserved."""
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + unused
