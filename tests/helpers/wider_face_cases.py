"""Small cases of the official WIDER FACE protocol: the result and the assignment of a few boxes."""

import numpy as np

from helpers.wider_face_mat import make_ground_truth
from srn_d2.evaluation.widerface.ap import WiderFaceResult, evaluate_wider_face
from srn_d2.evaluation.widerface.assignment import assign_detections

FACE = [10, 10, 9, 9]
OTHER_FACE = [40, 10, 9, 9]


def evaluate(
    predictions: dict, boxes: dict, counted: dict | None = None, **options
) -> WiderFaceResult:
    """The result on one setting; ``counted``: image -> 1-based indices, default all."""
    truth = make_ground_truth(boxes, {"easy": counted or {}})
    arrays = {i: np.array(rows, dtype=np.float64) for i, rows in predictions.items()}
    (threshold,) = options.get("iou_thresholds", (0.5,))
    return evaluate_wider_face(arrays, truth, **options)["easy"][threshold]


def assigned_face(detection: list[float], *faces: list[int], iou_threshold: float = 0.5) -> int:
    """The index of the face that a detection is assigned to in an image, or -1."""
    predictions = {"a": np.array([[*detection, 0.5]])}
    assignments = assign_detections(predictions, {"a": np.array(faces)}, (iou_threshold,))
    return int(assignments.faces[0, 0])


def first_threshold(result: WiderFaceResult, num_proposals: int) -> int:
    """t of the first threshold 1 - t / 1000 with at least this many proposals; 1001: none."""
    return int(np.searchsorted(result.counts[:, 0], num_proposals)) + 1
