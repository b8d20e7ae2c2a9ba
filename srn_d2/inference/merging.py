"""Several sets of detections of an image made one: by non-maximum suppression or by voting.

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
    """Boxes (n, 4) whose width is x2 - x1, of such whose width is x2 - x1 + 1."""
    return boxes + np.array([0, 0, 1, 1], dtype=boxes.dtype)


def group_boxes(
    boxes: np.ndarray, iou_threshold: float, *, inclusive: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Group boxes with those that they overlap: the loop of NMS and of voting.

    The best box and all that overlap it make a group and leave; so does the best of the rest with
    those of the rest that overlap it, and so on. Memory grows with n, time with n x G.

    Args:
        boxes: (n, 4), best first. IoUs are computed in their precision.
        iou_threshold: of the IoU with the best box of a group, its leader.
        inclusive: whether two boxes overlap from this IoU on, or only above it.

    Returns:
        (n,) int64, each box's group, numbered in the order of their leaders, and (G,) int64, the
        leader of each group, its first box.
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
        # Comparisons of one axis leave few boxes for the overlap. All before the leader are taken.
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
    """Indices of the boxes that stay, best first; of equal scores the first is the better.

    A box leaves if its IoU with a better one that stays is above the threshold, in the boxes'
    precision: as ONNX' NonMaxSuppression, and torchvision's on CUDA.

    Args:
        boxes: (n, 4).
        scores: (n,).
        threshold: of the IoU.
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
    """Merge each group of boxes that overlap its best one into their mean, weighted by score.

    A merged box has the best score of its group. As in the released code, corners are first and
    last pixels, sums and overlaps are in float64, and groups of score 0 are dropped.

    Args:
        boxes: (n, 4).
        scores: (n,), not negative.
        iou_threshold: boxes overlap from this IoU on, in (0, 1].
        keep_single: keep the boxes that nothing else overlaps, which the released code drops: a
            face is what at least two views found.

    Returns:
        boxes (G, 4) and scores (G,), best first, of the types of the input.
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


def clip_to_pixels(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Boxes (n, 4) with every corner on a pixel of an image (height, width)."""
    height, width = image_size
    return boxes.clip(0, np.array([width - 1, height - 1] * 2, dtype=boxes.dtype))


def merge_by_nms(found: Detections, threshold: float, max_detections: int) -> Detections:
    """Detections without the weaker ones of an IoU above ``threshold``, best first, by class."""
    kept = [np.zeros(0, dtype=np.int64)]
    for label in np.unique(found.labels):
        of_class = np.flatnonzero(found.labels == label)
        kept.append(of_class[nms(found.boxes[of_class], found.scores[of_class], threshold)])
    return _best(found.take(np.concatenate(kept)), max_detections)


def merge_by_voting(
    found: Detections, image_size: tuple[int, int], *, keep_single: bool, max_detections: int
) -> Detections:
    """Voted detections, best first, by class; clipped to an image's pixels, none leaves by that.

    Args:
        image_size: (height, width).
        keep_single: as of ``vote_boxes``.
    """
    merged = [found.take(slice(0))]
    for label in np.unique(found.labels):
        boxes, scores, _ = found.take(found.labels == label)
        boxes, scores = vote_boxes(boxes, scores, keep_single=keep_single)
        labels = np.full(len(scores), label)
        merged.append(Detections(clip_to_pixels(boxes, image_size), scores, labels))
    return _best(concatenate(merged), max_detections)


def merge_passes(passes: Sequence[Detections], threshold: float, max_faces: int) -> Detections:
    """The faces of all passes over an image, best first, each once.

    Args:
        passes: what the first found, which stays as it is if no further one found anything, and
            what those over the downscaled image found.
        threshold: IoU above which the weaker of two faces is dropped.
        max_faces: the most faces.
    """
    first, *further = passes
    if not any(len(found.scores) for found in further):
        return first
    found = concatenate(passes)
    is_downscaled = np.arange(len(found.scores)) >= len(first.scores)
    found = found.take(~inside_larger_face(found.boxes, found.scores, is_downscaled))
    return merge_by_nms(found, threshold, max_faces)


def _best(found: Detections, most: int) -> Detections:
    """The best detections, best first."""
    return found.take(np.argsort(-found.scores, kind="stable")[:most])
