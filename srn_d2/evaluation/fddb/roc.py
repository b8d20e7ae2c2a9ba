"""FDDB's discrete and continuous ROC (Jain and Learned-Miller, UM-CS-2010-009), from arrays.

At each score threshold, the detections of an image that reach it are matched to its faces anew:
one to one, by the assignment that maximises the sum of overlaps (Hungarian method). A pair's
discrete score is whether its overlap exceeds 0.5, its continuous score is the overlap itself; a
detection that is not in a pair above 0.5 is a false positive, for both curves. The official code
(evaluate.cpp) does the same, image by image, and adds the images up.

Assigning once, with all detections, would be wrong: a weak detection may take a face over from a
strong one, which changes what the strong one is above the weak one's score. For the same reason
the discrete rate may fall where the threshold does, though the continuous one cannot; and the
continuous rate may exceed the discrete one, since pairs up to 0.5 add to it.

M faces and D detections of one image, P points of a curve.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from .regions import region_overlaps

DISCRETE_OVERLAP = 0.5  # a face is found by an overlap of more than this


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


def fddb_curves(images: Iterable[FddbImage]) -> FddbCurves:
    """The ROC curves of a data set."""
    counts, num_faces = [], 0
    for image in images:
        overlaps = region_overlaps(image.faces, image.regions, image.size)
        counts.append(match_at_thresholds(overlaps, image.scores))
        num_faces += len(image.faces)
    return accumulate_curves(counts, num_faces)


def match_at_thresholds(overlaps: np.ndarray, scores: np.ndarray) -> MatchCounts:
    """Match one image's detections at every threshold that changes their set.

    Args:
        overlaps: (M, D).
        scores: (D,), finite, in any order.
    """
    order = np.argsort(-scores, kind="stable")
    scores, overlaps = scores[order], overlaps[:, order]
    # Position of the last detection of each distinct score.
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)[: len(scores)])
    # The others change nothing but the number of false positives.
    relevant = _relevant_detections(overlaps)
    overlaps = overlaps[:, relevant]
    discrete, continuous = np.zeros(len(ends)), np.zeros(len(ends))
    num_before = 0
    for p, num_relevant in enumerate(np.searchsorted(relevant, ends, side="right")):
        if num_relevant > num_before:
            pairs = overlaps[:, :num_relevant][assign(overlaps[:, :num_relevant])]
            discrete[p] = np.count_nonzero(pairs > DISCRETE_OVERLAP)
            continuous[p] = pairs.sum()
        elif p:
            discrete[p], continuous[p] = discrete[p - 1], continuous[p - 1]
        num_before = num_relevant
    return MatchCounts(scores[ends], discrete, continuous, ends + 1 - discrete)


def _relevant_detections(overlaps: np.ndarray) -> np.ndarray:
    """Indices, int64, of the detections that the best assignment may need at some threshold.

    A detection that is not among the M best of any face, of those before it, is not needed: where
    it is paired, one of that face's M best is free and no worse.

    Args:
        overlaps: (M, D), by falling score.
    """
    num_faces = len(overlaps)
    best = np.zeros((num_faces, num_faces))  # each face's M best overlaps so far, rising
    relevant = []
    for d in np.flatnonzero(overlaps.any(axis=0)):
        better = overlaps[:, d] > best[:, 0]
        if better.any():
            relevant.append(d)
            best[better, 0] = overlaps[better, d]
            best[better] = np.sort(best[better], axis=1)
    return np.array(relevant, dtype=np.int64)


def assign(overlaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (faces, detections), int indices, one to one, with the greatest sum of overlaps."""
    return linear_sum_assignment(overlaps, maximize=True)


def matched_pairs(overlaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (faces, detections), int indices, that count as found with all detections."""
    faces, detections = assign(overlaps)
    found = overlaps[faces, detections] > DISCRETE_OVERLAP
    return faces[found], detections[found]


def accumulate_curves(counts: Sequence[MatchCounts], num_faces: int) -> FddbCurves:
    """Sum the images' counts at every threshold that occurs in any of them.

    Args:
        counts: of each image. At a threshold between two of its own, an image has the counts of
            the higher one; above all of them, none.
        num_faces: of all images, those without detections included.
    """
    changes = [
        np.stack([c.thresholds, *(np.diff(values, prepend=0) for values in c[1:])]) for c in counts
    ]
    changes = np.concatenate([np.zeros((4, 0)), *changes], axis=1)
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
