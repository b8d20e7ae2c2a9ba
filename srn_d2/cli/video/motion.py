"""The motion of a face over frames, and how well a box found later continues it.

Places are relative to the frame's width and height (0 to 1), so that they remain the same when a
video changes its size. Distances are measured in sides of the face's boxes, along each axis.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

# Number of last detections from which the velocity is fitted, and of those that give the size.
HISTORY, SIZES = 12, 5
# Farthest place of a continuation from the one expected, in sides of the face: at once, for each
# frame, for each frame by the number of detections (one detection has no velocity), and at most.
REACH, REACH_GROWTH, REACH_UNKNOWN, MAX_REACH = 1.5, 0.15, 0.4, 6.5
# Largest ratio of the sides of two boxes of one face.
MAX_RATIO = 3.0
# A continuation scores less the more frames the face was missed in: other faces come first. It
# scores less, too, if the face must have stopped or slowed down.
MISSED_WEIGHT, MISSED_DECAY, SLOWER_WEIGHT = 0.8, 0.03, 0.3
# A face leaves if it would touch the border within so many frames, and moves towards it by at least
# this part of its side for each frame.
LEAVING_FRAMES, LEAVING_SPEED = 5, 0.02
# Motions are known from so many detections on. The face before a gap is not the one after it if
# their velocities differ by more than this part of their sides for each frame.
KNOWN_MOTION, OTHER_MOTION = 6, 0.15
# Boxes not farther from the border than this part of their sides are at the border.
BORDER = 0.25


class Track:
    """The last detections of one face.

    Args:
        frame: index of the frame of the first detection.
        box: (4,) XYXY, relative to the frame's sides.

    Attributes:
        frame: index of the frame of the last detection.
        box: (4,) the last detection.
        num_found: number of frames in which the face was found.
        velocity: (2,) change of the centre for each frame.
        sides: (2,) width and height, the medians of the last detections.
    """

    def __init__(self, frame: int, box: np.ndarray):
        self._frames: list[int] = []
        self._boxes: list[np.ndarray] = []
        self.num_found = 0
        self.add(frame, box)

    def add(self, frame: int, box: np.ndarray) -> None:
        """Add a detection, later than the others."""
        self._frames = [*self._frames[1 - HISTORY :], frame]
        self._boxes = [*self._boxes[1 - HISTORY :], box]
        self.frame, self.box = frame, box
        self.num_found += 1
        boxes = np.stack(self._boxes)
        self.sides = np.median(boxes[-SIZES:, 2:] - boxes[-SIZES:, :2], axis=0)
        self.velocity = median_slope(np.array(self._frames), (boxes[:, :2] + boxes[:, 2:]) / 2)

    @property
    def centre(self) -> np.ndarray:
        """(2,) centre of the last detection."""
        return (self.box[:2] + self.box[2:]) / 2

    @property
    def reach_growth(self) -> float:
        """Growth of the reach for each frame, in sides."""
        return REACH_GROWTH + REACH_UNKNOWN / len(self._frames)

    @property
    def is_leaving(self) -> bool:
        """Whether the face was about to leave the picture after its last detection."""
        centre = self.centre + self.velocity * LEAVING_FRAMES
        speed = LEAVING_SPEED * self.sides
        is_low = (centre - self.sides / 2 <= 0) & (self.velocity <= -speed)
        is_high = (centre + self.sides / 2 >= 1) & (self.velocity >= speed)
        return bool((is_low | is_high).any())

    @property
    def has_known_motion(self) -> bool:
        """Whether there are enough detections to tell faces by their motions."""
        return self.num_found >= KNOWN_MOTION

    def moves_like(self, other: "Track") -> bool:
        """Whether two tracks have about the same velocity."""
        sides = np.maximum((self.sides + other.sides) / 2, 1e-9)
        return bool(np.linalg.norm((self.velocity - other.velocity) / sides) <= OTHER_MOTION)


@lru_cache(maxsize=HISTORY)
def _pairs(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(size, 1)


def median_slope(times: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Theil-Sen slopes: the medians of the slopes between any two points.

    Args:
        times: (n,), increasing.
        places: (n, d).

    Returns:
        (d,) slopes; 0 of a single point.
    """
    first, second = _pairs(len(times))
    if not len(first):
        return np.zeros(places.shape[1])
    steps = (times[second] - times[first])[:, None]
    return np.median((places[second] - places[first]) / steps, axis=0)


def continuation_scores(
    tracks: Sequence[Track], frame: int, boxes: np.ndarray, max_missed_at_border: int
) -> np.ndarray:
    """How well boxes continue tracks.

    A box may be around the place where its face would be by now, or around the line from its last
    place to this one, as a face may stop. How far around grows with the number of frames, and with
    the face.

    Args:
        tracks: m tracks, at least one.
        frame: index of the frame of the boxes.
        boxes: (n, 4) XYXY, relative to the frame's sides.
        max_missed_at_border: number of missed frames up to which a face that was leaving the
            picture may come back at the border; a later one there is another face.

    Returns:
        (m, n), from 0, for another face, to 1.
    """
    steps = np.array([frame - track.frame for track in tracks])[:, None]
    last = np.stack([track.centre for track in tracks])[:, None]
    motion = np.stack([track.velocity for track in tracks])[:, None] * steps[..., None]
    old_sides = np.stack([track.sides for track in tracks])[:, None]
    growths = np.array([track.reach_growth for track in tracks])[:, None]
    is_leaving = np.array([track.is_leaving for track in tracks])[:, None]
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]

    units = np.maximum((old_sides + sides) / 2, 1e-9)
    ratios = np.log(np.maximum(sides, 1e-9) / np.maximum(old_sides, 1e-9))
    sameness = 1 - np.abs(ratios).max(axis=2) / np.log(MAX_RATIO)
    motion, offsets = motion / units, (centres - last) / units
    reach = np.minimum(REACH + growths * steps, MAX_REACH)
    at_expected = 1 - np.linalg.norm(offsets - motion, axis=2) / reach
    lengths = np.maximum((motion**2).sum(axis=2), 1e-12)
    part = np.clip((offsets * motion).sum(axis=2) / lengths, 0, 1)
    at_line = 1 - np.linalg.norm(offsets - part[..., None] * motion, axis=2) / reach
    places = np.maximum(np.maximum(at_expected, SLOWER_WEIGHT * at_line), 0)
    missed = steps - 1
    weights = np.where(missed > 0, MISSED_WEIGHT / (1 + MISSED_DECAY * missed), 1)
    scores = weights * places * np.maximum(sameness, 0)
    is_other = is_leaving & _at_border(boxes) & (missed > max_missed_at_border)
    return np.where(is_other, 0, scores)


def _at_border(boxes: np.ndarray) -> np.ndarray:
    """(n,) whether boxes (n, 4) are at the border of the picture."""
    margins = BORDER * (boxes[:, 2:] - boxes[:, :2])
    return ((boxes[:, :2] <= margins) | (boxes[:, 2:] >= 1 - margins)).any(axis=1)
