"""Sort, normalise and assign the detections of a data set: rules 1 to 5 of the protocol.

The rules are written out in :mod:`srn_d2.evaluation.widerface.ap`.

    N detections · M faces of one image · F faces of all images · T IoU thresholds
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .overlap import Arithmetic, assigned_faces

ImageId = Hashable

# Outcome of a detection in a setting (rule 5).
TRUE_POSITIVE, FALSE_POSITIVE, IGNORED = 1, 0, -1


@dataclass(frozen=True)
class DetectionAssignments:
    """N detections of all evaluated images, image by image, and their faces.

    This does not depend on which faces count, so it serves any number of settings or subsets.

    Attributes:
        image_ids: the evaluated images.
        image: (N,) int64, ascending: index into ``image_ids``.
        row: (N,) int64: the row of the detection in its image's predictions.
        scores: (N,) float64 as given; within an image descending (rule 1) unless ``sort=False``.
        normalised_scores: (N,) float64 of rule 2.
        iou_thresholds: T values.
        face_offsets: (images + 1,) int64: image i has the faces
            ``face_offsets[i]:face_offsets[i + 1]`` of all evaluated images' F faces.
        faces: (T, N) int64: the face (0 .. F - 1) that a detection is assigned to, or -1.
        is_first: (T, N) bool: it is the image's first detection assigned to this face.
        in_ignore_region: (T, N) bool: no proposal unless it is a true positive; None: there are
            no such regions, as in the official protocol.
        empty_images_count: detections on images without any face are proposals, unlike in the
            official protocol (rule 5).
    """

    image_ids: tuple[ImageId, ...]
    image: np.ndarray
    row: np.ndarray
    scores: np.ndarray
    normalised_scores: np.ndarray
    iou_thresholds: tuple[float, ...]
    face_offsets: np.ndarray
    faces: np.ndarray
    is_first: np.ndarray
    in_ignore_region: np.ndarray | None = None
    empty_images_count: bool = False

    def flat_faces(self, per_image: Mapping[ImageId, np.ndarray]) -> np.ndarray:
        """(F, ...) array over all evaluated faces from one (M, ...) array for each image.

        Raises:
            KeyError: an evaluated image is missing.
            ValueError: an array's length is not the image's number of faces.
        """
        num_faces = np.diff(self.face_offsets)
        arrays = [np.asarray(per_image[image_id]) for image_id in self.image_ids]
        for image_id, array, expected in zip(self.image_ids, arrays, num_faces, strict=True):
            if len(array) != expected:
                raise ValueError(f"{image_id}: {len(array)} values for {expected} faces")
        filled = [array for array in arrays if len(array)]
        return np.concatenate(filled) if filled else np.zeros(0, dtype=bool)

    def outcomes(
        self, counted: Mapping[ImageId, np.ndarray], iou_threshold: float = 0.5
    ) -> np.ndarray:
        """Outcome of each detection where only ``counted`` faces count (rule 5).

        Args:
            counted: image id -> (M,) bool, for example ``ground_truth.counted["hard"]``.
            iou_threshold: one of ``iou_thresholds``.

        Returns:
            (N,) int8 of TRUE_POSITIVE, FALSE_POSITIVE (proposal without a face, or a second one on
            a face) and IGNORED (assigned to a face that does not count, or image without faces).
        """
        row = self.iou_thresholds.index(iou_threshold)
        face, is_first = self.faces[row], self.is_first[row]
        # One entry more, so that the index -1 of unassigned detections reads False.
        is_counted = np.append(self.flat_faces(counted).astype(bool), False)[face]
        outcomes = np.full(len(face), FALSE_POSITIVE, dtype=np.int8)
        outcomes[is_counted & is_first] = TRUE_POSITIVE
        outcomes[(face >= 0) & ~is_counted] = IGNORED
        if not self.empty_images_count:
            outcomes[np.diff(self.face_offsets)[self.image] == 0] = IGNORED
        if self.in_ignore_region is not None:
            outcomes[(outcomes == FALSE_POSITIVE) & self.in_ignore_region[row]] = IGNORED
        return outcomes


def assign_detections(
    predictions: Mapping[ImageId, np.ndarray],
    boxes: Mapping[ImageId, np.ndarray],
    iou_thresholds: Sequence[float] = (0.5,),
    images: Collection[ImageId] | None = None,
    arithmetic: Arithmetic = "official",
    sort: bool = True,
) -> DetectionAssignments:
    """Rules 1 to 4: sort, normalise and assign all detections, independently of the setting.

    Args:
        predictions: image id -> (n, 5) float64: x, y, w, h in pixels and the score. An image that
            is missing has no detections; images that are not evaluated are skipped.
        boxes: image id -> (M, 4) XYWH, all faces in the order of the ground truth; whole numbers
            within int32 where the arithmetic is official.
        iou_thresholds: in (0, 1], see the module's docstring for others than 0.5.
        images: only these count, for detections, faces and the range of scores; None: all of
            ``boxes``.
        arithmetic: "official", or "float" as the popular Python ports.
        sort: False, with "float" only: keep the order of the predictions.

    Raises:
        ValueError: a score that is not finite (named), a wrong shape, threshold or arithmetic, an
            image of ``images`` without ground truth, ground truth that is not int32.
    """
    _check_options(iou_thresholds, arithmetic, sort)
    image_ids = _evaluated_images(boxes, images)
    detections, image, row = _flat_predictions(predictions, image_ids)
    faces, face_offsets = _flat_boxes(boxes, image_ids, arithmetic)
    if sort:
        order = np.lexsort((-detections[:, 4], image))  # stable (rule 1)
        detections, row = detections[order], row[order]  # ``image`` is ascending already
    assigned = assigned_faces(
        detections[:, :4], image, faces, face_offsets, iou_thresholds, arithmetic
    )
    return DetectionAssignments(
        image_ids=image_ids,
        image=image,
        row=row,
        scores=detections[:, 4],
        normalised_scores=normalised_scores(detections[:, 4], arithmetic),
        iou_thresholds=tuple(float(threshold) for threshold in iou_thresholds),
        face_offsets=face_offsets,
        faces=assigned,
        is_first=np.array([_is_first(face) for face in assigned], dtype=bool),
    )


def normalised_scores(scores: np.ndarray, arithmetic: Arithmetic = "official") -> np.ndarray:
    """(N,) float64 scores scaled to the data set's range (rule 2); NaN where that is 0 / 0."""
    if len(scores) == 0:
        return np.zeros(0)
    if arithmetic == "official":
        limits = np.finfo(np.float32)
        with np.errstate(over="ignore"):  # beyond float32: infinite, as in MATLAB
            scores = scores.astype(np.float32)
        highest, lowest = max(limits.tiny, scores.max()), min(limits.max, scores.min())
    else:
        highest, lowest = max(0.0, scores.max()), min(1.0, scores.min())
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return ((scores - lowest) / (highest - lowest)).astype(np.float64)


