"""Tracks of faces over frames, and the boxes of frames in which a face was missed.

A detector misses a face now and then that it finds before and after. Boxes of consecutive frames
are linked by their IoU, and the boxes of missed frames are interpolated.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

# Boxes are enlarged by this part of their sides for each frame between two detections, up to the
# maximum, before their IoU is taken: a face moves, the more the longer it was missed.
GROWTH, MAX_GROWTH = 0.25, 1.0
# Minimum IoU of two enlarged boxes of one face. A wrong link hides a little more than there is; a
# missed one shows a face.
MIN_IOU = 0.1


@dataclass(frozen=True)
class Gap:
    """Frames in which a face was missed that was found before and after.

    Attributes:
        first, last: the first and the last frame without it.
        first_time, last_time: their times, in seconds.
        box: (4,) XYXY, the face's box before the gap.
        is_filled: whether the face is hidden in these frames, by interpolated boxes.
    """

    first: int
    last: int
    first_time: float
    last_time: float
    box: np.ndarray
    is_filled: bool

    def to_dict(self) -> dict:
        """The gap for a JSON file."""
        return {
            "frames": [self.first, self.last],
            "times": [round(self.first_time, 3), round(self.last_time, 3)],
            "bbox_before": [round(value, 2) for value in self.box.tolist()],
            "hidden": self.is_filled,
        }


@dataclass
class _Track:
    """A face's last detection.

    Attributes:
        frame, time: index and time of that frame.
        box: (4,) XYXY.
        velocity: (4,) change of the box for each frame.
        next_time: time of the frame after it.
    """

    frame: int
    time: float
    box: np.ndarray
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(4))
    next_time: float | None = None


class FaceTracker:
    """Links the boxes of consecutive frames.

    Args:
        max_gap: longest gap, in frames, over which boxes are interpolated.
        report_frames: longest gap, in frames, that is reported.
    """

    def __init__(self, max_gap: int, report_frames: int = 75):
        self.max_gap = max_gap
        self.report_frames = max(report_frames, max_gap)
        self.gaps: list[Gap] = []
        self._tracks: list[_Track] = []
        self._last_time = 0.0

    def update(self, frame: int, time: float, boxes: np.ndarray) -> dict[int, list[np.ndarray]]:
        """Add the boxes of the next frame.

        Args:
            frame: index, increasing.
            time: in seconds.
            boxes: (n, 4), XYXY.

        Returns:
            index of an earlier frame -> interpolated boxes (4,) of faces missed there.
        """
        for track in self._tracks:
            if track.next_time is None:
                track.next_time = time
        self._tracks = [x for x in self._tracks if frame - x.frame - 1 <= self.report_frames]
        filled: dict[int, list[np.ndarray]] = {}
        matched = self._match(frame, boxes)
        for index, box in enumerate(np.asarray(boxes, dtype=float)):
            track = matched.get(index)
            if track is None:
                self._tracks.append(_Track(frame, time, box))
                continue
            num_missed = frame - track.frame - 1
            if num_missed:
                self._add_gap(track, frame, box, filled)
            track.velocity = (box - track.box) / (num_missed + 1)
            track.frame, track.time, track.box, track.next_time = frame, time, box, None
        self._last_time = time
        return filled

    def _match(self, frame: int, boxes: np.ndarray) -> dict[int, _Track]:
        """Index of a box -> its track; tracks with the shortest gaps are matched first."""
        matched: dict[int, _Track] = {}
        recent = [x for x in self._tracks if frame - x.frame - 1 <= self.max_gap]
        lost = [x for x in self._tracks if frame - x.frame - 1 > self.max_gap]
        for tracks in (recent, lost):
            free = [index for index in range(len(boxes)) if index not in matched]
            if not tracks or not free:
                continue
            ious = np.stack([_track_ious(track, frame, boxes[free]) for track in tracks])
            for row, column in zip(*linear_sum_assignment(ious, maximize=True), strict=True):
                if ious[row, column] >= MIN_IOU:
                    matched[free[column]] = tracks[row]
        return matched

    def _add_gap(
        self, track: _Track, frame: int, box: np.ndarray, filled: dict[int, list[np.ndarray]]
    ) -> None:
        """Record a gap, and interpolate its boxes unless it is too long."""
        num_steps = frame - track.frame
        is_filled = num_steps - 1 <= self.max_gap
        self.gaps.append(
            Gap(
                track.frame + 1,
                frame - 1,
                track.time if track.next_time is None else track.next_time,
                self._last_time,
                track.box,
                is_filled,
            )
        )
        if is_filled:
            for step in range(1, num_steps):
                between = track.box + (box - track.box) * (step / num_steps)
                filled.setdefault(track.frame + step, []).append(between)


def _track_ious(track: _Track, frame: int, boxes: np.ndarray) -> np.ndarray:
    """(n,) IoU of boxes (n, 4) with a track, where it was or where it would be by now."""
    num_steps = frame - track.frame
    growth = min(GROWTH * num_steps, MAX_GROWTH)
    places = np.stack([track.box, track.box + track.velocity * num_steps])
    places[1, 2:] = np.maximum(places[1, 2:], places[1, :2] + 1)  # a shrinking face has a size
    return box_ious(enlarge(places, growth), enlarge(boxes, growth)).max(axis=0)


def enlarge(boxes: np.ndarray, part: float) -> np.ndarray:
    """Boxes (n, 4) with ``part`` of their sides added at each end."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    return np.concatenate([boxes[:, :2] - part * sizes, boxes[:, 2:] + part * sizes], axis=1)


def box_ious(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, m) IoU of boxes (n, 4) and (m, 4), XYXY; 0 of boxes without an area."""
    upper_left = np.maximum(first[:, None, :2], second[None, :, :2])
    lower_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    intersections = np.clip(lower_right - upper_left, 0, None).prod(axis=2)
    areas = [np.clip(x[:, 2:] - x[:, :2], 0, None).prod(axis=1) for x in (first, second)]
    unions = areas[0][:, None] + areas[1][None] - intersections
    return np.divide(intersections, unions, out=np.zeros_like(unions), where=unions > 0)
