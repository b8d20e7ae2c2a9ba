"""What the tables say of one run on one list of images: AP, false positives, bootstrap values.

B resamples of the images · value 0 of each array is that of the images themselves
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from image_lists import ImageList
from srn_d2.atomic_file import atomic_path
from srn_d2.evaluation.predictions.folders import read_predictions
from srn_d2.evaluation.widerface.ap import WiderFaceGroundTruth
from srn_d2.evaluation.widerface.assignment import (
    FALSE_POSITIVE,
    IGNORED,
    DetectionAssignments,
    assign_detections,
    is_int32,
)
from srn_d2.evaluation.widerface.bootstrap import Resamples, draw_resamples
from srn_d2.evaluation.widerface.face_measures import PAPER_RECALLS
from srn_d2.evaluation.widerface.face_report import PAPER_IOUS

from .runs import Run

IOUS = PAPER_IOUS
RECALLS = PAPER_RECALLS
# Between the largest anchor of P4 and the smallest of P5 (45 and 64 px), square root of the area.
FINE_SIZE = 54.0
FINE, COARSE = "fine", "coarse"
_FORMAT = 1  # of the cached files; another number forgets the old ones


@dataclass(frozen=True)
class Measures:
    """AP and false positives of one run on one list of images.

    Groups of faces: the settings of the ground truth; and, of the last setting, "fine" and
    "coarse": faces up to ``FINE_SIZE`` and above, of detections that match no face only those of
    this size.

    Attributes:
        ap: group -> (1 + B, len(IOUS)) in 0 .. 1.
        false_positives: group -> (1 + B, len(RECALLS)) at IoU 0.5; NaN: recall not reached.
    """

    ap: Mapping[str, np.ndarray]
    false_positives: Mapping[str, np.ndarray]


def measure_run(
    run: Run, images: ImageList, truth: WiderFaceGroundTruth, num_resamples: int
) -> Measures:
    """The measures of a run that has been evaluated; kept in its folder for the next time.

    Args:
        run: all images of the list have a prediction file.
        images: the list.
        truth: ground truth with all of its images.
        num_resamples: B.
    """
    path = run.folder / f"measures-{images.name}-{_digest(run, images, num_resamples)}.npz"
    if path.is_file():
        return _read(path)
    found = read_predictions(run.predictions, images.image_ids)
    counts = draw_resamples(len(images.image_ids), num_resamples)
    measures = measure_predictions(found.predictions, images, truth, counts)
    for old in run.folder.glob(f"measures-{images.name}-*.npz"):
        old.unlink()
    with atomic_path(path) as draft:
        np.savez_compressed(
            draft,
            **{f"ap {group}": values for group, values in measures.ap.items()},
            **{f"fp {group}": values for group, values in measures.false_positives.items()},
        )
    return measures


def measure_predictions(
    predictions: Mapping[str, np.ndarray],
    images: ImageList,
    truth: WiderFaceGroundTruth,
    counts: np.ndarray,
) -> Measures:
    """The measures of predictions (image id -> (n, 5) x, y, w, h, score).

    Args:
        predictions: of the list's images; an image that is missing has none.
        images: the list.
        truth: ground truth with all of its images.
        counts: (B, number of images) resamples, see :mod:`srn_d2.evaluation.widerface.bootstrap`.
    """
    # Annotations of other data sets may have boxes that are no whole numbers.
    is_official = all(is_int32(truth.boxes[image_id]) for image_id in images.image_ids)
    arithmetic = "official" if is_official else "float"
    assignments = assign_detections(predictions, truth.boxes, IOUS, images.image_ids, arithmetic)
    with_whole = np.vstack([np.ones((1, counts.shape[1]), dtype=counts.dtype), counts])
    resamples = Resamples(assignments, with_whole)
    sizes = _detection_sizes(assignments, predictions)
    ap, false_positives = {}, {}
    for group, counted in _groups(truth).items():
        num_faces = np.array([counted[image_id].sum() for image_id in assignments.image_ids])
        outcomes = [assignments.outcomes(counted, iou) for iou in IOUS]
        if group in (FINE, COARSE):
            is_other = (sizes > FINE_SIZE) == (group == FINE)
            for of_iou in outcomes:
                of_iou[(of_iou == FALSE_POSITIVE) & is_other] = IGNORED
        ap[group] = np.column_stack(
            [resamples.average_precision(of_iou, num_faces) for of_iou in outcomes]
        )
        false_positives[group] = resamples.false_positives_at_recall(
            outcomes[0], num_faces, RECALLS
        )
    return Measures(ap, false_positives)


def _groups(truth: WiderFaceGroundTruth) -> dict[str, Mapping[str, np.ndarray]]:
    """Group of faces -> image id -> (M,) bool."""
    last = list(truth.counted.values())[-1]
    fine, coarse = {}, {}
    for image_id, mask in last.items():
        is_fine = _sizes(truth.boxes[image_id][:, 2:]) <= FINE_SIZE
        fine[image_id], coarse[image_id] = mask & is_fine, mask & ~is_fine
    return {**truth.counted, FINE: fine, COARSE: coarse}


def _detection_sizes(
    assignments: DetectionAssignments, predictions: Mapping[str, np.ndarray]
) -> np.ndarray:
    """(N,) square root of the area of each detection of ``assignments``."""
    sizes = np.zeros(len(assignments.image))
    bounds = np.searchsorted(assignments.image, np.arange(len(assignments.image_ids) + 1))
    for i, image_id in enumerate(assignments.image_ids):
        own = slice(bounds[i], bounds[i + 1])
        rows = assignments.row[own]
        if len(rows):
            sizes[own] = _sizes(predictions[image_id][rows, 2:4])
    return sizes


def _sizes(sides: np.ndarray) -> np.ndarray:
    """(n,) square root of the area, from (n, 2) width and height; 0 where one is negative."""
    return np.sqrt(np.maximum(sides, 0).prod(axis=1, dtype=np.float64))


def _digest(run: Run, images: ImageList, num_resamples: int) -> str:
    """Digits of all that the measures depend on but the ground truth."""
    settings = run.predictions.with_name(f"{run.predictions.name}.json").read_text(encoding="utf-8")
    parts = [_FORMAT, settings, images.image_ids, num_resamples, IOUS, RECALLS, FINE_SIZE]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]


def _read(path: Path) -> Measures:
    with np.load(path) as arrays:
        values: dict[str, dict[str, np.ndarray]] = {"ap": {}, "fp": {}}
        for name in arrays.files:
            kind, _, group = name.partition(" ")
            values[kind][group] = arrays[name]
    return Measures(values["ap"], values["fp"])


def interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The middle 95 % of bootstrap values; NaN where more than 1 % of them are."""
    values = np.asarray(values, dtype=np.float64)
    known = values[~np.isnan(values)]
    if len(known) < 0.99 * len(values) or not len(known):
        return np.nan, np.nan
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