def _is_first(faces: np.ndarray) -> np.ndarray:
    """(N,) bool: no earlier detection has the same face (rule 4: first come, first served)."""
    is_first = np.zeros(len(faces), dtype=bool)
    is_first[np.unique(faces, return_index=True)[1]] = True
    return is_first & (faces >= 0)


def is_int32(boxes: np.ndarray) -> bool:
    """True if all values are whole numbers within int32, as the official arithmetic needs."""
    return bool(np.all((boxes == np.trunc(boxes)) & (np.abs(boxes) < 2.0**31)))


def check_iou_thresholds(iou_thresholds: Sequence[float]) -> None:
    """Raise a ValueError where there is no threshold or one is not in (0, 1]."""
    if not iou_thresholds or not all(0 < threshold <= 1 for threshold in iou_thresholds):
        raise ValueError(f"IoU thresholds must lie in (0, 1], not {list(iou_thresholds)}")


# --- input --------------------------------------------------------------------------------------


def _check_options(iou_thresholds: Sequence[float], arithmetic: str, sort: bool) -> None:
    if arithmetic not in ("official", "float"):
        raise ValueError(f'arithmetic is "official" or "float", not {arithmetic!r}')
    if arithmetic == "official" and not sort:
        raise ValueError("the official protocol sorts the boxes (sort=True)")
    check_iou_thresholds(iou_thresholds)


def _evaluated_images(
    boxes: Mapping[ImageId, Any], images: Collection[ImageId] | None
) -> tuple[ImageId, ...]:
    """The ids of ``images`` in the order of the ground truth; repeated ones count once."""
    if images is None:
        return tuple(boxes)
    chosen = set(images)
    unknown = sorted(map(str, chosen - boxes.keys()))
    if unknown:
        raise ValueError(f"{len(unknown)} images without ground truth, for example {unknown[:3]}")
    return tuple(image_id for image_id in boxes if image_id in chosen)


def _flat_predictions(
    predictions: Mapping[ImageId, np.ndarray], image_ids: Sequence[ImageId]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, 5) float64 detections, (N,) image index and (N,) row in the image."""
    arrays = []
    for image_id in image_ids:
        array = np.asarray(predictions.get(image_id, np.zeros((0, 5))), dtype=np.float64)
        if array.size == 0:
            array = array.reshape(0, 5)
        if array.ndim != 2 or array.shape[1] != 5:
            raise ValueError(f"{image_id}: detections of shape {array.shape}, not (n, 5)")
        if not np.isfinite(array[:, 4]).all():
            worst = np.flatnonzero(~np.isfinite(array[:, 4]))
            raise ValueError(f"{image_id}: score of detection {worst[0]} is {array[worst[0], 4]}")
        arrays.append(array)
    lengths = np.array([len(array) for array in arrays], dtype=np.int64)
    image = np.repeat(np.arange(len(arrays)), lengths)
    row = np.arange(len(image)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.concatenate([np.zeros((0, 5)), *arrays]), image, row


def _flat_boxes(
    boxes: Mapping[ImageId, np.ndarray], image_ids: Sequence[ImageId], arithmetic: Arithmetic
) -> tuple[np.ndarray, np.ndarray]:
    """(F, 4) faces, whole numbers where the arithmetic is official, and (images + 1,) offsets."""
    arrays = [np.asarray(boxes[image_id]).reshape(-1, 4) for image_id in image_ids]
    faces = np.concatenate([np.zeros((0, 4), dtype=np.int32), *arrays])
    if arithmetic == "official" and not is_int32(faces):
        raise ValueError('ground truth boxes must be int32; arithmetic="float" takes any')
    return faces, np.cumsum([0, *(len(array) for array in arrays)])
