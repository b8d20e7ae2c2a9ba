"""Detections of a network in an image, as arrays. Needs neither torch nor detectron2.

n detections
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Detections(NamedTuple):
    """Boxes with scores and classes; those of a network are sorted by descending score.

    Attributes:
        boxes: (n, 4) float32, XYXY in pixels of an image.
        scores: (n,) float32.
        labels: (n,) int64, classes; faces are 0.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    @classmethod
    def of_faces(cls, boxes: np.ndarray, scores: np.ndarray) -> "Detections":
        return cls(boxes, scores, np.zeros(len(scores), dtype=np.int64))

    def take(self, chosen: np.ndarray) -> "Detections":
        """Subset by indices or by a mask (n,)."""
        return Detections(*(values[chosen] for values in self))

    def clip(self, image_size: tuple[int, int]) -> "Detections":
        """Detections clipped to an image (height, width); boxes without area are dropped."""
        height, width = image_size
        limit = np.array([width, height] * 2, dtype=self.boxes.dtype)
        clipped = self._replace(boxes=self.boxes.clip(0, limit))
        return clipped.take((clipped.boxes[:, 2:] > clipped.boxes[:, :2]).all(axis=1))


def concatenate(found: Sequence[Detections]) -> Detections:
    """Concatenate one or more sets of detections."""
    return Detections(*map(np.concatenate, zip(*found, strict=True)))
