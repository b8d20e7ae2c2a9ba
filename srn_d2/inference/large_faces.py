"""Faces too large for one pass: the further passes over a downscaled image.

A network finds faces up to a certain size, that of its largest anchor or of the largest faces that
it has been trained on. A face that fills the frame is larger than that in all but small images.
Sizes are square roots of areas, in pixels. Needs neither torch nor detectron2.
"""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

FACE_ASPECT = 1.25
"""Height of a face by its width, as the anchors have it."""
TOLERANCE = math.sqrt(2)
"""A face larger than the largest anchor by this factor still has an IoU of 0.5 with it."""
MAX_REDUCTION = 6.0
"""Of a pass against the one before it. The smallest faces that count in it then have a ninth of the
largest size, 24 pixels of 200: small, but far from the smallest that a network finds."""

PART_SHARE = 2 / 3
"""Of its area: a box that lies so far in a larger face is a part of it, such as an eye."""


class DownscaledPass(NamedTuple):
    """A further pass over an image, downscaled.

    Attributes:
        reduction: of the sides, against the first pass; at least 1.
        min_size: of the smallest faces that count, in pixels of the first pass: those that begin to
            be too large for the pass before this one.
    """

    reduction: float
    min_size: float


def largest_learned_face(cfg: Any) -> float:
    """Up to which size a network finds faces: those that fit its anchors and were in its training.

    Args:
        cfg: a config of this project, detectron2's CfgNode.
    """
    largest_anchor = max(itertools.chain(*cfg.MODEL.ANCHOR_GENERATOR.SIZES))
    crop = cfg.INPUT.FACE_CROP_SIZE
    if cfg.INPUT.FACE_ANCHOR_SAMPLING_PROB > 0:
        return min(largest_anchor, cfg.INPUT.FACE_SAMPLED_SIZES[1])
    return min(largest_anchor, frame_filling_size(crop, crop))


def longest_side_found(largest_face: float) -> float:
    """Longer side in pixels of the largest faces that a network finds, if not at their best.

    Args:
        largest_face: up to which size the network finds faces well.
    """
    return largest_face * TOLERANCE * math.sqrt(FACE_ASPECT)


def frame_filling_size(height: float, width: float) -> float:
    """Size of the largest face that an image has room for, upright or lying."""
    shorter, longer = sorted((height, width))
    return min(shorter * math.sqrt(FACE_ASPECT), longer / math.sqrt(FACE_ASPECT))


def downscaled_passes(height: int, width: int, largest_face: float) -> list[DownscaledPass]:
    """The further passes over an image, so that faces of all sizes are found in one of them.

    In the last pass a face that fills the frame has ``largest_face``. There is none if the first
    pass tolerates such a face.

    Args:
        height, width: of the image in the first pass.
        largest_face: up to which size the network finds faces.
    """
    needed = frame_filling_size(height, width) / largest_face
    passes: list[DownscaledPass] = []
    if needed <= TOLERANCE:
        return passes
    reduction = 1.0
    while reduction < needed:
        min_size = largest_face * reduction / TOLERANCE
        reduction = min(reduction * MAX_REDUCTION, needed)
        passes.append(DownscaledPass(reduction, min_size))
    return passes


def inside_larger_face(
    boxes: np.ndarray, scores: np.ndarray, is_downscaled: np.ndarray
) -> np.ndarray:
    """Which boxes lie within a larger and better one that a downscaled pass has found.

    A face too large for the first pass seems there to be several, at its eyes or its mouth, and
    non-maximum suppression does not remove these: their IoU with the whole face is small.

    Args:
        boxes: (n, 4) XYXY.
        scores: (n,).
        is_downscaled: (n,) bool, whether a downscaled pass has found it.

    Returns:
        (n,) bool.
    """
    top_left, bottom_right = boxes[:, :2], boxes[:, 2:]
    areas = (bottom_right - top_left).prod(axis=1)
    is_part = np.zeros(len(boxes), dtype=bool)
    for face in np.flatnonzero(is_downscaled):  # a few
        shared = np.minimum(bottom_right, bottom_right[face]) - np.maximum(top_left, top_left[face])
        lies_within = shared.clip(min=0).prod(axis=1) >= PART_SHARE * areas
        is_part |= lies_within & (areas < areas[face]) & (scores < scores[face])
    return is_part
