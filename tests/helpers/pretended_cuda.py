"""A CUDA device for tests without one: tensors that say they are on it, but compute on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)

NO_WORK = (torch.device, torch._C._nn._parse_to, torch._has_compatible_shallow_copy_type)
"""What computes nothing; Module.to calls the last two."""

MOVES = (Tensor.to, Tensor.cpu, Tensor.copy_)
"""What takes tensors of two devices, and gives one on the device that its arguments say."""

TO_NUMPY = (Tensor.numpy, Tensor.__array__)


class MixedDevicesError(RuntimeError):
    """A function gets tensors of both devices, or NumPy one that is on CUDA."""


class OnCuda(Tensor):
    """A tensor on the pretended device."""

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)


class PretendedCuda(TorchFunctionMode):
    """Within it tensors can be made on "cuda" or moved there, and do not meet those on the CPU.

    As in torch, a tensor without dimensions may be on the CPU. Stricter than torch, which copies
    indices from the CPU when a tensor on CUDA is indexed, and waits for it.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None) -> Any:
        kwargs = kwargs or {}
        if func in NO_WORK:
            return func(*args, **kwargs)
        leaves = tree_leaves((args, kwargs))
        is_on_cuda = any(isinstance(x, OnCuda) for x in leaves)
        if is_on_cuda and func not in MOVES:
            _check(func, leaves, kwargs)
        for device in (CPU if func is Tensor.cpu else None, *map(_as_device, leaves)):
            is_on_cuda = is_on_cuda if device is None else device.type == "cuda"
        if func is Tensor.copy_:
            is_on_cuda = isinstance(args[0], OnCuda)
        args, kwargs = tree_map(lambda x: CPU if _as_device(x) else x, (args, kwargs))
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
        return tree_map(lambda x: _as_kind(x, OnCuda if is_on_cuda else Tensor), result)


def _check(func: Any, leaves: list, kwargs: dict) -> None:
    """Raise a MixedDevicesError unless all tensors can be on CUDA."""
    if func in TO_NUMPY and not kwargs.get("force"):
        raise MixedDevicesError("NumPy gets a tensor that is on CUDA")
    for x in leaves:
        if isinstance(x, Tensor) and not isinstance(x, OnCuda) and x.dim() > 0:
            raise MixedDevicesError(f"{func} gets a tensor {tuple(x.shape)} that is on the CPU")


def _as_device(x: object) -> torch.device | None:
    """What is a device or names one; None for all else."""
    if isinstance(x, str) and x.startswith(("cpu", "cuda")):
        return torch.device(x)
    return x if isinstance(x, torch.device) else None


def _as_kind(x: object, kind: type) -> object:
    is_other = isinstance(x, Tensor) and isinstance(x, OnCuda) != (kind is OnCuda)
    return x.as_subclass(kind) if is_other else x


@contextmanager
def pretended_cuda() -> Iterator[None]:
    """Within the context models are built for "cuda" and run there."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    # Else parameters that move remain the Python objects that they were, on the CPU.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with PretendedCuda():
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
