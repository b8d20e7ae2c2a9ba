"""The workers of a run that detectron2's launch has started; without it there is one.

A process that has not imported detectron2's ``comm`` was not started by its launch. So a run with
one worker imports neither torch nor detectron2.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


class WorkerLostError(RuntimeError):
    """Another worker has ended."""


def _comm() -> ModuleType | None:
    """``detectron2.utils.comm``; None: it is not imported."""
    return sys.modules.get("detectron2.utils.comm")


def get_rank() -> int:
    """Number of this worker, from 0."""
    comm = _comm()
    return comm.get_rank() if comm else 0


def get_world_size() -> int:
    """Number of workers on all machines."""
    comm = _comm()
    return comm.get_world_size() if comm else 1


def get_local_rank() -> int:
    """Number of this worker on its machine, from 0."""
    comm = _comm()
    return comm.get_local_rank() if comm else 0


def get_local_size() -> int:
    """Number of workers on this machine."""
    comm = _comm()
    return comm.get_local_size() if comm else 1


def is_main_process() -> bool:
    """Whether this is the first worker."""
    return get_rank() == 0


def all_gather(value: T) -> list[T]:
    """The value of each worker, in their order.

    Raises:
        WorkerLostError: another worker has ended.
    """
    comm = _comm()
    with _lost_workers_named():
        return comm.all_gather(value) if comm else [value]


def synchronize() -> None:
    """Wait until all workers are here; raises as ``all_gather``."""
    comm = _comm()
    with _lost_workers_named():
        if comm:
            comm.synchronize()


@contextmanager
def _lost_workers_named() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what gloo and NCCL raise when a connection is closed
        first_line = str(error).splitlines()[0]
        message = f"Another worker has ended, maybe on another machine ({first_line})"
        raise WorkerLostError(message) from error
