"""The official WIDER FACE protocol as array functions, exact to the MATLAB code.

The rules, which the comments below and the tests cite by number:

1. No NMS and no score threshold. Boxes of an image are sorted by score, descending; equal scores
   keep their order. (The format of prediction files is in :mod:`.prediction_files`.)
2. Scores are normalised over the whole data set in float32, (f32(s) - f32(min)) / (f32(max) -
   f32(min)), then widened. The maximum starts at the smallest positive normal float32, so scores
   that are all negative never reach 1; equal positive scores everywhere are 0 / 0, which is no
   detection and AP 0.
3. The ground truth is int32, so overlaps run in MATLAB's integer arithmetic, which rounds half
   away from zero and saturates: x2 = x + w, y2 = y + h, sides are x2 - x1 + 1. The intersection
   uses the detection's rounded corners, clipped to the face, and is 0 where a side is <= 0. The
   detection's own area stays in float: union = round(face area + detection area) - intersection.
   A match needs intersection / union >= 0.5, which is the quotient rounded to 1, not to 0.
4. A detection is assigned to the face of lowest index among all that it matches, those that do not
   count included; no other face is tried where that one is taken. (The code takes the first
   maximum of the rounded quotients, which is a higher one only where a detection of a few pixels
   makes the quotient 1.5 or more.)
5. A detection assigned to a face that does not count in the setting (gt_list holds those that do)
   leaves the proposals. A second detection on a face that counts stays a proposal. Detections on
   an image without any face are not proposals at all. invalid_label_list is not used.
6. At each threshold 1 - t / 1000, t = 1 .. 1000: proposals and matched faces with score >=
   threshold, summed over images. Recall divides by all faces that count, those of images without
   detections included; precision is matched faces / proposals.
7. AP is the area under the monotone envelope of precision over recall, from (0, 0) to (1, 0), at
   every point, summed left to right. MATLAB's max ignores NaN (0 / 0 where nothing is proposed).

IoU thresholds other than 0.5 do not exist in the official code and integer division cannot express
them: they use the float quotient of the same integer intersection and union, and rule 4 as written.

``arithmetic="float"`` is what the popular Python ports compute instead: float boxes (rule 3), the
best overlap (rule 4), float64 normalisation with a minimum of at most 1 and a maximum of at least
0 (rule 2) and, with ``sort=False``, boxes in the order of the file (rule 1).
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .assignment import IGNORED, TRUE_POSITIVE, DetectionAssignments, ImageId, assign_detections
from .overlap import Arithmetic

SETTINGS = ("easy", "medium", "hard")
NUM_THRESHOLDS = 1000
# Rule 6, in the floating-point form of the official code; descending.
THRESHOLDS = 1 - np.arange(1, NUM_THRESHOLDS + 1) / NUM_THRESHOLDS


@dataclass(frozen=True)
class WiderFaceGroundTruth:
    """Faces of the validation set and which of them count.

    Attributes:
        boxes: image id -> (M, 4) int32 XYWH, in the order of the file. The order of the images is
            that of the official file list.
        counted: setting -> image id -> (M,) bool: the faces that count in the setting.
        attributes: "blur", "expression", "illumination", "invalid", "occlusion", "pose" ->
            image id -> (M,) int64; empty where unknown. Not used by the protocol.
    """

    boxes: Mapping[ImageId, np.ndarray]
    counted: Mapping[str, Mapping[ImageId, np.ndarray]]
    attributes: Mapping[str, Mapping[ImageId, np.ndarray]] = field(default_factory=dict)

    @property
    def image_ids(self) -> tuple[ImageId, ...]:
        """All images, in the order of the official file list."""
        return tuple(self.boxes)


@dataclass(frozen=True)
class WiderFaceResult:
    """One setting at one IoU threshold.

    Attributes:
        ap: average precision, 0 to 1; NaN where no face counts.
        counts: (1000, 2) int64: proposals and matched faces at each of ``THRESHOLDS``.
        num_faces: the faces that count, matched or not.
    """

    ap: float
    counts: np.ndarray
    num_faces: int

    @property
    def precision(self) -> np.ndarray:
        """(1000,) at each of ``THRESHOLDS``; NaN where there is no proposal."""
        return precision_recall(self.counts, self.num_faces)[0]

    @property
    def recall(self) -> np.ndarray:
        """(1000,) at each of ``THRESHOLDS``."""
        return precision_recall(self.counts, self.num_faces)[1]


def evaluate_wider_face(
    predictions: Mapping[ImageId, np.ndarray],
    ground_truth: WiderFaceGroundTruth,
    iou_thresholds: Sequence[float] = (0.5,),
    images: Collection[ImageId] | None = None,
    arithmetic: Arithmetic = "official",
    sort: bool = True,
) -> dict[str, dict[float, WiderFaceResult]]:
    """Setting -> IoU threshold -> result, for every setting of ``ground_truth.counted``.

    Arguments and errors as in :func:`.assignment.assign_detections`.
    """
    assignments = assign_detections(
        predictions, ground_truth.boxes, iou_thresholds, images, arithmetic, sort
    )
    return {
        setting: {
            threshold: evaluate_subset(assignments, counted, threshold)
            for threshold in assignments.iou_thresholds
        }
        for setting, counted in ground_truth.counted.items()
    }


def evaluate_subset(
    assignments: DetectionAssignments,
    counted: Mapping[ImageId, np.ndarray],
    iou_threshold: float = 0.5,
) -> WiderFaceResult:
    """Rules 5 to 7 for any choice of the faces that count (image id -> (M,) bool)."""
    counts = threshold_counts(assignments, assignments.outcomes(counted, iou_threshold))
    num_faces = int(assignments.flat_faces(counted).sum())
    precision, recall = precision_recall(counts, num_faces)
    return WiderFaceResult(average_precision(recall, precision), counts, num_faces)


def threshold_counts(assignments: DetectionAssignments, outcomes: np.ndarray) -> np.ndarray:
    """(1000, 2) int64: proposals and matched faces at each of ``THRESHOLDS`` (rule 6)."""
    scores = _reached_scores(assignments)
    # NaN is the only score that reaches no threshold at all.
    reached = np.flatnonzero(~np.isnan(scores) & (outcomes != IGNORED))
    passed = np.searchsorted(THRESHOLDS[::-1], scores[reached], side="right")
    first_threshold = NUM_THRESHOLDS - passed
    is_matched = outcomes[reached] == TRUE_POSITIVE
    per_threshold = [
        np.bincount(index, minlength=NUM_THRESHOLDS)[:NUM_THRESHOLDS]
        for index in (first_threshold, first_threshold[is_matched])
    ]
    return np.cumsum(per_threshold, axis=1).T


def precision_recall(counts: np.ndarray, num_faces: int) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall, (1000,) each, from counts (rule 6); 0 / 0 is NaN, as in MATLAB."""
    proposals, matched = counts.T.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return matched / proposals, matched / num_faces


def average_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    """Area under the envelope of a curve whose recall does not descend (rule 7)."""
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.concatenate([[0.0], precision, [0.0]])
    envelope = np.fmax.accumulate(precision[::-1])[::-1]  # fmax ignores NaN
    step = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return float(np.cumsum((recall[step] - recall[step - 1]) * envelope[step])[-1])


def _reached_scores(assignments: DetectionAssignments) -> np.ndarray:
    """(N,) the score down to which each detection is in the list.

    The code looks for the last detection of an image that reaches the threshold, and takes all
    before it too: a detection is in the list by the highest of its own score and all later ones of
    its image. That is another score than its own where boxes are not sorted, and where it is NaN
    (inf / inf: scores beyond float32).
    """
    scores, image = assignments.normalised_scores, assignments.image
    in_order = (scores[1:] <= scores[:-1]) | (image[1:] != image[:-1])
    if in_order.all():
        return scores
    scores = scores.copy()
    for begin, end in itertools.pairwise([0, *(np.flatnonzero(np.diff(image)) + 1), len(scores)]):
        scores[begin:end] = np.fmax.accumulate(scores[begin:end][::-1])[::-1]
    return scores
