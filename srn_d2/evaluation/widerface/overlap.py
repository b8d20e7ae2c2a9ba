"""Assignment of detections to faces: rules 3 and 4 of the official WIDER FACE protocol.

The rules are written out in :mod:`srn_d2.evaluation.widerface.ap`. Everything here works on
detections and faces of all images together, on ragged (detection, face) pairs of the same image.

    N detections · F faces · T IoU thresholds · P pairs · boxes are XYWH, absolute pixels
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

Arithmetic = Literal["official", "float"]

INT32_MAX = np.iinfo(np.int32).max
INT32_MIN = np.iinfo(np.int32).min

# Pairs handled at a time: bounds the memory (about 100 bytes a pair), and stays within the cache.
_PAIRS_PER_CHUNK = 1 << 16


def assigned_faces(
    detections: np.ndarray,
    detection_image: np.ndarray,
    faces: np.ndarray,
    face_offsets: np.ndarray,
    iou_thresholds: Sequence[float],
    arithmetic: Arithmetic,
) -> np.ndarray:
    """The face that each detection is assigned to, whether it counts or not (rules 3 and 4).

    Args:
        detections: (N, 4) float64.
        detection_image: (N,) int, ascending: the image of each detection.
        faces: (F, 4) int32 or int64, all images one after the other.
        face_offsets: (images + 1,): image i has faces ``face_offsets[i]:face_offsets[i + 1]``.
        iou_thresholds: T values.
        arithmetic: "official" (integers; lowest index) or "float" (best overlap).

    Returns:
        (T, N) int64: the index of the face in ``faces``, or -1.
    """
    overlaps = _official_overlaps if arithmetic == "official" else _float_overlaps
    assigned = np.full((len(iou_thresholds), len(detections)), -1, dtype=np.int64)
    detection_terms = _box_terms(detections, arithmetic)
    face_terms = _face_terms(faces, arithmetic)
    for detection, face in _pairs_of_same_image(detection_image, face_offsets):
        detection, face, intersection, union = overlaps(
            detection_terms, face_terms, detection, face
        )
        for row, threshold in enumerate(iou_thresholds):
            quality = _match_quality(intersection, union, threshold, arithmetic)
            matched = quality > 0
            _keep_best(assigned[row], detection[matched], face[matched], quality[matched])
    return assigned


def _pairs_of_same_image(
    detection_image: np.ndarray, face_offsets: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All (detection, face) index pairs of the same image, in chunks of whole detections."""
    first_face = face_offsets[detection_image]
    num_faces = face_offsets[detection_image + 1] - first_face
    ends = np.cumsum(num_faces)
    total = int(ends[-1]) if len(ends) else 0
    cuts = np.searchsorted(ends, np.arange(_PAIRS_PER_CHUNK, total, _PAIRS_PER_CHUNK))
    bounds = np.unique(np.concatenate([[0], cuts, [len(detection_image)]]))
    for begin, end in itertools.pairwise(bounds):
        counts = num_faces[begin:end]
        starts = np.cumsum(counts) - counts
        detection = np.repeat(np.arange(begin, end), counts)
        face = np.arange(counts.sum()) + np.repeat(first_face[begin:end] - starts, counts)
        yield detection, face


def _keep_best(
    assigned: np.ndarray, detection: np.ndarray, face: np.ndarray, quality: np.ndarray
) -> None:
    """Assign each detection its face of highest quality, the first one among equals (rule 4)."""
    order = np.lexsort((face, -quality, detection))
    detection, face = detection[order], face[order]
    first = np.ones(len(detection), dtype=bool)
    first[1:] = detection[1:] != detection[:-1]
    assigned[detection[first]] = face[first]


