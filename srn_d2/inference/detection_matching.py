"""Order-independent comparison of two sets of detections of one image.

Two runs of one network on two processors, or by two libraries, differ in the last bits of each
score. Detections of nearly equal scores then swap ranks, and at a cut (a score threshold, top K)
one or the other is dropped. Both results are right. So detections are matched one to one: partners
have boxes and scores within tolerances.

Shapes: n, m detections of the two sets
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

ScoredBoxes = tuple[ArrayLike, ArrayLike]
"""Boxes (n, 4), XYXY in pixels, and scores (n,)."""

MAX_LISTED = 3
"""Maximum number of unmatched detections of each set that a description lists."""


@dataclass(frozen=True)
class Comparison:
    """Result of matching two sets of detections.

    Attributes:
        num_expected, num_found: sizes n and m of the sets.
        missing: indices of expected detections without a partner, ascending.
        surplus: indices of found detections without a partner, ascending.
        num_cut: further detections without a partner, of both sets, that a cut may explain.
        box_difference: largest difference of a coordinate between partners, in pixels; 0 without
            partners.
        score_difference: largest difference of a score between partners.
        description: the above as a sentence, with examples of detections without a partner.
    """

    num_expected: int
    num_found: int
    missing: np.ndarray
    surplus: np.ndarray
    num_cut: int
    box_difference: float
    score_difference: float
    description: str

    @property
    def is_same(self) -> bool:
        """True if every detection has a partner or may have been cut."""
        return len(self.missing) == len(self.surplus) == 0


def compare_detections(
    expected: ScoredBoxes,
    found: ScoredBoxes,
    *,
    box_tolerance: float,
    score_tolerance: float,
    cut_scores: Sequence[float | tuple[float, float]] = (),
    max_detections: int | None = None,
) -> Comparison:
    """Match two sets of detections one to one: most pairs first, then smallest distance.

    A detection that only one set has is a difference, unless a cut explains it: its score is
    within the tolerance of one of ``cut_scores``, or the other set is full (``max_detections``)
    and its score is not above that set's lowest one by more than the tolerance. Nothing else is
    excused: if NMS decided otherwise on an IoU at its threshold, that is a difference.

    Args:
        box_tolerance: the most by which a coordinate of partners differs, in pixels; 0: not at all.
        score_tolerance: the most by which the scores of partners differ.
        cut_scores: scores at which both sets were cut: the threshold, or the score of the K-th
            best candidate; where it depends on the detection, its range (lowest, highest).
        max_detections: the most detections a set can have; one with more is not excused.

    Raises:
        ValueError: for arrays of other shapes.
    """
    boxes, scores = _validate(expected)
    other_boxes, other_scores = _validate(found)
    box_distance = _box_distances(boxes, other_boxes)
    score_distance = np.abs(scores[:, None] - other_scores)
    rows, columns = _match(box_distance, score_distance, box_tolerance, score_tolerance)

    cuts = (cut_scores, score_tolerance, max_detections)
    missing, num_cut_expected = _unmatched(scores, other_scores, rows, *cuts)
    surplus, num_cut_found = _unmatched(other_scores, scores, columns, *cuts)
    box_difference = float(box_distance[rows, columns].max(initial=0.0))
    score_difference = float(score_distance[rows, columns].max(initial=0.0))
    num_cut = num_cut_expected + num_cut_found
    parts = [
        f"{len(missing)} of {len(scores)} expected and {len(surplus)} of {len(other_scores)} found "
        f"detections have no partner within {box_tolerance:g} pixels and {score_tolerance:g} of "
        "score",
        *_describe_unmatched("expected", missing, boxes, scores, box_distance, score_distance),
        *_describe_unmatched(
            "found", surplus, other_boxes, other_scores, box_distance.T, score_distance.T
        ),
        f"largest differences of partners: {box_difference:.2g} pixels, {score_difference:.2g} of "
        "score",
    ]
    if num_cut:
        parts.append(f"{num_cut} more without a partner may have been cut")
    return Comparison(
        num_expected=len(scores),
        num_found=len(other_scores),
        missing=missing,
        surplus=surplus,
        num_cut=num_cut,
        box_difference=box_difference,
        score_difference=score_difference,
        description="; ".join(parts),
    )


def _validate(detections: ScoredBoxes) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores in double precision.

    Raises:
        ValueError: as :func:`compare_detections`.
    """
    boxes, scores = (np.asarray(values, dtype=np.float64) for values in detections)
    if scores.ndim != 1 or boxes.shape != (len(scores), 4):
        raise ValueError(
            f"boxes of shape {boxes.shape} and scores of shape {scores.shape}: must be (n, 4), (n,)"
        )
    return boxes, scores


