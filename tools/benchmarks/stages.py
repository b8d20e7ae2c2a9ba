"""Cost of each stage of a detector: seconds, or multiply-adds.

A stage that runs inside another is not counted in the outer one, so the stages add up.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.utils.flop_counter import FlopCounterMode

from .timing import synchronize

BACKBONE = "backbone"
FPN = "FPN"
FIRST_STEP = "first-step heads"
SECOND_STEP = "second-step heads"
POSTPROCESSING = "post-processing"
INFERENCE_STAGES = (BACKBONE, FPN, FIRST_STEP, SECOND_STEP, POSTPROCESSING)

Wrapped = tuple[object, str, str]
"""An object, the name of its method, and the stage of the method's calls."""


class StageMeter:
    """Charge a counter's increments to the innermost open stage.

    Args:
        read: the counter: seconds, or operations so far.

    Attributes:
        totals: total of each stage, in the unit of the counter, in order of first use.
    """

    def __init__(self, read: Callable[[], float]):
        self._read = read
        self._last = 0.0
        self._open: list[str] = []
        self.totals: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A part of the program; torch's profiler shows it under the same name."""
        self._charge()
        self._open.append(name)
        self.totals.setdefault(name, 0.0)
        try:
            with torch.profiler.record_function(name):
                yield
        finally:
            self._charge()
            self._open.pop()

    @contextmanager
    def wrap(self, *methods: Wrapped) -> Iterator[None]:
        """Within the context, calls of these methods of these objects are stages."""
        with ExitStack() as stack:
            for owner, method, name in methods:
                stack.enter_context(replaced(owner, method, self._timed(owner, method, name)))
            yield

    def _timed(self, owner: object, method: str, name: str) -> Callable:
        original = getattr(owner, method)

        def call(*args, **kwargs):
            with self.stage(name):
                return original(*args, **kwargs)

        return call

    def _charge(self) -> None:
        now = self._read()
        if self._open:
            self.totals[self._open[-1]] += now - self._last
        self._last = now


@contextmanager
def replaced(owner: object, method: str, function: Callable) -> Iterator[None]:
    """Within the context, one object has another function as its method."""
    had_own = method in vars(owner)
    previous = getattr(owner, method)
    setattr(owner, method, function)
    try:
        yield
    finally:
        if had_own:
            setattr(owner, method, previous)
        else:
            delattr(owner, method)


def clock(device: torch.device) -> StageMeter:
    """A meter in seconds; on CUDA it waits for the device wherever a stage begins or ends."""

    def read() -> float:
        synchronize(device)
        return time.perf_counter()

    return StageMeter(read)


@contextmanager
def mac_counter() -> Iterator[StageMeter]:
    """A meter in multiply-adds of convolutions and matrix products, as they are really run.

    Torch counts a multiply-add as two operations, fvcore as one.
    """
    with FlopCounterMode(display=False) as counter:
        yield StageMeter(lambda: counter.get_total_flops() / 2)
