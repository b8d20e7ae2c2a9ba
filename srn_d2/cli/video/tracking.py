"""Tracks of faces over frames, and the boxes of frames in which a face was missed.

A detector misses a face now and then that it finds before and after. Boxes of the frames are
linked by the motion of the faces, the boxes of missed frames are interpolated, and what cannot be
interpolated is reported.
"""

import copy
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from .motion import LEAVING_FRAMES, Track, continuation_scores

REPORT_SECONDS = 10.0
"""Time for which a face that is missed is looked for."""


@dataclass(frozen=True)
class Gap:
    """Frames in which a face was missed.

    Attributes:
        first, last: the first and the last frame without it.
        first_time, last_time: their times, in seconds.
        box: (4,) XYXY, the face's box before the gap, in pixels of that frame.
        is_filled: whether the face is hidden in these frames, by interpolated boxes.
        kind: "missed": it was found before and after. "lost": it was found before, did not leave at
            the border of the picture, and was not found again up to ``last``, after which it was
            looked for no more.
    """

    first: int
    last: int
    first_time: float
    last_time: float
    box: np.ndarray
    is_filled: bool
    kind: Literal["missed", "lost"] = "missed"

    def to_dict(self) -> dict:
        """The gap for a JSON file."""
        return {
            "kind": self.kind,
            "frames": [self.first, self.last],
            "times": [round(self.first_time, 3), round(self.last_time, 3)],
            "bbox_before": [round(value, 2) for value in self.box.tolist()],
            "hidden": self.is_filled,
        }


@dataclass
class _Watch:
    """A track, and what a report says of it.

    Attributes:
        track: its places, relative to the frame's sides.
        time: of the last detection, in seconds.
        box: (4,) the last detection, in pixels.
        next_time: time of the frame after it; None if there is none yet.
        before: the face before a gap, as long as it may be another one than that after it.
        after: the detections after this gap.
    """

    track: Track
    time: float
    box: np.ndarray
    next_time: float | None = None
    before: "_Watch | None" = None
    after: Track | None = None

    def add(self, frame: int, time: float, place: np.ndarray, box: np.ndarray) -> "_Watch | None":
        """Add a detection, see ``Track.add``, after the report of a gap.

        Returns:
            the face before a gap, if it is known by now to be another one.
        """
        if self.before is not None:
            self.after.add(frame, place)
        elif frame - self.track.frame > 1 and self.track.has_known_motion:
            self.before = copy.copy(self)
            self.before.track = copy.copy(self.track)
            self.after = Track(frame, place)
        self.track.add(frame, place)
        self.time, self.box, self.next_time = time, box, None
        if self.before is None or not self.after.has_known_motion:
            return None
        before, self.before = self.before, None
        return None if before.track.moves_like(self.after) else before


class FaceTracker:
    """Links the boxes of frames that show the same face.

    Args:
        max_gap: longest gap, in frames, over which boxes are interpolated.
        report_seconds: time after its last detection for which a face is looked for.

    Attributes:
        gaps: those found so far; after ``finish`` all, by their first frames.
    """

    def __init__(self, max_gap: int, report_seconds: float = REPORT_SECONDS):
        self.max_gap = max_gap
        self.report_seconds = report_seconds
        self.gaps: list[Gap] = []
        self._watched: list[_Watch] = []
        self._last_frame, self._last_time = -1, 0.0

    def update(
        self, frame: int, time: float, boxes: np.ndarray, size: tuple[int, int]
    ) -> dict[int, list[np.ndarray]]:
        """Add the boxes of the next frame.

        Args:
            frame: index, increasing.
            time: in seconds.
            boxes: (n, 4), XYXY, in pixels of the frame.
            size: (width, height) of the frame, in pixels.

        Returns:
            index of an earlier frame -> interpolated boxes (4,) of faces missed there, relative to
            the frame's sides: x from 0 to 1 over its width, y over its height.
        """
        self._give_up(frame, time)
        filled: dict[int, list[np.ndarray]] = {}
        boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
        places = boxes / np.array([*size, *size], dtype=float)
        matched = self._match(frame, places)
        for index, (box, place) in enumerate(zip(boxes, places, strict=True)):
            watch = matched.get(index)
            if watch is None:
                self._watched.append(_Watch(Track(frame, place), time, box))
                continue
            if frame - watch.track.frame > 1:
                self._add_gap(watch, frame, place, filled)
            other = watch.add(frame, time, place, box)
            if other is not None:  # go on looking for it
                self._watched.append(other)
        self._last_frame, self._last_time = frame, time
        return filled

    def finish(self) -> None:
        """Report the faces that were lost, after the last frame, and sort ``gaps``."""
        for watch in self._watched:
            if watch.track.frame < self._last_frame:
                self._add_lost(watch)
        self._watched = []
        self.gaps.sort(key=lambda gap: (gap.first, gap.last))

    def _give_up(self, frame: int, time: float) -> None:
        """No longer look for faces that were last found long before a frame."""
        kept = []
        for watch in self._watched:
            if watch.next_time is None:
                watch.next_time = time
            num_missed = frame - watch.track.frame - 1
            if num_missed <= self.max_gap or time - watch.time <= self.report_seconds:
                kept.append(watch)
            else:
                self._add_lost(watch)
        self._watched = kept

    def _match(self, frame: int, places: np.ndarray) -> dict[int, _Watch]:
        """Index of a box (n, 4), relative to the frame's sides -> what it continues."""
        if not self._watched or not len(places):
            return {}
        tracks = [watch.track for watch in self._watched]
        max_missed = max(self.max_gap, LEAVING_FRAMES)
        scores = continuation_scores(tracks, frame, places, max_missed)
        rows, columns = linear_sum_assignment(scores, maximize=True)
        return {
            int(column): self._watched[row]
            for row, column in zip(rows, columns, strict=True)
            if scores[row, column] > 0
        }

    def _add_gap(
        self, watch: _Watch, frame: int, place: np.ndarray, filled: dict[int, list[np.ndarray]]
    ) -> None:
        """Record a gap, and interpolate its boxes unless it is too long."""
        track = watch.track
        num_steps = frame - track.frame
        is_filled = num_steps - 1 <= self.max_gap
        self._report(watch, frame - 1, self._last_time, "missed", is_filled)
        if is_filled:
            for step in range(1, num_steps):
                between = track.box + (place - track.box) * (step / num_steps)
                filled.setdefault(track.frame + step, []).append(between)

    def _add_lost(self, watch: _Watch) -> None:
        """Record that a face was not found again, unless it left the picture."""
        if not watch.track.is_leaving:
            self._report(watch, self._last_frame, self._last_time, "lost", False)

    def _report(
        self,
        watch: _Watch,
        last: int,
        last_time: float,
        kind: Literal["missed", "lost"],
        is_filled: bool,
    ) -> None:
        first_time = watch.time if watch.next_time is None else watch.next_time
        first = watch.track.frame + 1
        self.gaps.append(Gap(first, last, first_time, last_time, watch.box, is_filled, kind))
