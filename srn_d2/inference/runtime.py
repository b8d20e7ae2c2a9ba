"""Choice of what computes a network: ONNX Runtime or PyTorch.

Importing torch and detectron2 takes several seconds, which a detector on ONNX Runtime does not
need. So whether there is a CUDA GPU is asked of torch only where there may be one.
"""

import ctypes
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from srn_d2.cores import usable_cores

Runtime = Literal["auto", "onnx", "torch"]
RUNTIMES = ("auto", "onnx", "torch")

# Device files of NVIDIA's driver (on a Jetson, in WSL) and of AMD's, whose GPUs torch names "cuda".
_GPU_DEVICE_FILES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/dxg", "/dev/kfd")
_CUDA_LIBRARIES = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}


def has_cuda() -> bool:
    """Whether torch finds a CUDA device; torch is imported only if there may be one."""
    if "torch" not in sys.modules and not may_have_gpu():
        return False
    import torch

    return torch.cuda.is_available()


def may_have_gpu(environ: Mapping[str, str] = os.environ, root: Path = Path("/")) -> bool:
    """Whether there may be a CUDA device: a driver is there and no variable hides its devices.

    Args:
        environ: environment variables; CUDA_VISIBLE_DEVICES is read.
        root: root folder of the device files.
    """
    if environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1", "NoDevFiles"):
        return False
    if any((root / path.lstrip("/")).exists() for path in _GPU_DEVICE_FILES):
        return True
    return _has_library(_CUDA_LIBRARIES.get(sys.platform))


def _has_library(name: str | None) -> bool:
    if name is None:
        return False
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def has_onnxruntime() -> bool:
    """Whether the package onnxruntime is installed."""
    try:
        return importlib.util.find_spec("onnxruntime") is not None
    except ValueError:  # it is None in sys.modules
        return False


def onnx_threads(environ: Mapping[str, str] = os.environ) -> int | None:
    """Number of threads for ONNX Runtime; None: its own choice, the physical cores.

    Args:
        environ: environment variables; OMP_NUM_THREADS, which limits torch, limits it too.
    """
    limit = environ.get("OMP_NUM_THREADS", "")
    if limit.isdigit() and int(limit) > 0:
        return int(limit)
    usable = usable_cores()
    return usable if usable < (os.cpu_count() or 1) else None
