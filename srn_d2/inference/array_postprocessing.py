"""Post-processing in NumPy: detections from the boxes and scores of all anchors.

Shapes: R anchors of an image, all levels one after the other
"""

import math

import numpy as np

from .export_metadata import ExportMetadata
from .merging import include_last_pixel, nms


def choose_detections(
    boxes: np.ndarray,
    scores: np.ndarray,
    image_size: tuple[int, int],
    metadata: ExportMetadata,
) -> np.ndarray:
    """Select the detections among the anchors of one image, by the model's post-processing.

    Args:
        boxes: (R, 4) XYXY.
        scores: (R,).
        image_size: (height, width) of the network's input in pixels, before padding.

    Returns:
        indices of the anchors, by descending score.
    """
    chosen = _candidates(scores, image_size, metadata)
    # Ties go to the first anchor, as in the graph.
    candidate_boxes = boxes[chosen]
    if metadata.postprocessing == "released":
        candidate_boxes = include_last_pixel(candidate_boxes)
    kept = nms(candidate_boxes, scores[chosen], metadata.nms_threshold)
    return chosen[kept[: metadata.max_detections]]


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
