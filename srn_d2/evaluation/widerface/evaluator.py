"""The official WIDER FACE protocol as a detectron2 evaluator."""

import logging
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from detectron2.structures import BoxMode
from detectron2.utils.logger import create_small_table

from srn_d2.evaluation.coco.ap import ImageDetections
from srn_d2.evaluation.dataset_evaluator import DatasetFaceEvaluator, Results
from srn_d2.evaluation.evaluation_dataset import EvaluationDataset

from .ap import ImageId, WiderFaceGroundTruth, evaluate_wider_face
from .assignment import check_iou_thresholds, is_int32
from .prediction_files import write_predictions

# The prediction folder below an evaluator's output_dir.
PREDICTIONS_FOLDER_NAME = "widerface_predictions"
# The setting that replaces Easy, Medium and Hard where there is no official ground truth.
ALL_FACES = "all"

logger = logging.getLogger(__name__)


class WiderFaceEvaluator(DatasetFaceEvaluator):
    """AP on Easy, Medium and Hard at any IoU thresholds; see :mod:`.ap`.

    Results are in percent: ``{"widerface": {"Easy": ..., "Medium": ..., "Hard": ..., "Easy60":
    ..., ...}}``, without a number for IoU 0.5, the official one. NaN means that no face counts.
    Only the images of the data set count, so a part of the validation set may be evaluated.

    Where the data set has no official ground truth (the .mat files are missing, or do not hold
    all of its images), all faces of its annotations that are neither "ignore" nor "iscrowd" count:
    ``{"widerface": {"All": ..., "All60": ...}}``, and a warning gives the reason.
    """

    keeps_non_finite_boxes = True
    allows_other_images = True

    def __init__(
        self,
        dataset: str | EvaluationDataset,
        output_dir: str | None = None,
        *,
        iou_thresholds: Sequence[float] = (0.5,),
        ground_truth_dir: str | None = None,
        distributed: bool = True,
    ) -> None:
        """Evaluate on a registered data set.

        Args:
            dataset, distributed: see :class:`DatasetFaceEvaluator`.
            output_dir: its folder "widerface_predictions" gets the detections as official
                prediction files; None: they are not written.
            iou_thresholds: each in (0, 1].
            ground_truth_dir: folder of the four .mat files; None: the metadata's.
        """
        check_iou_thresholds(iou_thresholds)
        super().__init__(dataset, output_dir, distributed=distributed)
        self._iou_thresholds = tuple(iou_thresholds)
        truth, reason = self._dataset.official_ground_truth(ground_truth_dir)
        if truth is None:
            logger.warning(
                f"{self._dataset.name} has no Easy, Medium and Hard: ALL FACES of its annotations "
                f"count instead, so the result is no official one. Reason: {reason}"
            )
            truth = all_faces(list(self._dataset.images.values()))
        self._ground_truth = truth

    def _evaluate(
        self,
        detections: dict[ImageId, ImageDetections],
        sizes: dict[ImageId, tuple[int, int]],
    ) -> Results:
        predictions = {
            image_id: np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2], scores])
            for image_id, (boxes, scores) in detections.items()
        }
        if self._output_dir:
            write_predictions(self._output_dir / PREDICTIONS_FOLDER_NAME, predictions)
        results = self._average_precisions(predictions)
        logger.info(
            f"WIDER FACE evaluation of {self._dataset.name} ({len(self._dataset.images)} images), "
            f"AP in percent:\n{create_small_table(results)}"
        )
        return OrderedDict(widerface=results)

    def _average_precisions(self, predictions: dict[ImageId, np.ndarray]) -> dict[str, float]:
        truth = self._ground_truth
        # Only annotations of other data sets may be other than the protocol's integers.
        is_official = all(map(is_int32, truth.boxes.values()))
        if not is_official:
            logger.warning("The faces are no integers: overlaps are computed in floating point")
        by_setting = evaluate_wider_face(
            predictions,
            truth,
            self._iou_thresholds,
            self._dataset.images,
            arithmetic="official" if is_official else "float",
        )
        return {
            metric_name(setting, threshold): 100.0 * by_threshold[threshold].ap
            for threshold in self._iou_thresholds
            for setting, by_threshold in by_setting.items()
        }


def all_faces(dicts: list[dict]) -> WiderFaceGroundTruth:
    """Ground truth of one setting, ``ALL_FACES``, from detectron2's list of dicts.

    Annotations marked "ignore" or "iscrowd" are faces that do not count.
    """
    boxes, counted = {}, {}
    for image in dicts:
        annotations = image.get("annotations", [])
        boxes[image["image_id"]] = np.array(
            [
                BoxMode.convert(list(a["bbox"]), a["bbox_mode"], BoxMode.XYWH_ABS)
                for a in annotations
            ],
            dtype=np.float64,
        ).reshape(-1, 4)
        counted[image["image_id"]] = np.array(
            [not (a.get("ignore") or a.get("iscrowd")) for a in annotations], dtype=bool
        )
    return WiderFaceGroundTruth(boxes, {ALL_FACES: counted})


def metric_name(setting: str, iou_threshold: float) -> str:
    """ "Easy" at IoU 0.5, "Easy60" at 0.6, and so on: no "-", which print_csv_format hides."""
    suffix = "" if iou_threshold == 0.5 else f"{100 * iou_threshold:g}"
    return setting.capitalize() + suffix
