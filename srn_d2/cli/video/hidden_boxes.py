"""The boxes to hide in each frame of a video: its own, interpolated ones and its neighbours'."""

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from .tracking import FaceTracker

T = TypeVar("T")


@dataclass
class PendingFrame(Generic[T]):
    """A frame whose boxes are not all known yet.

    Attributes:
        index: index of the frame.
        boxes: (n, 4) boxes found in it, XYXY, in pixels.
        size: (width, height), in pixels.
        payload: what belongs to the frame.
        filled: boxes (4,) of faces that were missed in it, in pixels.
    """

    index: int
    boxes: np.ndarray
    size: tuple[int, int]
    payload: T
    filled: list[np.ndarray] = field(default_factory=list)

    @property
    def sides(self) -> np.ndarray:
        """(4,) what relative boxes are multiplied by."""
        return np.array([*self.size, *self.size], dtype=float)

    def boxes_in(self, other: "PendingFrame") -> np.ndarray:
        """(m, 4) found and interpolated boxes, in pixels of another frame."""
        boxes = np.concatenate([self.boxes, np.reshape(self.filled, (-1, 4))])
        return boxes if self.size == other.size else boxes * (other.sides / self.sides)


class HiddenBoxes(Generic[T]):
    """Delays frames until it is known what to hide in them.

    In frames of different sizes, boxes are at the same places relative to the frames' sides.

    Args:
        fill_gaps: longest gap of a track, in frames, in which its interpolated box is hidden.
        hide_neighbours: number of frames before and after, the boxes of which are hidden too.
    """

    def __init__(self, fill_gaps: int, hide_neighbours: int):
        self.tracker = FaceTracker(fill_gaps)
        self._neighbours = hide_neighbours
        self._delay = fill_gaps + hide_neighbours
        self._pending: deque[PendingFrame[T]] = deque()  # oldest first
        self._done: deque[PendingFrame[T]] = deque(maxlen=hide_neighbours)

    def push(
        self, index: int, time: float, boxes: np.ndarray, size: tuple[int, int], payload: T
    ) -> list[tuple[PendingFrame[T], np.ndarray]]:
        """Add a frame.

        Args:
            index: index of the frame: that of the last one and one.
            time: in seconds.
            boxes: (n, 4), XYXY, in pixels of the frame.
            size: (width, height) of the frame, in pixels.
            payload: given back with the frame.

        Returns:
            frames that are ready, and the boxes (m, 4) to hide in each, in its pixels.
        """
        filled = self.tracker.update(index, time, boxes, size)
        for frame in self._pending:
            frame.filled += [box * frame.sides for box in filled.get(frame.index, [])]
        boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
        self._pending.append(PendingFrame(index, boxes, size, payload))
        ready = []
        while len(self._pending) > self._delay:
            ready.append(self._pop())
        return ready

    def flush(self) -> list[tuple[PendingFrame[T], np.ndarray]]:
        """The remaining frames, after the last one; the tracker's gaps are complete then."""
        self.tracker.finish()
        return [self._pop() for _ in range(len(self._pending))]

    def _pop(self) -> tuple[PendingFrame[T], np.ndarray]:
        frame = self._pending.popleft()
        after = [self._pending[i] for i in range(min(self._neighbours, len(self._pending)))]
        boxes = np.concatenate([x.boxes_in(frame) for x in (*self._done, frame, *after)])
        # Of the frames before only the boxes are needed.
        self._done.append(PendingFrame(frame.index, frame.boxes, frame.size, None, frame.filled))
        return frame, boxes
