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
import math
from collections.abc import Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from .assignment import GrowingAssignment, Pairs, optimal_assignment
from .regions import region_overlaps

Value = TypeVar("Value")

DISCRETE_OVERLAP = 0.5  # a face is found by an overlap of more than this


class Modes(NamedTuple, Generic[Value]):
    """A value for each mode."""

    official: Value
    optimal: Value


class FddbImage(NamedTuple):
    """The faces and the detections of one image."""

    faces: np.ndarray  # (M, 5) ellipses, see :mod:`.regions`
    regions: np.ndarray  # (D, 4) rectangles or (D, 5) ellipses
    scores: np.ndarray  # (D,) finite
    size: tuple[int, int]  # height, width of the image


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


class MatchCounts(NamedTuple):
    """Matches and false positives of one image at each of its own scores, descending."""

    thresholds: np.ndarray  # (P,)
    discrete: np.ndarray  # (P,) faces found
    continuous: np.ndarray  # (P,) sum of the overlaps of all pairs
    false_positives: np.ndarray  # (P,)


def fddb_curves(images: Iterable[FddbImage]) -> Modes[FddbCurves]:
    """The ROC curves of a data set."""
    return curves_of_overlaps(
        (region_overlaps(image.faces, image.regions, image.size), image.scores) for image in images
    )


def curves_of_overlaps(
    images: Iterable[tuple[np.ndarray, np.ndarray]],
) -> Modes[FddbCurves]:
    """The ROC curves of a data set from each image's (M, D) overlaps and (D,) scores.

    Raises:
        ValueError: a score is not finite.
    """
    counts, num_faces = [], 0
    for overlaps, scores in images:
        counts.append(match_at_thresholds(overlaps, scores))
        num_faces += len(overlaps)
    return Modes(
        accumulate_curves([modes.official for modes in counts], num_faces),
        accumulate_curves([modes.optimal for modes in counts], num_faces),
    )


def match_at_thresholds(overlaps: np.ndarray, scores: np.ndarray) -> Modes[MatchCounts]:
    """Match one image's detections at every threshold that changes their set.

    Args:
        overlaps: (M, D). The order of the detections is that of their file, which the official
            mode depends on.
        scores: (D,), in any order.

    Raises:
        ValueError: a score is not finite.
    """
    values = scores.tolist()
    if not all(map(math.isfinite, values)):
        raise ValueError("a score is not finite")
    ranked = sorted(range(len(values)), key=values.__getitem__, reverse=True)
    assignment, rows = GrowingAssignment(overlaps), overlaps.tolist()
    official, optimal = (0, 0.0), (0, 0.0)  # faces found, sum of overlaps
    points = []
    for threshold, detections in itertools.groupby(ranked, key=values.__getitem__):
        added = [assignment.add(detection) for detection in detections]
        if any(added):
            pairs, best = assignment.official_and_optimal()
            official = _count(rows, pairs)
            optimal = official if best is pairs else _count(rows, best)
        points.append((threshold, len(added), *official, *optimal))
    thresholds, numbers, *counts = np.array(points, float).reshape(-1, 6).T
    numbers = np.cumsum(numbers)
    return Modes(
        *(
            MatchCounts(thresholds, discrete, continuous, numbers - discrete)
            for discrete, continuous in (counts[:2], counts[2:])
        )
    )


def matched_pairs(overlaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (faces, detections), int indices, that count as found with all detections.

    The assignment is the optimal one.
    """
    pairs = [(f, d) for f, d in optimal_assignment(overlaps) if overlaps[f, d] > DISCRETE_OVERLAP]
    faces, detections = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return faces, detections


def _count(rows: list[list[float]], pairs: Pairs) -> tuple[int, float]:
    """The number of pairs that count as found, and the sum of all pairs' overlaps."""
    values = [rows[face][detection] for face, detection in pairs]
    return sum(value > DISCRETE_OVERLAP for value in values), sum(values)


def accumulate_curves(counts: Sequence[MatchCounts], num_faces: int) -> FddbCurves:
    """Sum the images' counts at every threshold that occurs in any of them.

    Args:
        counts: of each image. At a threshold between two of its own, an image has the counts of
            the higher one; above all of them, none.
        num_faces: of all images, those without detections included.
    """
    columns = [np.concatenate([np.zeros(0), *values]) for values in zip(*counts, strict=True)]
    changes = np.stack(columns or [np.zeros(0)] * 4)
    is_first = np.zeros(changes.shape[1], dtype=bool)
    lengths = [len(c.thresholds) for c in counts if len(c.thresholds)]
    is_first[np.cumsum([0, *lengths])[:-1]] = True
    before = np.roll(changes[1:], 1, axis=1)
    changes[1:] -= np.where(is_first, 0, before)
    changes = changes[:, np.argsort(-changes[0], kind="stable")]
    thresholds = changes[0]
    is_last = np.append(thresholds[1:] != thresholds[:-1], True)[: len(thresholds)]
    discrete, continuous, false_positives = np.cumsum(changes[1:], axis=1)[:, is_last]
    total = num_faces or np.nan
    return FddbCurves(
        thresholds[is_last],
        np.rint(false_positives).astype(np.int64),
        discrete / total,
        continuous / total,
        num_faces,
    )
