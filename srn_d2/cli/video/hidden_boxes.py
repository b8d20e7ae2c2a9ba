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
        boxes: (n, 4) boxes found in it, XYXY.
        payload: what belongs to the frame.
        filled: boxes (4,) of faces that were missed in it.
    """

    index: int
    boxes: np.ndarray
    payload: T
    filled: list[np.ndarray] = field(default_factory=list)

    def all_boxes(self) -> np.ndarray:
        """(m, 4) found and interpolated boxes."""
        return np.concatenate([self.boxes, np.reshape(self.filled, (-1, 4))])


class HiddenBoxes(Generic[T]):
    """Delays frames until it is known what to hide in them.

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
        self, index: int, time: float, boxes: np.ndarray, payload: T
    ) -> list[tuple[PendingFrame[T], np.ndarray]]:
        """Add a frame.

        Args:
            index: index of the frame: that of the last one and one.
            time: in seconds.
            boxes: (n, 4), XYXY.
            payload: given back with the frame.

        Returns:
            frames that are ready, and the boxes (m, 4) to hide in each.
        """
        filled = self.tracker.update(index, time, boxes)
        for frame in self._pending:
            frame.filled += filled.get(frame.index, [])
        self._pending.append(PendingFrame(index, np.asarray(boxes, dtype=float), payload))
        ready = []
        while len(self._pending) > self._delay:
            ready.append(self._pop())
        return ready

    def flush(self) -> list[tuple[PendingFrame[T], np.ndarray]]:
        """The remaining frames, after the last one."""
        return [self._pop() for _ in range(len(self._pending))]

    def _pop(self) -> tuple[PendingFrame[T], np.ndarray]:
        frame = self._pending.popleft()
        after = [self._pending[i] for i in range(min(self._neighbours, len(self._pending)))]
        boxes = np.concatenate([x.all_boxes() for x in (*self._done, frame, *after)])
        # Of the frames before only the boxes are needed.
        self._done.append(PendingFrame(frame.index, frame.boxes, None, frame.filled))
        return frame, boxes
