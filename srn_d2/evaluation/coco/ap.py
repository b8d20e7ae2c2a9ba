"""COCO-style average precision of face detections, as a function of arrays.

The matching and the precision-recall curve are those of a COCO implementation: faster-coco-eval
where it is installed (C++, about ten times as fast), otherwise pycocotools; both give the same
figures. Only the ground truth's flags and the number of detections an image are ours.

Shapes: M faces and N detections of one image, T IoU thresholds. Boxes are XYXY, absolute pixels.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

try:
    from faster_coco_eval import COCO
    from faster_coco_eval import COCOeval_faster as COCOeval
except ImportError:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

FACE_CATEGORY_ID = 1  # 0 would do for the implementations, but COCO files count from 1

# COCO knows two kinds of ignored ground truth: "iscrowd", and faces whose "area" lies outside the
# evaluated range. The latter is used for faces outside a subset (see _set_flags), so areas
# only say inside or outside here; box IoU does not read them.
_AREA_INSIDE, _AREA_OUTSIDE = 1.0, -1.0
_AREA_RANGE = [0.0, 1e15]


class ImageDetections(NamedTuple):
    """The detections of one image."""

    boxes: np.ndarray  # (N, 4) XYXY
    scores: np.ndarray  # (N,)


@dataclass(frozen=True)
class ImageFaces:
    """The annotated faces of one image.

    Attributes:
        boxes: (M, 4) XYXY.
        crowd: (M,) bool. Ignore regions: detections that lie in one by at least the IoU threshold
            (intersection over the detection's area), any number, are neither true nor false
            positives.
        counted: (M,) bool. Ground-truth faces of the subset. One detection that matches a face
            outside this set (by IoU), and none in it, is neither a true nor a false positive.
            Crowds are never counted.
    """

    boxes: np.ndarray
    crowd: np.ndarray
    counted: np.ndarray

    @property
    def num_counted(self) -> int:
        """Number of ground-truth faces of the subset."""
        return int(np.count_nonzero(self.counted & ~self.crowd))


def coco_average_precision(
    faces: Sequence[ImageFaces],
    detections: Sequence[ImageDetections],
    iou_thresholds: Sequence[float],
    max_detections: int = 1000,
) -> np.ndarray:
    """Average precision (101 recall points) at each IoU threshold.

    Args:
        faces: the annotated faces, one entry an image.
        detections: the detections of the same images in the same order, in any order within an
            image. Scores must be finite.
        iou_thresholds: T thresholds; a detection matches at IoU >= threshold.
        max_detections: the most confident detections of each image that are evaluated.

    Returns:
        (T,) float64 in [0, 1]; NaN where there is no counted face.
    """
    return coco_average_precisions([faces], detections, iou_thresholds, max_detections)[0]


def coco_average_precisions(
    subsets: Sequence[Sequence[ImageFaces]],
    detections: Sequence[ImageDetections],
    iou_thresholds: Sequence[float],
    max_detections: int = 1000,
) -> list[np.ndarray]:
    """Average precision as of :func:`coco_average_precision` for several subsets of the faces.

    COCO's index of the detections is made once; that of the faces is made anew only where a
    subset has other boxes than the one before.

    Args:
        subsets: the faces of each image with the flags of a subset.
        detections, iou_thresholds, max_detections: as of :func:`coco_average_precision`.

    Returns:
        (T,) for each subset.
    """
    no_detections = sum(len(image.scores) for image in detections) == 0
    indexed_faces: Sequence[ImageFaces] = ()
    precisions = []
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        detection_index = face_index = None
        for faces in subsets:
            if len(faces) != len(detections):
                raise ValueError(
                    f"{len(faces)} images with faces, but {len(detections)} with detections"
                )
            if sum(image.num_counted for image in faces) == 0:
                precisions.append(np.full(len(iou_thresholds), np.nan))
                continue
            if no_detections:  # pycocotools cannot load an empty list
                precisions.append(np.zeros(len(iou_thresholds)))
                continue
            if detection_index is None:
                detection_index = _coco_detections(detections)
            if face_index is None or not _have_same_boxes(faces, indexed_faces):
                face_index, indexed_faces = _coco_faces(faces), faces
            _set_flags(face_index, faces)
            precisions.append(
                _average_precision(face_index, detection_index, iou_thresholds, max_detections)
            )
    return precisions


def _average_precision(
    faces: COCO, detections: COCO, iou_thresholds: Sequence[float], max_detections: int
) -> np.ndarray:
    """(T,) from the indexes of faces and detections."""
    evaluation = COCOeval(faces, detections, "bbox")
    evaluation.params.iouThrs = np.asarray(iou_thresholds, dtype=np.float64)
    evaluation.params.maxDets = [max_detections]
    evaluation.params.areaRng = [_AREA_RANGE]
    evaluation.params.areaRngLbl = ["all"]
    evaluation.evaluate()
    evaluation.accumulate()
    # (T, 101 recall points, 1 category, 1 area range, 1 maximum) -> (T,)
    return np.asarray(evaluation.eval["precision"])[:, :, 0, 0, 0].mean(axis=1)


def _have_same_boxes(faces: Sequence[ImageFaces], others: Sequence[ImageFaces]) -> bool:
    """True if each image has equal boxes in both, in the same order."""
    pairs = zip(faces, others, strict=True)
    return all(np.array_equal(image.boxes, other.boxes) for image, other in pairs)


def _coco_faces(faces: Sequence[ImageFaces]) -> COCO:
    """The index of the faces, without the flags of a subset; see :func:`_set_flags`."""
    annotations: list[dict] = []
    for image_id, image in enumerate(faces, start=1):
        annotations += _annotations(image_id, image.boxes, len(annotations))
    return _index(annotations, num_images=len(faces))


def _set_flags(index: COCO, faces: Sequence[ImageFaces]) -> None:
    """Write the flags of a subset into the annotations of its index."""
    flags = (
        pair
        for image in faces
        for pair in zip(image.crowd.tolist(), image.counted.tolist(), strict=True)
    )
    for annotation, (crowd, counted) in zip(index.dataset["annotations"], flags, strict=True):
        annotation["iscrowd"] = int(crowd)
        annotation["area"] = _AREA_INSIDE if counted else _AREA_OUTSIDE


def _coco_detections(detections: Sequence[ImageDetections]) -> COCO:
    annotations: list[dict] = []
    for image_id, image in enumerate(detections, start=1):
        for annotation, score in zip(
            _annotations(image_id, image.boxes, len(annotations)),
            image.scores.tolist(),
            strict=True,
        ):
            annotation["score"] = score
            annotation["iscrowd"] = 0
            annotation["area"] = _AREA_INSIDE  # so an unmatched one is a false positive
            annotations.append(annotation)
    return _index(annotations, num_images=len(detections))


def _annotations(image_id: int, boxes: np.ndarray, last_id: int) -> list[dict]:
    """COCO annotations of one image without flags; ids count on from ``last_id``."""
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    xywh = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).tolist()
    return [
        {"id": last_id + i, "image_id": image_id, "category_id": FACE_CATEGORY_ID, "bbox": box}
        for i, box in enumerate(xywh, start=1)
    ]


def _index(annotations: list[dict], num_images: int) -> COCO:
    # Not by COCO.loadRes: it adds a polygon to each of up to millions of detections.
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image_id} for image_id in range(1, num_images + 1)],
        "annotations": annotations,
        "categories": [{"id": FACE_CATEGORY_ID, "name": "face"}],
    }
    coco.createIndex()
    return coco
