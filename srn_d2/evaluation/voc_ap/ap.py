"""Average precision of AFW and PASCAL face, from arrays.

Plain: PASCAL VOC's measure with the area under the whole curve. A detection belongs to the face
that it overlaps most, if by more than the threshold; the first one of a face, by score, is right,
further ones are wrong, and one that belongs to an ignored face is neither.

Toolbox: the same with what the toolbox of "Face detection without bells and whistles" (Mathias et
al., ECCV 2014) adds, from which published figures of the two benchmarks come: sides are one pixel
longer, faces below 30 pixels are ignored, small detections are dropped, and since annotators
disagree on what a face's box is, one shift and one scaling of all detections are fitted to the
faces that they find. Equal scores rank in the order of the detections' file, which the toolbox
sorts by score and otherwise keeps: with scores of three digits, another order of the images
changes the AP by up to 0.13 points.

M faces and D detections of one image; boxes are XYXY, absolute pixels.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from srn_d2.evaluation.widerface.assignment import FALSE_POSITIVE, IGNORED, TRUE_POSITIVE

TOOLBOX_MIN_FACE = 30  # pixels; a face with a shorter side is ignored
TOOLBOX_MIN_DETECTION = 21  # pixels, int(sqrt(0.5) * 30); dropped unless a side is longer
# The toolbox matches and fits five times and takes the curve of the fifth match.
TOOLBOX_FITS = 4


class ApImage(NamedTuple):
    """The faces and the detections of one image."""

    faces: np.ndarray  # (M, 4)
    ignored: np.ndarray  # (M,) bool
    boxes: np.ndarray  # (D, 4)
    scores: np.ndarray  # (D,) finite
    # (D,) rising: which of equal scores in several images comes first; None: in the images' order
    ranks: np.ndarray | None = None


class ApResult(NamedTuple):
    """A precision-recall curve over the D' detections that count, by falling score."""

    ap: float  # in [0, 1]; NaN if there is no face
    precision: np.ndarray  # (D',)
    recall: np.ndarray  # (D',)
    scores: np.ndarray  # (D',)
    num_faces: int  # not ignored


def evaluate_ap(
    images: Sequence[ApImage], iou_threshold: float = 0.5, pixel: float = 0.0
) -> ApResult:
    """The plain measure over a data set.

    Args:
        images: equal scores rank by ``ranks``, or in this order, as within an image.
        iou_threshold: a detection matches above it.
        pixel: added to the sides of boxes and intersections; 1 for corners that are the outermost
            pixels, as VOC's.
    """
    outcomes = [match_faces(image, iou_threshold, pixel)[0] for image in images]
    outcome = np.concatenate([np.zeros(0, np.int8), *outcomes])
    scores = np.concatenate([np.zeros(0), *(image.scores for image in images)])
    order = np.lexsort((_ranks(images), -scores))
    order = order[outcome[order] != IGNORED]
    true_positives = np.cumsum(outcome[order] == TRUE_POSITIVE)
    num_faces = int(sum(np.count_nonzero(~image.ignored) for image in images))
    precision = true_positives / np.arange(1, len(order) + 1)
    recall = true_positives / (num_faces or np.nan)
    ap = _area(recall, precision) if num_faces else float("nan")
    return ApResult(ap, precision, recall, scores[order], num_faces)


def evaluate_toolbox_ap(images: Sequence[ApImage]) -> ApResult:
    """The toolbox's measure over a data set."""
    images = [_toolbox_selection(image) for image in images]
    for _ in range(TOOLBOX_FITS):
        fit = _fit_detections(images)
        if fit is None:
            break
        images = [image._replace(boxes=_shift_and_scale(image.boxes, *fit)) for image in images]
    return evaluate_ap(images, pixel=1.0)


