"""Merging of several sets of detections of an image, by non-maximum suppression or box voting.

Boxes are XYXY. Where corners are a box's first and last pixels, as in the authors' released code,
``include_last_pixel`` gives the box that they fill. Needs neither torch nor detectron2.

n boxes · G groups
"""

from collections.abc import Sequence

import numpy as np

from .detections import Detections, concatenate
from .large_faces import inside_larger_face

VOTING_IOU = 0.5
"""IoU from which the authors' released test code merges two boxes."""


def include_last_pixel(boxes: np.ndarray) -> np.ndarray:
    """Convert boxes (n, 4) of width x2 - x1 + 1 to boxes of width x2 - x1."""
    return boxes + np.array([0, 0, 1, 1], dtype=boxes.dtype)


def group_boxes(
    boxes: np.ndarray, iou_threshold: float, *, inclusive: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Group overlapping boxes greedily: the loop of NMS and of voting.

    The box of the highest score and all boxes that overlap it form a group and are removed; this
    repeats on the rest. Memory grows with n, time with n x G.

    Args:
        boxes: (n, 4), by descending score. IoUs are computed in their precision.
        iou_threshold: threshold of the IoU with the first box of a group, its leader.
        inclusive: True: boxes overlap at IoU >= threshold; False: at IoU > threshold.

    Returns:
        (n,) int64, group of each box, numbered in the order of the leaders, and (G,) int64, index
        of each group's leader.
    """
    x1, y1, x2, y2 = np.ascontiguousarray(boxes.T)  # each (n,)
    areas = (x2 - x1) * (y2 - y1)
    limit = boxes.dtype.type(iou_threshold)
    groups = np.full(len(boxes), -1, dtype=np.int64)
    leaders: list[int] = []
    for leader in range(len(boxes)):
        if groups[leader] >= 0:
            continue
        groups[leader] = len(leaders)
        # Pre-filter by one axis. All boxes before the leader are already in a group.
        rest = slice(leader + 1, None)
        near = (groups[rest] < 0) & (x1[rest] <= x2[leader]) & (x2[rest] >= x1[leader])
        near = leader + 1 + np.flatnonzero(near)
        width = np.minimum(x2[leader], x2[near]) - np.maximum(x1[leader], x1[near])
        height = np.minimum(y2[leader], y2[near]) - np.maximum(y1[leader], y1[near])
        shared = width.clip(min=0) * height.clip(min=0)
        bound = limit * (areas[leader] + areas[near] - shared)
        overlaps = (shared >= bound) & (shared > 0) if inclusive else shared > bound
        groups[near[overlaps]] = len(leaders)
        leaders.append(leader)
    return groups, np.array(leaders, dtype=np.int64)


def nms(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Indices of the boxes kept by NMS, by descending score; ties keep their order.

    A box is dropped if its IoU with a kept one of higher score is above the threshold, in the
    boxes' precision: as in ONNX' NonMaxSuppression, and torchvision's on CUDA.

    Args:
        boxes: (n, 4).
        scores: (n,).
        threshold: IoU threshold.
    """
    order = np.argsort(-scores, kind="stable")
    _, leaders = group_boxes(boxes[order], threshold, inclusive=False)
    return order[leaders]


def vote_boxes(
    boxes: np.ndarray,
    scores: np.ndarray,
    *,
    iou_threshold: float = VOTING_IOU,
    keep_single: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Box voting: merge each group of overlapping boxes into their mean, weighted by score.

    A merged box has the highest score of its group. As in the released code, corners are first and
    last pixels, sums and overlaps are in float64, and groups of score 0 are dropped.

    Args:
        boxes: (n, 4).
        scores: (n,), not negative.
        iou_threshold: boxes overlap at IoU >= this, in (0, 1].
        keep_single: keep groups of a single box. The released code drops them: it requires two
            overlapping detections.

    Returns:
        boxes (G, 4) and scores (G,), by descending score, of the types of the input.
    """
    order = np.argsort(-scores, kind="stable")
    ordered, weights = boxes[order].astype(np.float64), scores[order].astype(np.float64)
    groups, leaders = group_boxes(include_last_pixel(ordered), iou_threshold, inclusive=True)

    number = len(leaders)
    total_weight = np.bincount(groups, weights, number)
    wanted = total_weight > 0
    if not keep_single:
        wanted &= np.bincount(groups, minlength=number) > 1
    sums = [np.bincount(groups, values * weights, number)[wanted] for values in ordered.T]
    voted = np.stack(sums, axis=1) / total_weight[wanted, None]
    return voted.astype(boxes.dtype), scores[order][leaders[wanted]]


def vote_kept_boxes(
    kept: np.ndarray, boxes: np.ndarray, scores: np.ndarray, voting_ious: Sequence[float]
) -> np.ndarray:
    """The boxes that NMS kept, moved by box voting, as ``srn_d2.modeling.vote_kept_boxes`` does.

    Args:
        kept: (K, 4).
        boxes: all candidates, (n, 4).
        scores: (n,), positive.
        voting_ious: IoUs with the kept box up to which a candidate has no weight, and from which it
            has its score as weight.

    Returns:
        (K, 4).
    """
    none, full = voting_ious
    voted = kept.copy()
    x1, y1, x2, y2 = np.ascontiguousarray(boxes.T)  # each (n,)
    areas = (x2 - x1) * (y2 - y1)
    for index, box in enumerate(kept):
        width = np.minimum(x2, box[2]) - np.maximum(x1, box[0])
        height = np.minimum(y2, box[3]) - np.maximum(y1, box[1])
        near = np.flatnonzero((width > 0) & (height > 0))
        shared = width[near] * height[near]
        iou = shared / ((box[2] - box[0]) * (box[3] - box[1]) + areas[near] - shared)
        weights = scores[near] * ((iou - none) / (full - none)).clip(0, 1)
        # A candidate without weight may have no bounds.
        near, weights = near[weights > 0], weights[weights > 0]
        if len(near):
            voted[index] += weights @ (boxes[near] - box) / weights.sum()
    return voted


def clip_to_pixels(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Clip the corners of boxes (n, 4) to the pixels of an image (height, width)."""
    height, width = image_size
    return boxes.clip(0, np.array([width - 1, height - 1] * 2, dtype=boxes.dtype))


def merge_by_nms(found: Detections, threshold: float, max_detections: int) -> Detections:
    """Merge detections by NMS within each class; result by descending score."""
    kept = [np.zeros(0, dtype=np.int64)]
    for label in np.unique(found.labels):
        of_class = np.flatnonzero(found.labels == label)
        kept.append(of_class[nms(found.boxes[of_class], found.scores[of_class], threshold)])
    return _top_k(found.take(np.concatenate(kept)), max_detections)


def merge_by_voting(
    found: Detections, image_size: tuple[int, int], *, keep_single: bool, max_detections: int
) -> Detections:
    """Merge detections by box voting within each class; result by descending score.

    Boxes are clipped to the image; clipping drops none.

    Args:
        image_size: (height, width).
        keep_single: see ``vote_boxes``.
    """
    merged = [found.take(slice(0))]
    for label in np.unique(found.labels):
        boxes, scores, _ = found.take(found.labels == label)
        boxes, scores = vote_boxes(boxes, scores, keep_single=keep_single)
        labels = np.full(len(scores), label)
        merged.append(Detections(clip_to_pixels(boxes, image_size), scores, labels))
    return _top_k(concatenate(merged), max_detections)


def merge_passes(passes: Sequence[Detections], threshold: float, max_faces: int) -> Detections:
    """Merge the detections of all passes over an image; result by descending score.

    Args:
        passes: detections of the first pass, unchanged if all others are empty, and of the passes
            over the downscaled image.
        threshold: IoU above which the weaker of two faces is dropped.
        max_faces: maximum number of faces.
    """
    first, *further = passes
    if not any(len(found.scores) for found in further):
        return first
    found = concatenate(passes)
    is_downscaled = np.arange(len(found.scores)) >= len(first.scores)
    found = found.take(~inside_larger_face(found.boxes, found.scores, is_downscaled))
    return merge_by_nms(found, threshold, max_faces)


def _top_k(found: Detections, k: int) -> Detections:
    """The detections of the highest scores, by descending score."""
    return found.take(np.argsort(-found.scores, kind="stable")[:k])
