"""COCO-style AP of a face detector as a detectron2 evaluator."""

import json
import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from detectron2.utils.logger import create_small_table

from srn_d2.atomic_file import atomic_path
from srn_d2.evaluation.dataset_evaluator import DatasetFaceEvaluator, Results
from srn_d2.evaluation.evaluation_dataset import EvaluationDataset
from srn_d2.evaluation.widerface.ap import SETTINGS
from srn_d2.evaluation.widerface.assignment import check_iou_thresholds

from .ap import ImageDetections, ImageFaces, coco_average_precisions
from .ground_truth import ImageId, annotated_faces, setting_faces

RESULTS_FILE_NAME = "coco_instances_results.json"

logger = logging.getLogger(__name__)


class CocoFaceEvaluator(DatasetFaceEvaluator):
    """AP at several IoU thresholds and their mean, by COCO's matching.

    Results are in percent: ``{"bbox": {"AP": mean over the thresholds, "AP50": ..., ...}}``. NaN
    means that there is no face to find.

    Faces whose annotation says "iscrowd" or "ignore" are ignore regions. Where the data set is
    WIDER FACE and its official ground truth is there, "bbox_easy", "bbox_medium" and "bbox_hard"
    have the same for the faces of each setting, the others being ignored.
    """

    def __init__(
        self,
        dataset: str | EvaluationDataset,
        output_dir: str | None = None,
        *,
        iou_thresholds: Sequence[float] = (0.5, 0.6, 0.7, 0.8),
        max_detections: int = 1000,
        distributed: bool = True,
    ) -> None:
        """Evaluate on a registered data set.

        Args:
            dataset, distributed: see :class:`DatasetFaceEvaluator`.
            output_dir: where the detections are saved in COCO's result format
                ("coco_instances_results.json"); None: nowhere.
            iou_thresholds: each in (0, 1].
            max_detections: the most confident detections of each image that are evaluated. COCO's
                own 100 is too few: a WIDER FACE image has up to 709 faces.
        """
        check_iou_thresholds(iou_thresholds)
        super().__init__(dataset, output_dir, distributed=distributed)
        self._iou_thresholds = tuple(iou_thresholds)
        self._max_detections = max_detections

    def _evaluate(
        self,
        detections: dict[ImageId, ImageDetections],
        sizes: dict[ImageId, tuple[int, int]],
    ) -> Results:
        if self._output_dir:
            path = self._output_dir / RESULTS_FILE_NAME
            save_coco_results(path, detections, self._category_id())
        all_faces = annotated_faces(list(self._dataset.images.values()))
        subsets = {"bbox": all_faces, **self._subsets(all_faces)}
        precisions = coco_average_precisions(
            [list(faces.values()) for faces in subsets.values()],
            list(self._of_all_images(detections).values()),
            self._iou_thresholds,
            self._max_detections,
        )
        num_detections = sum(len(image.scores) for image in detections.values())
        results = OrderedDict()
        for (task, faces), ap in zip(subsets.items(), precisions, strict=True):
            results[task] = named_average_precisions(ap, self._iou_thresholds)
            num_faces = sum(image.num_counted for image in faces.values())
            logger.info(
                f"COCO-style AP in % on {self._dataset.name}, {task}: {num_faces} faces in "
                f"{len(faces)} images, {num_detections} detections, at most "
                f"{self._max_detections} an image\n{create_small_table(results[task])}"
            )
        return results

    def _subsets(self, faces: dict[ImageId, ImageFaces]) -> dict[str, dict[ImageId, ImageFaces]]:
        """WIDER FACE's Easy, Medium and Hard faces by task; {} where there is no ground truth."""
        if self._dataset.metadata.get("evaluator_type") != "widerface":
            return {}
        ground_truth, reason = self._dataset.official_ground_truth()
        if ground_truth is None:
            logger.info(f"COCO-style AP is over all faces of {self._dataset.name} only: {reason}")
            return {}
        return {f"bbox_{s}": setting_faces(ground_truth, s, faces) for s in SETTINGS}

    def _category_id(self) -> int:
        """The data set's own number for class 0."""
        to_contiguous = self._dataset.metadata.get("thing_dataset_id_to_contiguous_id", {0: 0})
        return {v: k for k, v in to_contiguous.items()}[0]


def named_average_precisions(ap: np.ndarray, iou_thresholds: Sequence[float]) -> dict[str, float]:
    """{"AP": mean, "AP50": ..., ...} in percent from (T,) values in [0, 1]."""
    names = [f"AP{100 * threshold:g}" for threshold in iou_thresholds]
    return {"AP": 100 * float(ap.mean()), **dict(zip(names, (100 * ap).tolist(), strict=True))}


def save_coco_results(
    path: Path, detections: dict[ImageId, ImageDetections], category_id: int
) -> None:
    """Write detections as COCO results, a list of {image_id, category_id, bbox, score}.

    The file appears complete or not at all. Boxes are XYWH, rounded to a thousandth of a pixel.
    """
    with atomic_path(path) as draft, open(draft, "w", encoding="utf-8") as file:
        file.write("[")
        separator = ""
        for image_id, image in detections.items():
            boxes = image.boxes.astype(np.float64)
            boxes = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).round(3).tolist()
            for box, score in zip(boxes, image.scores.tolist(), strict=True):
                record = {"image_id": image_id, "category_id": category_id}
                file.write(separator + json.dumps({**record, "bbox": box, "score": score}))
                separator = ",\n"
        file.write("]\n")
