"""Post-processing in NumPy: detections from the boxes and scores of all anchors.

Shapes: R anchors of an image, all levels one after the other
"""

import math

import numpy as np

from .export_metadata import ExportMetadata
from .merging import include_last_pixel, nms, vote_kept_boxes

MAX_SIDE = 1e6
"""Pixels to which sides are limited: infinity times 0 would be no number."""


def choose_detections(
    boxes: np.ndarray,
    scores: np.ndarray,
    image_size: tuple[int, int],
    metadata: ExportMetadata,
    min_score: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """The detections among the anchors of one image, by the model's post-processing.

    Args:
        boxes: (R, 4) XYXY.
        scores: (R,), as the network gives them.
        image_size: (height, width) of the network's input in pixels, before padding.
        min_score: of detections; others still vote for their boxes.

    Returns:
        boxes (n, 4) and scores (n,), by descending score; ties go to the first anchor, as in the
        graph. With a ``size_exponent`` equal scores of the network are ties only where the boxes
        have one size to the last bit.
    """
    chosen = _candidates(scores, image_size, metadata)
    boxes, scores = boxes[chosen], scores[chosen]
    if metadata.size_exponent:
        scores = scores_by_size(boxes, scores, metadata)
    # Candidates below the score cannot suppress any above it.
    able = np.flatnonzero(scores >= np.float32(min_score))
    for_nms = include_last_pixel(boxes) if metadata.postprocessing == "released" else boxes
    kept = able[nms(for_nms[able], scores[able], metadata.nms_threshold)]
    kept = kept[: metadata.max_detections]
    detected = boxes[kept]
    if metadata.voting_ious:
        detected = vote_kept_boxes(detected, boxes, scores, metadata.voting_ious)
    return detected, scores[kept]


def scores_by_size(boxes: np.ndarray, scores: np.ndarray, metadata: ExportMetadata) -> np.ndarray:
    """Scores changed by the size of the boxes: ``srn_d2.modeling.postprocessing.scores_by_size``.

    Args:
        boxes: (n, 4), in pixels of the network's input.
        scores: (n,), as the network gives them.

    Returns:
        (n,), of the type of ``scores``.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clip(max=MAX_SIDE)
    lower, upper = (limit**2 for limit in metadata.size_limits)
    areas = (sides[:, 0] * sides[:, 1]).clip(lower, upper)
    factors = (areas / metadata.size_reference**2) ** (metadata.size_exponent / 2)
    return (scores * factors / (1 - scores + scores * factors)).astype(scores.dtype)


def _candidates(
    scores: np.ndarray, image_size: tuple[int, int], metadata: ExportMetadata
) -> np.ndarray:
    """Indices of the anchors passed to NMS."""
    if metadata.postprocessing != "released":
        return _best(scores, metadata.score_threshold, metadata.topk_candidates)
    cells = level_cells(image_size, metadata)
    num_anchors = len(scores) // sum(cells)
    chosen, start = [], 0
    for count in cells:
        threshold = metadata.score_threshold if count >= metadata.few_cells else 0.0
        level = scores[start : start + count * num_anchors]
        chosen.append(start + _best(level, threshold, metadata.topk_candidates))
        start += count * num_anchors
    return np.concatenate(chosen)


def level_cells(image_size: tuple[int, int], metadata: ExportMetadata) -> list[int]:
    """Height x width of each level's map, for an image (height, width)."""
    divisibility = metadata.size_divisibility
    height, width = (math.ceil(side / divisibility) * divisibility for side in image_size)
    return [math.ceil(height / s) * math.ceil(width / s) for s in metadata.strides]


def _best(scores: np.ndarray, threshold: float, most: int) -> np.ndarray:
    """Indices of the highest scores above a threshold, descending."""
    above = np.flatnonzero(scores > np.float32(threshold))
    order = np.argsort(-scores[above], kind="stable")
    return above[order[:most]]
