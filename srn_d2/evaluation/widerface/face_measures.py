"""Measures of a face detector beside AP, as functions of arrays.

They start from the outcome of each detection, (N,) of TRUE_POSITIVE, FALSE_POSITIVE and IGNORED as
:meth:`.assignment.DetectionAssignments.outcomes` or any other matching gives, and from
scores as the detector gave them: every score that occurs is a threshold, unlike in the official
WIDER FACE protocol, whose AP knows a thousand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .assignment import IGNORED, TRUE_POSITIVE

# The recall levels at which the SRN paper counts false positives.
PAPER_RECALLS = (0.1, 0.3, 0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class ScoreCurve:
    """True and false positives at each threshold: detections with score >= ``scores[i]``.

    Attributes:
        scores: (K,) the distinct scores of the detections that count, descending.
        true_positives: (K,) int64, faces found.
        false_positives: (K,) int64.
        num_faces: the faces to be found.
    """

    scores: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray
    num_faces: int

    @property
    def recall(self) -> np.ndarray:
        """(K,) ascending; NaN where there is no face to find."""
        with np.errstate(invalid="ignore"):
            return self.true_positives / np.float64(self.num_faces)

    @property
    def precision(self) -> np.ndarray:
        """(K,) in [0, 1]."""
        return self.true_positives / (self.true_positives + self.false_positives)


@dataclass(frozen=True)
class OperatingPoint:
    """Precision, recall and false positives of the detections with score >= ``score``.

    NaN where undefined: the score of a target that is not reached, precision without detections,
    recall without faces.
    """

    score: float
    precision: float
    recall: float
    false_positives_per_image: float


def score_curve(scores: np.ndarray, outcomes: np.ndarray, num_faces: int) -> ScoreCurve:
    """Count true and false positives at every score that occurs.

    Args:
        scores: (N,) finite, in any order.
        outcomes: (N,) of TRUE_POSITIVE, FALSE_POSITIVE and IGNORED.
        num_faces: the faces to be found.

    Raises:
        ValueError: more faces were found than there are, or a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(scores))} scores are NaN or infinite")
    counts = np.asarray(outcomes) != IGNORED
    order = np.argsort(-scores[counts], kind="stable")
    scores, is_true = scores[counts][order], outcomes[counts][order] == TRUE_POSITIVE
    if np.count_nonzero(is_true) > num_faces:
        raise ValueError(f"{np.count_nonzero(is_true)} true positives, but {num_faces} faces")
    # Equal scores pass a threshold together: only the last one of each run is a point.
    last_of_run = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)[: len(scores)])
    true_positives = np.cumsum(is_true)[last_of_run]
    return ScoreCurve(
        scores[last_of_run], true_positives, last_of_run + 1 - true_positives, num_faces
    )


def false_positives_at_recall(
    curve: ScoreCurve, recalls: Sequence[float] = PAPER_RECALLS
) -> np.ndarray:
    """(R,) float64: false positives at the highest score that reaches each recall.

    NaN where the recall is never reached.
    """
    result = np.full(len(recalls), np.nan)
    for i, recall in enumerate(recalls):
        reached = np.flatnonzero(curve.recall >= recall)
        if len(reached):
            result[i] = curve.false_positives[reached[0]]
    return result


def operating_points(
    curve: ScoreCurve, num_images: int, thresholds: Sequence[float]
) -> list[OperatingPoint]:
    """The operating point of each threshold, in the same order."""
    points = []
    for threshold in thresholds:
        num_kept = int(np.searchsorted(-curve.scores, -threshold, side="right"))
        points.append(_operating_point(curve, num_images, num_kept - 1, threshold))
    return points


def recommended_points(curve: ScoreCurve, num_images: int) -> dict[str, OperatingPoint]:
    """Operating points for common targets, by the target's name.

    Each is the threshold of highest recall that reaches the target. Scores are NaN where none
    does.
    """
    per_image = curve.false_positives / max(num_images, 1)
    f1 = (
        2
        * curve.true_positives
        / (curve.true_positives + curve.false_positives + max(curve.num_faces, 1))
    )
    aims = {"best F1": f1 == f1.max(initial=0)}
    for precision in (0.9, 0.95, 0.99):
        aims[f"precision of at least {100 * precision:g} %"] = curve.precision >= precision
    for number in (1, 0.1, 0.01):
        aims[f"at most {number:g} false positives an image"] = per_image <= number
    points = {}
    for aim, is_served in aims.items():
        served = np.flatnonzero(is_served)
        # Of equal recalls the first: the highest score, the fewest false positives.
        best = served[np.argmax(curve.true_positives[served])] if len(served) else -1
        score = curve.scores[best] if len(served) else np.nan
        points[aim] = _operating_point(curve, num_images, int(best), float(score))
    return points


def _operating_point(
    curve: ScoreCurve, num_images: int, index: int, score: float
) -> OperatingPoint:
    """The point at ``curve.scores[index]``; index -1: nothing is kept."""
    if index < 0:
        recall = 0.0 if curve.num_faces else np.nan
        return OperatingPoint(float(score), np.nan, recall, 0.0)
    return OperatingPoint(
        float(score),
        float(curve.precision[index]),
        float(curve.recall[index]),
        float(curve.false_positives[index] / max(num_images, 1)),
    )