def match_faces(
    image: ApImage, iou_threshold: float = 0.5, pixel: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Match the detections of one image to its faces.

    Returns:
        (D,) int8 of TRUE_POSITIVE, FALSE_POSITIVE and IGNORED, and (D,) int64, the face of each;
        -1 where it belongs to none. In the order of the detections.
    """
    num_faces = len(image.faces)
    outcome = np.full(len(image.boxes), FALSE_POSITIVE, np.int8)
    face = np.full(len(image.boxes), -1)
    if num_faces == 0:
        return outcome, face
    overlaps = box_overlaps(image.boxes, image.faces, pixel)  # (D, M)
    # Of equal overlaps the last, as the toolbox's ">=" has it.
    best = num_faces - 1 - np.argmax(overlaps[:, ::-1], axis=1)
    matched = overlaps.max(axis=1) > iou_threshold
    face[matched] = best[matched]
    outcome[matched & image.ignored[best]] = IGNORED
    ranked = np.argsort(-image.scores, kind="stable")
    ranked = ranked[matched[ranked] & ~image.ignored[best[ranked]]]
    first = np.unique(face[ranked], return_index=True)[1]
    outcome[ranked[first]] = TRUE_POSITIVE
    return outcome, face


def box_overlaps(first: np.ndarray, second: np.ndarray, pixel: float = 0.0) -> np.ndarray:
    """(n, m) intersection over union of (n, 4) and (m, 4) boxes; 0 for boxes without area.

    Args:
        pixel: see :func:`evaluate_ap`; boxes that touch only by it do not intersect.
    """
    corners = np.maximum(first[:, None, :2], second[None, :, :2])
    sides = np.minimum(first[:, None, 2:], second[None, :, 2:]) - corners
    intersection = np.where((sides > 0).all(axis=2), np.prod(sides + pixel, axis=2), 0.0)
    areas = [np.prod(np.maximum(b[:, 2:] - b[:, :2], 0) + pixel, axis=1) for b in (first, second)]
    union = areas[0][:, None] + areas[1][None] - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=intersection > 0)


def _area(recall: np.ndarray, precision: np.ndarray) -> float:
    """The area under the envelope of the curve, added exactly: a running sum is off by 2e-14."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return math.fsum(np.diff(recall, prepend=0.0) * envelope)


def _ranks(images: Sequence[ApImage]) -> np.ndarray:
    """The order of the detections of all images among equal scores."""
    if any(image.ranks is None for image in images):
        return np.arange(sum(len(image.scores) for image in images))
    return np.concatenate([np.zeros(0), *(image.ranks for image in images)])


def _toolbox_selection(image: ApImage) -> ApImage:
    face_sides = image.faces[:, 2:] - image.faces[:, :2]
    is_small = (face_sides < TOOLBOX_MIN_FACE).any(axis=1)
    keep = ((image.boxes[:, 2:] - image.boxes[:, :2]) > TOOLBOX_MIN_DETECTION).any(axis=1)
    return ApImage(
        image.faces,
        image.ignored | is_small,
        image.boxes[keep],
        image.scores[keep],
        None if image.ranks is None else image.ranks[keep],
    )


def _fit_detections(images: Sequence[ApImage]) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean shift (2,) of the centres, per side of the detection, and mean scaling (2,) of sides."""
    pairs = [np.zeros((0, 8))]
    for image in images:
        outcome, face = match_faces(image, pixel=1.0)
        found = outcome == TRUE_POSITIVE
        pairs.append(np.hstack([image.boxes[found], image.faces[face[found]]]))
    boxes, faces = np.split(np.concatenate(pairs), 2, axis=1)
    if len(boxes) == 0:
        return None
    sides, face_sides = boxes[:, 2:] - boxes[:, :2], faces[:, 2:] - faces[:, :2]
    shift = ((faces[:, :2] + faces[:, 2:]) - (boxes[:, :2] + boxes[:, 2:])) / 2 / sides
    return shift.mean(axis=0), (face_sides / sides).mean(axis=0)


def _shift_and_scale(boxes: np.ndarray, shift: np.ndarray, scale: np.ndarray) -> np.ndarray:
    sides = boxes[:, 2:] - boxes[:, :2]
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2 + shift * sides
    return np.hstack([centers - scale * sides / 2, centers + scale * sides / 2])