def _match_quality(
    intersection: np.ndarray, union: np.ndarray, threshold: float, arithmetic: Arithmetic
) -> np.ndarray:
    """(P,) float64: 0 for pairs that do not match; of several matches the highest wins.

    The official code takes the first maximum of the rounded quotients: 1 for every ordinary match,
    so the lowest index wins; more only where the union is smaller than the intersection, which the
    rounded corners of a detection of a few pixels can bring about. Other thresholds than 0.5 need
    the quotient itself, and there every match is equal: lowest index.
    """
    with np.errstate(divide="ignore"):
        quotient = intersection / union  # the intersection is never 0 here: x / 0 is inf
    if arithmetic == "float":
        return np.where(quotient >= threshold, quotient, 0.0)
    if threshold == 0.5:
        return np.maximum(round_to_int32(quotient), 0).astype(np.float64)
    return (quotient >= threshold).astype(np.float64)


# --- the two arithmetics ------------------------------------------------------------------------
# Terms of a box: x1, y1, x2, y2, area.
_Terms = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def round_to_int32(values: np.ndarray) -> np.ndarray:
    """MATLAB's conversion to int32, kept in int64: half away from zero, saturated, NaN to 0."""
    whole = np.trunc(values)
    with np.errstate(invalid="ignore"):  # inf - inf
        whole = whole + np.sign(values) * (np.abs(values - whole) >= 0.5)
    whole = np.nan_to_num(whole, nan=0.0, posinf=INT32_MAX, neginf=INT32_MIN)
    return np.clip(whole, INT32_MIN, INT32_MAX).astype(np.int64)


def _saturate(values: np.ndarray) -> np.ndarray:
    """int64 values as an int32 operation would leave them."""
    return np.clip(values, INT32_MIN, INT32_MAX)


def _box_terms(boxes: np.ndarray, arithmetic: Arithmetic) -> _Terms:
    """Corners and area of detections; official: corners rounded, area in float (rule 3)."""
    x1, y1, w, h = boxes.T.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # boxes of infinite size
        x2, y2 = x1 + w, y1 + h
        area = (x2 - x1 + 1) * (y2 - y1 + 1)
    if arithmetic == "float":
        return x1, y1, x2, y2, area
    return *(round_to_int32(side) for side in (x1, y1, x2, y2)), area


def _face_terms(faces: np.ndarray, arithmetic: Arithmetic) -> _Terms:
    """Corners and area of faces; official: every step an int32 operation (rule 3)."""
    if arithmetic == "float":
        return _box_terms(faces, arithmetic)
    x1, y1, w, h = faces.T.astype(np.int64)
    x2, y2 = _saturate(x1 + w), _saturate(y1 + h)
    width = _saturate(_saturate(x2 - x1) + 1)
    height = _saturate(_saturate(y2 - y1) + 1)
    return x1, y1, x2, y2, _saturate(width * height)


def _official_overlaps(
    boxes: _Terms, faces: _Terms, detection: np.ndarray, face: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(detection, face, intersection, union) of the pairs that intersect, as int64 (rule 3)."""
    detection, face, width, height = _intersecting(boxes, faces, detection, face)
    intersection = np.minimum(
        np.minimum(width, INT32_MAX) * np.minimum(height, INT32_MAX), INT32_MAX
    )
    union = round_to_int32(faces[4][face] + boxes[4][detection]) - intersection
    return detection, face, intersection, union


def _float_overlaps(
    boxes: _Terms, faces: _Terms, detection: np.ndarray, face: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(detection, face, intersection, union) of the pairs that intersect, as float64."""
    detection, face, width, height = _intersecting(boxes, faces, detection, face)
    intersection = width * height
    union = boxes[4][detection] + faces[4][face] - intersection
    return detection, face, intersection, union


def _intersecting(
    boxes: _Terms, faces: _Terms, detection: np.ndarray, face: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The pairs whose intersection has both sides > 0, with these sides (+ 1, rule 3)."""
    sides = []
    for low, high in ((0, 2), (1, 3)):
        side = np.minimum(boxes[high][detection], faces[high][face])
        side = side - np.maximum(boxes[low][detection], faces[low][face]) + 1
        keep = np.flatnonzero(side > 0)
        detection, face = detection[keep], face[keep]
        sides = [*(other[keep] for other in sides), side[keep]]
    return detection, face, sides[0], sides[1]
