"""COCO-style and WIDER FACE-like measures of predictions on one's own annotations.

WIDER FACE-like: the rules of :mod:`srn_d2.evaluation.widerface.ap` with the float arithmetic, and

- detections that lie in an ignore region (intersection over the detection's own area at least the
  IoU threshold) and find no face are left out, as COCO does it;
- detections on images without a face are false positives (rule 5 leaves them out).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from srn_d2.evaluation.coco.ap import ImageDetections, ImageFaces, coco_average_precision
from srn_d2.evaluation.predictions.image_names import ImageId
from srn_d2.evaluation.widerface.ap import WiderFaceGroundTruth, evaluate_subset
from srn_d2.evaluation.widerface.assignment import DetectionAssignments, assign_detections
from srn_d2.evaluation.widerface.face_groups import HEIGHT_BINS
from srn_d2.evaluation.widerface.face_report import (
    OFFICIAL_IOU,
    FaceReport,
    all_iou_thresholds,
    measure_assignments,
)
from srn_d2.evaluation.widerface.prediction_checks import prediction_warnings
from srn_d2.evaluation.widerface.report import Heading

from .annotations import AnnotatedImages

SETTING = "all"
MAX_DETECTIONS = 1000  # an image, for COCO-style AP; as in the evaluation of a training
OWN_HEIGHT_BINS = ((0.0, HEIGHT_BINS[0][0]), *HEIGHT_BINS)  # [low, high) in pixels
HEADING = Heading(
    title="Face detection report",
    protocol=f"AP in % at each IoU; all else at IoU {OFFICIAL_IOU:g}. The setting All is WIDER "
    "FACE-like: scores normalised over the data set, 1,000 thresholds; detections in ignore "
    "regions are left out. COCO-style: every score a threshold, 101 recall points, at most "
    f"{MAX_DETECTIONS} detections an image.",
    heights="Of all faces that are not ignored, by annotated height.",
)


def measure_custom(
    name: str,
    predictions: Mapping[ImageId, np.ndarray],
    annotated: AnnotatedImages,
    iou_thresholds: Sequence[float] = (0.5, 0.6, 0.7, 0.8),
) -> FaceReport:
    """Measure the predictions of one detector.

    Args:
        name: name of the detector.
        predictions: image id -> (n, 5) x, y, w, h, score.
        annotated: the faces.
        iou_thresholds: in (0, 1].

    Raises:
        ValueError: a threshold is out of range.
    """
    ground_truth = to_ground_truth(annotated)
    assignments = assign(predictions, annotated, all_iou_thresholds(iou_thresholds))
    report = measure_assignments(
        name, predictions, ground_truth, assignments, iou_thresholds, OWN_HEIGHT_BINS
    )
    warnings = prediction_warnings(predictions, ground_truth.boxes, ports=False)
    coco_ap = _coco_ap(predictions, annotated.faces, report.iou_thresholds)
    return dataclasses.replace(report, warnings=tuple(warnings), coco_ap=coco_ap)


def average_precision_at_half(
    predictions: Mapping[ImageId, np.ndarray],
    annotated: AnnotatedImages,
    images: Sequence[ImageId],
) -> float:
    """WIDER FACE-like AP at IoU 0.5 on some images, 0 to 1; NaN without faces."""
    chosen = AnnotatedImages({i: annotated.faces[i] for i in images}, annotated.images)
    counted = to_ground_truth(chosen).counted[SETTING]
    return evaluate_subset(assign(predictions, chosen, (OFFICIAL_IOU,)), counted).ap


def to_ground_truth(annotated: AnnotatedImages) -> WiderFaceGroundTruth:
    """The faces that count, XYWH in float64; ignore regions are not among them."""
    boxes, counted = {}, {}
    for image_id, faces in annotated.faces.items():
        xyxy = faces.boxes[~faces.crowd]
        boxes[image_id] = np.hstack([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]])
        counted[image_id] = np.ones(len(xyxy), dtype=bool)
    attributes = {
        name: {i: by_image[i][~faces.crowd] for i, faces in annotated.faces.items()}
        for name, by_image in annotated.attributes.items()
    }
    return WiderFaceGroundTruth(boxes, {SETTING: counted}, attributes)


def assign(
    predictions: Mapping[ImageId, np.ndarray],
    annotated: AnnotatedImages,
    iou_thresholds: Sequence[float],
) -> DetectionAssignments:
    """Assign detections to the faces that count, and mark those in ignore regions."""
    boxes = to_ground_truth(annotated).boxes
    assignments = assign_detections(predictions, boxes, iou_thresholds, arithmetic="float")
    covered = np.zeros(len(assignments.image))  # largest share of a detection in one region
    bounds = np.searchsorted(assignments.image, np.arange(len(assignments.image_ids) + 1))
    for i, image_id in enumerate(assignments.image_ids):
        faces, mine = annotated.faces[image_id], slice(bounds[i], bounds[i + 1])
        if faces.crowd.any() and bounds[i + 1] > bounds[i]:
            detections = predictions[image_id][assignments.row[mine], :4]
            covered[mine] = _covered_share(detections, faces.boxes[faces.crowd])
    in_region = np.array([covered >= threshold for threshold in iou_thresholds])
    return dataclasses.replace(assignments, in_ignore_region=in_region, empty_images_count=True)


def _covered_share(detections: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """(n,) largest intersection with a region over the detection's area.

    Args:
        detections: (n, 4) XYWH.
        regions: (R, 4) XYXY, R > 0.
    """
    x, y, w, h = detections[:, :, None].transpose(1, 0, 2)  # (n, 1) each
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        width = np.minimum(x + w, regions[:, 2]) - np.maximum(x, regions[:, 0])  # (n, R)
        height = np.minimum(y + h, regions[:, 3]) - np.maximum(y, regions[:, 1])
        share = np.maximum(width, 0) * np.maximum(height, 0) / (w * h)
    return np.nan_to_num(share, nan=0.0, posinf=0.0).max(axis=1)


def _coco_ap(
    predictions: Mapping[ImageId, np.ndarray],
    faces: Mapping[ImageId, ImageFaces],
    iou_thresholds: Sequence[float],
) -> dict[float, float]:
    detections = []
    for image_id in faces:
        rows = predictions.get(image_id, np.zeros((0, 5)))
        rows = rows[np.isfinite(rows).all(axis=1)]
        boxes = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]])
        detections.append(ImageDetections(boxes, rows[:, 4]))
    precisions = coco_average_precision(
        list(faces.values()), detections, iou_thresholds, MAX_DETECTIONS
    )
    by_iou = dict(zip(iou_thresholds, precisions.tolist(), strict=True))
    return {threshold: math.nan if ap < 0 else ap for threshold, ap in by_iou.items()}
