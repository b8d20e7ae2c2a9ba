"""FDDB's discrete and continuous ROC (Jain and Learned-Miller, UM-CS-2010-009), from arrays.

At each score threshold, the detections of an image that reach it are matched to its faces anew,
one to one. A pair's discrete score is whether its overlap exceeds 0.5, its continuous score is the
overlap itself; a detection that is not in a pair above 0.5 is a false positive, for both curves.
The images are added up.

Two modes differ in the matching. Optimal is the assignment with the greatest sum of overlaps, which
the report of the benchmark describes. Official is what the official program does: mostly the same,
but some assignments of unequal numbers of faces and detections are not the best ones (see
:mod:`.assignment`), and up to a few faces of a data set are lost. Published figures are of it.

Assigning once, with all detections, would be wrong: a weak detection may take a face over from a
strong one, which changes what the strong one is above the weak one's score. For the same reason
the discrete rate may fall where the threshold does, though the continuous one of the optimal mode
cannot; and the continuous rate may exceed the discrete one, since pairs up to 0.5 add to it.

M faces and D detections of one image, P points of a curve.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from .assignment import Column, GrowingAssignment, optimal_assignment
from .overlaps import FddbImage, overlap_columns

Value = TypeVar("Value")

DISCRETE_OVERLAP = 0.5  # a face is found by an overlap of more than this


class Modes(NamedTuple, Generic[Value]):
    """A value for each mode."""

    official: Value
    optimal: Value


class FddbCurves(NamedTuple):
    """Both ROC curves; a point for each score threshold, falling."""

    thresholds: np.ndarray  # (P,)
    false_positives: np.ndarray  # (P,) int64
    discrete: np.ndarray  # (P,) true positive rate, NaN if there is no face
    continuous: np.ndarray  # (P,) likewise
    num_faces: int

    def rates_at(self, max_false_positives: int) -> tuple[float, float]:
        """The highest discrete and the highest continuous rate of a threshold with at most so
        many false positives, in [0, 1]; NaN if there is no face."""
        if self.num_faces == 0:
            return float("nan"), float("nan")
        reached = self.false_positives <= max_false_positives
        return (
            float(self.discrete[reached].max(initial=0.0)),
            float(self.continuous[reached].max(initial=0.0)),
        )


class Change(NamedTuple):
    """What the detections of one image that have a score change, when they are added."""

    score: float
    official: tuple[int, float]  # faces found, sum of the overlaps of all pairs
    optimal: tuple[int, float]


def fddb_curves(images: Iterable[FddbImage]) -> Modes[FddbCurves]:
    """The ROC curves of a data set.

    Raises:
        ValueError: a score is not finite.
    """
    num_faces = 0
    scores: list[np.ndarray] = [np.zeros(0)]
    changes: list[Change] = []
    images, again = itertools.tee(images)
    for image, columns in zip(again, overlap_columns(images), strict=True):
        num_faces += len(image.faces)
        scores.append(image.scores)
        changes += match_at_thresholds(columns, image.scores, len(image.faces))
    return accumulate_curves(np.concatenate(scores), changes, num_faces)


def match_at_thresholds(
    columns: Mapping[int, Column], scores: np.ndarray, num_faces: int
) -> list[Change]:
    """Match one image's detections at every threshold; the changes, by falling score.

    Args:
        columns: the overlaps of the detections that overlap a face. A detection's number is its
            place in the file, which the official mode depends on.
        scores: (D,), in any order.
        num_faces: M.
    """
    if not columns:
        return []
    values = scores.tolist()
    ranked = sorted(columns, key=values.__getitem__, reverse=True)
    assignment = GrowingAssignment(columns, num_faces)
    official, optimal = (0, 0.0), (0, 0.0)
    changes = []
    has_changed = False
    for place, detection in enumerate(ranked, start=1):
        has_changed |= assignment.add(detection)
        score = values[detection]
        is_last = place == len(ranked) or values[ranked[place]] != score
        if not (has_changed and is_last):
            continue
        has_changed, before = False, (official, optimal)
        overlaps, best = assignment.overlaps()
        official = _count(overlaps)
        optimal = official if best is overlaps else _count(best)
        if before != (official, optimal):
            changes.append(Change(score, *map(_difference, (official, optimal), before)))
    return changes


def matched_pairs(overlaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (faces, detections), int indices, that count as found with all detections.

    The assignment is the optimal one.
    """
    pairs = [(f, d) for f, d in optimal_assignment(overlaps) if overlaps[f, d] > DISCRETE_OVERLAP]
    faces, detections = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return faces, detections


def _count(overlaps: Sequence[float]) -> tuple[int, float]:
    """The number of pairs that count as found, and the sum of all pairs' overlaps."""
    return sum(value > DISCRETE_OVERLAP for value in overlaps), sum(overlaps)


def _difference(after: tuple[int, float], before: tuple[int, float]) -> tuple[int, float]:
    return after[0] - before[0], after[1] - before[1]


def accumulate_curves(
    scores: np.ndarray, changes: Sequence[Change], num_faces: int
) -> Modes[FddbCurves]:
    """Both ROC curves of a data set from the changes in its images.

    Args:
        scores: (D,) of all detections.
        changes: of all images, one image after the other.
        num_faces: of all images, those without detections included.

    Raises:
        ValueError: a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    thresholds, counts = np.unique(-scores, return_counts=True)
    num_detections = np.cumsum(counts)
    table = np.array([(-c.score, *c.official, *c.optimal) for c in changes], float).reshape(-1, 5)
    # Images in their order among equal scores, so that rounding is always the same.
    table = table[np.argsort(table[:, 0], kind="stable")]
    reached = np.searchsorted(table[:, 0], thresholds, side="right")
    sums = np.cumsum(np.vstack([np.zeros(4), table[:, 1:]]), axis=0)[reached].T
    total = num_faces or np.nan
    return Modes(
        *(
            FddbCurves(
                -thresholds,
                num_detections - np.rint(discrete).astype(np.int64),
                discrete / total,
                continuous / total,
                num_faces,
            )
            for discrete, continuous in (sums[:2], sums[2:])
        )
    )
