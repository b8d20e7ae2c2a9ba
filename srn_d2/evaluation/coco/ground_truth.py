"""The faces that the COCO-style evaluator counts, from a data set and from WIDER FACE's subsets."""

from collections.abc import Iterable

import numpy as np
from detectron2.structures import BoxMode

from srn_d2.evaluation.widerface.ap import WiderFaceGroundTruth

from .ap import ImageFaces

ImageId = str | int


def annotated_faces(dataset_dicts: list[dict]) -> dict[ImageId, ImageFaces]:
    """The faces of a data set by image_id; "iscrowd" and "ignore" ones are ignore regions.

    Boxes of zero or negative width or height are left out: nothing can match them.
    """
    faces = {}
    for image in dataset_dicts:
        annotations = image.get("annotations", [])
        boxes = [
            BoxMode.convert(a["bbox"], BoxMode(a["bbox_mode"]), BoxMode.XYXY_ABS)
            for a in annotations
        ]
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        crowd = np.array([bool(a.get("iscrowd") or a.get("ignore")) for a in annotations], bool)
        faces[image["image_id"]] = _without_empty(boxes, crowd, ~crowd)
    return faces


def setting_faces(
    ground_truth: WiderFaceGroundTruth, setting: str, image_ids: Iterable[ImageId]
) -> dict[ImageId, ImageFaces]:
    """The faces of "easy", "medium" or "hard": those that gt_list does not hold are ignored.

    A face marked invalid is an ignore region, as in :func:`annotated_faces`; any other one that
    does not count takes one detection by IoU.

    Raises:
        KeyError: an image has no ground truth.
    """
    faces = {}
    for image_id in image_ids:
        boxes = ground_truth.boxes[image_id].astype(np.float64)  # XYWH
        boxes[:, 2:] += boxes[:, :2]
        counted = ground_truth.counted[setting][image_id]
        invalid = np.zeros(len(boxes), dtype=bool)
        if "invalid" in ground_truth.attributes:
            invalid = ground_truth.attributes["invalid"][image_id] == 1
        faces[image_id] = _without_empty(boxes, invalid & ~counted, counted)
    return faces


def _without_empty(boxes: np.ndarray, crowd: np.ndarray, counted: np.ndarray) -> ImageFaces:
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return ImageFaces(boxes[has_area], crowd[has_area], counted[has_area])
