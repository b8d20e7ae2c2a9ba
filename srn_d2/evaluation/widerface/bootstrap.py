"""AP and false positives on resamples of the images, for bootstrap intervals.

A resample draws as many images as there are, with replacement; an image that is drawn n times
counts n times, with its faces and its detections. The detections are assigned once, and AP of every
resample is the official protocol's: scores are normalised over the resample.

    B resamples · I images · N detections
"""

from collections.abc import Sequence

import numpy as np

from .ap import NUM_THRESHOLDS, THRESHOLDS
from .assignment import IGNORED, TRUE_POSITIVE, DetectionAssignments, normalised_scores


def draw_resamples(num_images: int, num_resamples: int, seed: int = 0) -> np.ndarray:
    """(B, I) int64: how often each resample has each image."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(num_images, size=(num_resamples, num_images))
    drawn += num_images * np.arange(num_resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)


class Resamples:
    """The detections of one detector on resamples of its images.

    Args:
        assignments: of all images; scores are finite and sorted within an image.
        counts: (B, I) how often each resample has each of ``assignments.image_ids``, such as
            :func:`draw_resamples`; a row of ones is the data set itself.
    """

    def __init__(self, assignments: DetectionAssignments, counts: np.ndarray) -> None:
        self._assignments = assignments
        self._counts = counts.astype(np.float64)
        # Whole numbers are exact in float32 up to here.
        detections = np.bincount(assignments.image, minlength=counts.shape[1])
        is_exact = (self._counts @ detections).max(initial=0) < 2**24
        self._weights = counts.astype(np.float32 if is_exact else np.float64)
        # Resamples with equal extremes of the scores have equal normalised scores.
        extremes = _score_extremes(assignments, counts)  # (B, 2)
        ranges, group = np.unique(extremes, axis=0, return_inverse=True)
        group = group.reshape(-1)
        self._groups = [
            (np.flatnonzero(group == i), _first_thresholds(assignments, *score_range))
            for i, score_range in enumerate(ranges)
        ]
        # Most detections are on no face at any IoU: whatever counts, they are false positives or
        # ignored, so their numbers are kept.
        self._is_far = (assignments.faces < 0).all(axis=0)
        self._far_totals: dict[bytes, np.ndarray] = {}

    def average_precision(self, outcomes: np.ndarray, num_faces: np.ndarray) -> np.ndarray:
        """(B,) AP of each resample, 0 to 1; NaN where it has no face.

        Args:
            outcomes: (N,) see :meth:`.DetectionAssignments.outcomes`.
            num_faces: (I,) the faces of each image that count.
        """
        proposals = outcomes != IGNORED
        far, near = proposals & self._is_far, proposals & ~self._is_far
        key = np.packbits(far).tobytes()
        if key not in self._far_totals:
            self._far_totals[key] = self._totals(far)
        matched = self._totals(outcomes == TRUE_POSITIVE)
        with np.errstate(invalid="ignore", divide="ignore"):
            recall = matched / (self._counts @ num_faces)[:, None]
            precision = matched / (self._far_totals[key] + self._totals(near))
            return _average_precisions(recall, precision)

    def false_positives_at_recall(
        self, outcomes: np.ndarray, num_faces: np.ndarray, recalls: Sequence[float]
    ) -> np.ndarray:
        """(B, R) false positives at the highest score that reaches each recall.

        As :func:`.face_measures.false_positives_at_recall`; NaN where a recall is not reached.

        Args:
            outcomes, num_faces: see :meth:`average_precision`.
            recalls: R values.
        """
        image, scores = self._assignments.image, self._assignments.scores
        order = np.argsort(-scores, kind="stable")
        order = order[outcomes[order] != IGNORED]
        is_matched = outcomes[order] == TRUE_POSITIVE
        # Equal scores pass a threshold together: the index of the last one of each run.
        last = np.searchsorted(-scores[order], -scores[order], side="right") - 1

        found = np.cumsum(self._counts[:, image[order[is_matched]]], axis=1)  # (B, matched)
        ends = np.full((len(self._counts), len(recalls)), -1)
        if found.shape[1]:
            with np.errstate(invalid="ignore"):
                recall = found / (self._counts @ num_faces)[:, None]
            for column, wanted in enumerate(recalls):
                reached = recall >= wanted
                first = reached.argmax(axis=1)
                ends[:, column] = np.where(reached.any(axis=1), last[is_matched][first], -1)

        false = np.zeros(ends.shape)
        ranks, owners = np.flatnonzero(~is_matched), image[order[~is_matched]]
        by_image = np.argsort(owners, kind="stable")
        ranks, owners = ranks[by_image], owners[by_image]
        bounds = np.searchsorted(owners, np.arange(self._counts.shape[1] + 1))
        for i in np.flatnonzero(np.diff(bounds)):
            below = np.searchsorted(ranks[bounds[i] : bounds[i + 1]], ends, side="right")
            false += self._counts[:, i, None] * below
        return np.where(ends >= 0, false, np.nan)

    def _totals(self, chosen: np.ndarray) -> np.ndarray:
        """(B, 1000) how many of the chosen detections, (N,) bool, reach each threshold."""
        num_images = self._counts.shape[1]
        chosen = np.flatnonzero(chosen)
        first_cell = self._assignments.image[chosen] * NUM_THRESHOLDS
        totals = np.zeros((len(self._counts), NUM_THRESHOLDS))
        for resamples, thresholds in self._groups:
            threshold = thresholds[chosen]
            reached = threshold < NUM_THRESHOLDS
            cells = first_cell[reached] + threshold[reached]
            histogram = np.bincount(cells, minlength=num_images * NUM_THRESHOLDS)
            histogram = histogram.reshape(num_images, -1).astype(self._weights.dtype)
            totals[resamples] = self._weights[resamples] @ histogram
        return np.cumsum(totals, axis=1, out=totals)


def _score_extremes(assignments: DetectionAssignments, counts: np.ndarray) -> np.ndarray:
    """(B, 2) lowest and highest score of each resample; inf and -inf without detections."""
    num_images = counts.shape[1]
    lowest, highest = np.full(num_images, np.inf), np.full(num_images, -np.inf)
    np.minimum.at(lowest, assignments.image, assignments.scores)
    np.maximum.at(highest, assignments.image, assignments.scores)
    drawn = counts > 0
    return np.column_stack(
        [
            np.where(drawn, lowest, np.inf).min(axis=1, initial=np.inf),
            np.where(drawn, highest, -np.inf).max(axis=1, initial=-np.inf),
        ]
    )


def _first_thresholds(
    assignments: DetectionAssignments, lowest: float, highest: float
) -> np.ndarray:
    """(N,) the first threshold that each detection reaches in resamples of these extremes.

    NUM_THRESHOLDS: none, or its score is outside, so that no such resample has its image. Rules 2
    and 6 of the protocol.
    """
    scores = assignments.scores
    inside = np.flatnonzero((scores >= lowest) & (scores <= highest))
    normalised = normalised_scores(scores[inside])
    passed = np.searchsorted(THRESHOLDS[::-1], normalised, side="right")
    passed[np.isnan(normalised)] = 0
    thresholds = np.full(len(scores), NUM_THRESHOLDS, dtype=np.int16)
    thresholds[inside] = NUM_THRESHOLDS - passed
    return thresholds


def _average_precisions(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """(B,) from (B, 1000) each: rule 7 of the protocol."""
    zeros = np.zeros((len(recall), 1))
    recall = np.hstack([zeros, recall, zeros + 1])
    precision = np.hstack([zeros, precision, zeros])
    envelope = np.fmax.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    steps = np.diff(recall, axis=1)
    # 0 * NaN: where nothing is proposed yet, the recall does not grow.
    return np.where(steps == 0, 0.0, steps * envelope[:, 1:]).sum(axis=1)
