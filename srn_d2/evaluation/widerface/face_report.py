"""Measurements on one set of predictions of WIDER FACE."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .ap import SETTINGS, WiderFaceGroundTruth, WiderFaceResult, evaluate_subset
from .assignment import DetectionAssignments, ImageId, assign_detections
from .face_groups import HEIGHT_BINS, FaceMask, attribute_faces, evaluate_height_bin, valid_faces
from .face_measures import (
    PAPER_RECALLS,
    OperatingPoint,
    ScoreCurve,
    false_positives_at_recall,
    operating_points,
    recommended_points,
    score_curve,
)
from .prediction_checks import prediction_warnings

# IoU of everything but AP at several IoUs: the official protocol's.
OFFICIAL_IOU = 0.5
# The IoUs at which the SRN paper gives AP on Hard.
PAPER_IOUS = (0.5, 0.6, 0.7, 0.8)
# WIDER FACE's setting of all faces that the official protocol counts.
ALL_FACES_SETTING = "hard"
TABLE_SCORES = (0.05, *(round(0.1 * i, 1) for i in range(1, 10)), 0.95)


@dataclass(frozen=True)
class FaceGroup:
    """AP over some of the faces.

    Attributes:
        kind: "height" or an attribute, such as "blur".
        name: such as "16-32 px" or "heavy".
        num_faces: number of faces in the group.
        ap: IoU threshold -> 0 to 1; NaN where the group is empty.
        recall: recall of all detections, at IoU 0.5.
    """

    kind: str
    name: str
    num_faces: int
    ap: Mapping[float, float]
    recall: float


@dataclass(frozen=True)
class FaceReport:
    """Measurements of :func:`measure_predictions`.

    Attributes:
        name: name of the detector.
        num_images, num_detections: numbers of evaluated images and detections.
        warnings: likely mistakes in the predictions.
        iou_thresholds: requested IoU thresholds.
        results: setting -> IoU threshold -> result of the official protocol; IoU 0.5 is always
            there.
        curves: setting -> true and false positives at every score, at IoU 0.5.
        groups: by height, then by attribute.
        recommended: aim -> operating point, over the faces of ``main_setting``.
        table: operating points of ``TABLE_SCORES``, likewise.
        coco_ap: IoU threshold -> COCO-style AP, 0 to 1; None: not measured.
        fault: why the figures say nothing about the detector, such as damaged files; "": nothing.
    """

    name: str
    num_images: int
    num_detections: int
    warnings: tuple[str, ...]
    iou_thresholds: tuple[float, ...]
    results: Mapping[str, Mapping[float, WiderFaceResult]]
    curves: Mapping[str, ScoreCurve]
    groups: tuple[FaceGroup, ...]
    recommended: Mapping[str, OperatingPoint]
    table: tuple[OperatingPoint, ...]
    coco_ap: Mapping[float, float] | None = None
    fault: str = ""

    @property
    def main_setting(self) -> str:
        """The setting that all faces belong to: the one that thresholds are chosen by."""
        return tuple(self.results)[-1]

    def false_positives(self, setting: str) -> np.ndarray:
        """(len(PAPER_RECALLS),) false positives of a setting; NaN: recall not reached."""
        return false_positives_at_recall(self.curves[setting], PAPER_RECALLS)


def measure_predictions(
    name: str,
    predictions: Mapping[ImageId, np.ndarray],
    ground_truth: WiderFaceGroundTruth,
    iou_thresholds: Sequence[float] = PAPER_IOUS,
    images: Collection[ImageId] | None = None,
) -> FaceReport:
    """Measure the predictions of one detector.

    Args:
        name: name of the detector.
        predictions: image id -> (n, 5) x, y, w, h, score in the order of the file.
        ground_truth: with attributes, where there are to be rows for them.
        iou_thresholds: in (0, 1].
        images: only these count; None: all.

    Raises:
        ValueError: as :func:`.assignment.assign_detections`.
    """
    assignments = assign_detections(
        predictions, ground_truth.boxes, all_iou_thresholds(iou_thresholds), images
    )
    counted = {setting: ground_truth.counted[setting] for setting in SETTINGS}
    ground_truth = replace(ground_truth, counted=counted)
    return measure_assignments(name, predictions, ground_truth, assignments, iou_thresholds)


def all_iou_thresholds(iou_thresholds: Sequence[float]) -> tuple[float, ...]:
    """The thresholds that :func:`measure_assignments` needs: the official one is among them."""
    return tuple(dict.fromkeys([OFFICIAL_IOU, *map(float, iou_thresholds)]))


def measure_assignments(
    name: str,
    predictions: Mapping[ImageId, np.ndarray],
    ground_truth: WiderFaceGroundTruth,
    assignments: DetectionAssignments,
    iou_thresholds: Sequence[float],
    height_bins: Sequence[tuple[float, float]] = HEIGHT_BINS,
) -> FaceReport:
    """Measure detections that are assigned to faces, over each setting of the ground truth.

    Args:
        name, predictions, ground_truth, iou_thresholds: see :func:`measure_predictions`. The last
            of the ground truth's settings has all faces.
        assignments: at ``all_iou_thresholds(iou_thresholds)``.
        height_bins: [low, high) in pixels.
    """
    all_thresholds = all_iou_thresholds(iou_thresholds)
    evaluated = set(assignments.image_ids)
    settings = ground_truth.counted
    curves = {setting: _score_curve(assignments, faces) for setting, faces in settings.items()}
    main_faces, num_images = list(settings.values())[-1], len(evaluated)
    curve = list(curves.values())[-1]
    return FaceReport(
        name=name,
        num_images=num_images,
        num_detections=len(assignments.scores),
        warnings=tuple(
            prediction_warnings(
                {key: value for key, value in predictions.items() if key in evaluated},
                ground_truth.boxes,
            )
        ),
        iou_thresholds=tuple(map(float, iou_thresholds)),
        results={
            setting: {t: evaluate_subset(assignments, counted, t) for t in all_thresholds}
            for setting, counted in settings.items()
        },
        curves=curves,
        groups=(
            *_height_groups(assignments, predictions, ground_truth, height_bins),
            *_attribute_groups(assignments, ground_truth, main_faces),
        ),
        recommended=recommended_points(curve, num_images),
        table=tuple(operating_points(curve, num_images, TABLE_SCORES)),
    )


def _score_curve(assignments: DetectionAssignments, counted: FaceMask) -> ScoreCurve:
    outcomes = assignments.outcomes(counted, OFFICIAL_IOU)
    return score_curve(assignments.scores, outcomes, int(assignments.flat_faces(counted).sum()))


def _height_groups(
    assignments: DetectionAssignments,
    predictions: Mapping[ImageId, np.ndarray],
    ground_truth: WiderFaceGroundTruth,
    height_bins: Sequence[tuple[float, float]],
) -> list[FaceGroup]:
    faces, boxes = valid_faces(ground_truth), ground_truth.boxes
    groups = []
    for low, high in height_bins:
        results = {
            t: evaluate_height_bin(assignments, predictions, boxes, faces, (low, high), t)
            for t in assignments.iou_thresholds
        }
        name = f"{low:g} px and over" if math.isinf(high) else f"{low:g}-{high:g} px"
        groups.append(_group("height", name, results))
    return groups


def _attribute_groups(
    assignments: DetectionAssignments, ground_truth: WiderFaceGroundTruth, faces: FaceMask
) -> list[FaceGroup]:
    return [
        _group(
            attribute,
            value,
            {t: evaluate_subset(assignments, group, t) for t in assignments.iou_thresholds},
        )
        for (attribute, value), group in attribute_faces(ground_truth.attributes, faces).items()
    ]


def _group(kind: str, name: str, results: Mapping[float, WiderFaceResult]) -> FaceGroup:
    official = results[OFFICIAL_IOU]
    return FaceGroup(
        kind=kind,
        name=name,
        num_faces=official.num_faces,
        ap={threshold: result.ap for threshold, result in results.items()},
        recall=float(official.recall[-1]),
    )