def _box_distances(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Largest coordinate difference of each pair: (n, m)."""
    distances = np.zeros((len(boxes), len(others)))
    for axis in range(4):
        difference = np.abs(boxes[:, axis, None] - others[None, :, axis])
        np.maximum(distances, difference, out=distances)
    return distances


def _match(
    box_distance: np.ndarray,
    score_distance: np.ndarray,
    box_tolerance: float,
    score_tolerance: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of matched pairs in the first and in the second set.

    Nearly all detections have a unique candidate, which has no other. The assignment problem, of
    cubic time, is solved only for the rest, such as coinciding boxes.
    """
    possible = (box_distance <= box_tolerance) & (score_distance <= score_tolerance)  # no NaN
    only = possible & (possible.sum(axis=1, keepdims=True) == 1) & (possible.sum(axis=0) == 1)
    lone_rows, lone_columns = np.nonzero(only)
    rest = possible & ~only
    rows, columns = np.flatnonzero(rest.any(axis=1)), np.flatnonzero(rest.any(axis=0))
    block = np.ix_(rows, columns)
    tiny = np.finfo(np.float64).tiny
    cost = np.full((len(rows), len(columns)), float(len(rows) + 1))  # exceeds any sum of pairs
    allowed = rest[block]
    cost[allowed] = np.maximum(
        box_distance[block][allowed] / max(box_tolerance, tiny),
        score_distance[block][allowed] / max(score_tolerance, tiny),
    )
    chosen_rows, chosen_columns = linear_sum_assignment(cost)
    is_pair = allowed[chosen_rows, chosen_columns]
    return (
        np.concatenate([lone_rows, rows[chosen_rows[is_pair]]]),
        np.concatenate([lone_columns, columns[chosen_columns[is_pair]]]),
    )


def _unmatched(
    scores: np.ndarray,
    other_scores: np.ndarray,
    matched: np.ndarray,
    cut_scores: Sequence[float | tuple[float, float]],
    score_tolerance: float,
    max_detections: int | None,
) -> tuple[np.ndarray, int]:
    """Indices of a set's unmatched detections; number of further ones that a cut explains."""
    alone = np.setdiff1d(np.arange(len(scores)), matched)
    may_be_cut = np.zeros(len(alone), dtype=bool)
    for cut in cut_scores:
        lowest, highest = cut if isinstance(cut, tuple) else (cut, cut)
        from_lowest = scores[alone] >= lowest - score_tolerance
        may_be_cut |= from_lowest & (scores[alone] <= highest + score_tolerance)
    if max_detections is not None and 0 < len(other_scores) == max_detections >= len(scores):
        may_be_cut |= scores[alone] <= other_scores.min() + score_tolerance
    return alone[~may_be_cut], int(may_be_cut.sum())


def _describe_unmatched(
    name: str,
    indices: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray,
    box_distance: np.ndarray,
    score_distance: np.ndarray,
) -> list[str]:
    """Description of some unmatched detections, each with the nearest box of the other set."""
    lines = []
    for index in indices[:MAX_LISTED]:
        box = ", ".join(f"{value:.2f}" for value in boxes[index])
        line = f"{name} [{box}] of score {scores[index]:.6g}"
        distances = np.nan_to_num(box_distance[index], nan=np.inf)
        if len(distances):
            nearest = int(distances.argmin())
            line += (
                f", whose nearest is {distances[nearest]:.3g} pixels and "
                f"{score_distance[index, nearest]:.3g} of score away"
            )
        lines.append(line)
    if len(indices) > MAX_LISTED:
        lines.append(f"{len(indices) - MAX_LISTED} more {name}")
    return lines
