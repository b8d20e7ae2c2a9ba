"""Further passes over a downscaled image, for faces too large for the first pass.

A network finds faces up to a certain size, that of its largest anchor or of the largest faces that
it has been trained on. A face that fills the frame is larger than that in all but small images.
Sizes are square roots of areas, in pixels. Needs neither torch nor detectron2.
"""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

FACE_ASPECT = 1.25
"""Aspect ratio (height / width) of the anchors, assumed for faces."""
TOLERANCE = math.sqrt(2)
"""A face larger than the largest anchor by this factor still has an IoU of 0.5 with it."""
MAX_REDUCTION = 6.0
"""Maximum downscaling of a pass against the one before it. The smallest faces kept from it then
have a ninth of the largest size, 24 pixels of 200, far above the smallest detectable size."""
SPARE_REDUCTION = 2.0
"""Further downscaling of the last pass: a face that fills the frame has half of the largest size,
181 pixels of 362, where the anchors lie closer. The pass takes a quarter of the time."""

PART_SHARE = 2 / 3
"""Share of a box's area inside a larger face from which the box is a part of it, such as an eye."""


class DownscaledPass(NamedTuple):
    """A further pass over an image, downscaled.

    Attributes:
        reduction: downscaling factor of the sides against the first pass; at least 1.
        min_size: size of the smallest faces kept, in pixels of the first pass: the upper end of
            the range of the pass before this one.
    """

    reduction: float
    min_size: float


def largest_learned_face(cfg: Any) -> float:
    """Size of the largest faces that a network finds, by its anchors and its training data.

    Args:
        cfg: a config of this project, detectron2's CfgNode.
    """
    largest_anchor = max(itertools.chain(*cfg.MODEL.ANCHOR_GENERATOR.SIZES))
    crop = cfg.INPUT.FACE_CROP_SIZE
    if cfg.INPUT.FACE_ANCHOR_SAMPLING_PROB > 0:
        return min(largest_anchor, cfg.INPUT.FACE_SAMPLED_SIZES[1])
    return min(largest_anchor, frame_filling_size(crop, crop))


def longest_side_found(largest_face: float) -> float:
    """Longer side in pixels of the largest faces detected at all, with reduced quality.

    Args:
        largest_face: size of the largest faces that the network finds reliably.
    """
    return largest_face * TOLERANCE * math.sqrt(FACE_ASPECT)


def frame_filling_size(height: float, width: float) -> float:
    """Size of the largest face that fits in an image, upright or rotated by 90 degrees."""
    shorter, longer = sorted((height, width))
    return min(shorter * math.sqrt(FACE_ASPECT), longer / math.sqrt(FACE_ASPECT))


def downscaled_passes(height: int, width: int, largest_face: float) -> list[DownscaledPass]:
    """The further passes over an image that cover faces of all sizes up to the whole frame.

    In the last pass a face that fills the frame has at most the size ``largest_face``. Empty if the
    first pass detects such a face.

    Args:
        height, width: size of the image in the first pass, in pixels.
        largest_face: size of the largest faces that the network finds.
    """
    needed = frame_filling_size(height, width) / largest_face
    passes: list[DownscaledPass] = []
    if needed <= TOLERANCE:
        return passes
    reduction = 1.0
    while reduction < needed:
        min_size = largest_face * reduction / TOLERANCE
        reduction = min(reduction * MAX_REDUCTION, needed * SPARE_REDUCTION)
        passes.append(DownscaledPass(reduction, min_size))
    return passes


def inside_larger_face(
    boxes: np.ndarray, scores: np.ndarray, is_downscaled: np.ndarray
) -> np.ndarray:
    """Mask of boxes inside a larger box of higher score from a downscaled pass.

    On a face that is too large for it, the first pass gives false detections at parts such as the
    eyes. Non-maximum suppression keeps these: their IoU with the whole face is small.

    Args:
        boxes: (n, 4) XYXY.
        scores: (n,).
        is_downscaled: (n,) bool, True for boxes from a downscaled pass.

    Returns:
        (n,) bool.
    """
    top_left, bottom_right = boxes[:, :2], boxes[:, 2:]
    areas = (bottom_right - top_left).prod(axis=1)
    is_part = np.zeros(len(boxes), dtype=bool)
    for face in np.flatnonzero(is_downscaled):  # few iterations
        shared = np.minimum(bottom_right, bottom_right[face]) - np.maximum(top_left, top_left[face])
        lies_within = shared.clip(min=0).prod(axis=1) >= PART_SHARE * areas
        is_part |= lies_within & (areas < areas[face]) & (scores < scores[face])
    return is_part
