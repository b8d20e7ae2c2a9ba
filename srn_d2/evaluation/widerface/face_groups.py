"""Groups of faces, by height and by WIDER FACE's attributes, and AP over a group.

AP of a group is the official protocol's where only the group's faces count: detections that are
assigned to any other face are ignored. What is assigned to no face counts as false in every group,
so AP of a small group is low for that alone: compare detectors by it, not groups. By height this
is mended as COCO does it: detections of a height outside the group's that are false are ignored.
"""

import math
from collections.abc import Mapping

import numpy as np

from .ap import (
    WiderFaceGroundTruth,
    WiderFaceResult,
    average_precision,
    precision_recall,
    threshold_counts,
)
from .assignment import FALSE_POSITIVE, IGNORED, DetectionAssignments, ImageId

FaceMask = Mapping[ImageId, np.ndarray]  # image id -> (M,) bool

# [low, high) in pixels.
HEIGHT_BINS = ((8.0, 16.0), (16.0, 32.0), (32.0, 96.0), (96.0, math.inf))

# Names of the values 0, 1, ... of each attribute, from WIDER FACE's readme.txt.
ATTRIBUTE_VALUES = {
    "blur": ("clear", "normal", "heavy"),
    "expression": ("typical", "exaggerated"),
    "illumination": ("normal", "extreme"),
    "occlusion": ("none", "partial", "heavy"),
    "pose": ("typical", "atypical"),
}


def valid_faces(ground_truth: WiderFaceGroundTruth) -> FaceMask:
    """All faces with a box of positive size that are not marked invalid (where that is known)."""
    invalid = ground_truth.attributes.get("invalid")
    valid = {}
    for image_id, boxes in ground_truth.boxes.items():
        valid[image_id] = (boxes[:, 2:] > 0).all(axis=1)
        if invalid is not None:
            valid[image_id] &= invalid[image_id] == 0
    return valid


def height_bin_faces(
    boxes: Mapping[ImageId, np.ndarray], faces: FaceMask, low: float, high: float
) -> FaceMask:
    """Those of ``faces`` whose height lies in [low, high) pixels."""
    return {
        image_id: mask & (boxes[image_id][:, 3] >= low) & (boxes[image_id][:, 3] < high)
        for image_id, mask in faces.items()
    }


def attribute_faces(
    attributes: Mapping[str, Mapping[ImageId, np.ndarray]], faces: FaceMask
) -> dict[tuple[str, str], FaceMask]:
    """(attribute, value's name) -> those of ``faces`` with this value.

    Attributes that are not in ``attributes`` are left out.
    """
    return {
        (attribute, name): {
            image_id: mask & (attributes[attribute][image_id] == value)
            for image_id, mask in faces.items()
        }
        for attribute, names in ATTRIBUTE_VALUES.items()
        if attribute in attributes
        for value, name in enumerate(names)
    }


def evaluate_height_bin(
    assignments: DetectionAssignments,
    predictions: Mapping[ImageId, np.ndarray],
    boxes: Mapping[ImageId, np.ndarray],
    faces: FaceMask,
    height_bin: tuple[float, float],
    iou_threshold: float = 0.5,
) -> WiderFaceResult:
    """The official protocol over the faces of one height bin; see the module.

    Args:
        assignments: assignments of ``predictions``.
        predictions: image id -> (n, 5) x, y, w, h, score.
        boxes: image id -> (M, 4) XYWH.
        faces: the faces to choose from, such as :func:`valid_faces`.
        height_bin: [low, high) in pixels.
        iou_threshold: one of the assignments'.
    """
    low, high = height_bin
    counted = height_bin_faces(boxes, faces, low, high)
    outcomes = assignments.outcomes(counted, iou_threshold)
    heights = detection_heights(assignments, predictions)
    outcomes[(outcomes == FALSE_POSITIVE) & ~((heights >= low) & (heights < high))] = IGNORED
    counts = threshold_counts(assignments, outcomes)
    num_faces = int(assignments.flat_faces(counted).sum())
    precision, recall = precision_recall(counts, num_faces)
    return WiderFaceResult(average_precision(recall, precision), counts, num_faces)


def detection_heights(
    assignments: DetectionAssignments, predictions: Mapping[ImageId, np.ndarray]
) -> np.ndarray:
    """(N,) height in pixels of each detection of ``assignments``."""
    heights = np.zeros(len(assignments.image))
    bounds = np.searchsorted(assignments.image, np.arange(len(assignments.image_ids) + 1))
    for i, image_id in enumerate(assignments.image_ids):
        rows = assignments.row[bounds[i] : bounds[i + 1]]
        if len(rows):
            heights[bounds[i] : bounds[i + 1]] = predictions[image_id][rows, 3]
    return heights
