"""The official WIDER FACE protocol as a detectron2 evaluator."""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import BoxMode
from detectron2.utils import comm
from detectron2.utils.logger import create_small_table

from .ap import ImageId, WiderFaceGroundTruth, evaluate_wider_face
from .assignment import is_int32
from .ground_truth import load_ground_truth
from .prediction_files import write_predictions

# The prediction folder below an evaluator's output_dir.
PREDICTIONS_FOLDER_NAME = "widerface_predictions"
# The setting that replaces Easy, Medium and Hard where there is no official ground truth.
ALL_FACES = "all"

logger = logging.getLogger(__name__)


class WiderFaceEvaluator(DatasetEvaluator):
    """AP on Easy, Medium and Hard at any IoU thresholds; see :mod:`.wider_face_ap`.

    Results are in percent: ``{"widerface": {"Easy": ..., "Medium": ..., "Hard": ..., "Easy60":
    ..., ...}}``, without a number for IoU 0.5, the official one. NaN means that no face counts.
    Only the images of the data set count, so a part of the validation set may be evaluated.

    Where the data set has no official ground truth (the .mat files are missing, or do not hold
    all of its images), all faces of its annotations that are neither "ignore" nor "iscrowd" count:
    ``{"widerface": {"All": ..., "All60": ...}}``, and a warning says why.

    In a distributed run every worker processes its share; the main one gathers, evaluates and
    returns the results, the others return {}.
    """

    def __init__(
        self,
        dataset_name: str,
        output_dir: str | None = None,
        *,
        iou_thresholds: Sequence[float] = (0.5,),
        ground_truth_dir: str | None = None,
        distributed: bool = True,
    ) -> None:
        """Evaluate on a registered data set.

        Args:
            dataset_name: a name in DatasetCatalog.
            output_dir: its folder "widerface_predictions" gets the detections as official
                prediction files; None: they are not written.
            iou_thresholds: each in (0, 1].
            ground_truth_dir: folder of the four .mat files; None: the metadata's.
            distributed: gather over the workers; False: evaluate this process's share only.
        """
        if not iou_thresholds or not all(0 < t <= 1 for t in iou_thresholds):
            raise ValueError(f"IoU thresholds must lie in (0, 1], not {list(iou_thresholds)}")
        self._dataset_name = dataset_name
        self._output_dir = output_dir
        self._iou_thresholds = tuple(iou_thresholds)
        self._distributed = distributed
        dicts = DatasetCatalog.get(dataset_name)
        self._image_ids = [image["image_id"] for image in dicts]
        folder = ground_truth_dir or MetadataCatalog.get(dataset_name).get("ground_truth_dir")
        self._ground_truth = self._official_ground_truth(folder) or all_faces(dicts)
        self._predictions: dict[ImageId, np.ndarray] = {}

    def reset(self) -> None:
        """Forget all detections."""
        self._predictions = {}

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Keep the detections of some images; see :meth:`DatasetEvaluator.process`."""
        for image, output in zip(inputs, outputs, strict=True):
            instances = output["instances"].to("cpu")
            boxes = instances.pred_boxes.tensor.double().numpy()
            scores = instances.scores.double().numpy()
            boxes = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2], scores])
            self._predictions[image["image_id"]] = boxes

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Gather, write, evaluate and log; the main process gets the results."""
        shares = [self._predictions]
        if self._distributed:
            shares = comm.gather(self._predictions, dst=0)
        if not shares:
            return {}
        predictions = {image_id: boxes for share in shares for image_id, boxes in share.items()}
        predictions = self._checked(predictions)
        if self._output_dir:
            write_predictions(Path(self._output_dir) / PREDICTIONS_FOLDER_NAME, predictions)
        results = self._average_precisions(predictions)
        logger.info(
            "WIDER FACE evaluation of %s (%d images), AP in percent:\n%s",
            self._dataset_name,
            len(self._image_ids),
            create_small_table(results),
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
            self._image_ids,
            arithmetic="official" if is_official else "float",
        )
        return {
            metric_name(setting, threshold): 100.0 * by_threshold[threshold].ap
            for threshold in self._iou_thresholds
            for setting, by_threshold in by_setting.items()
        }

    def _official_ground_truth(self, directory: str | None) -> WiderFaceGroundTruth | None:
        """The official ground truth, or None, with a warning, where it does not cover the set."""
        if directory is None:
            reason = "no ground_truth_dir is given"
        else:
            try:
                truth = load_ground_truth(directory)
            except (FileNotFoundError, ImportError) as error:  # no .mat files, or no scipy
                reason = str(error)
            else:
                unknown = [i for i in self._image_ids if i not in truth.boxes]
                if not unknown:
                    return truth
                reason = f"{len(unknown)} images are not in {directory}, such as {unknown[0]}"
        logger.warning(
            "%s has no Easy, Medium and Hard: ALL FACES of its annotations count instead, so the "
            "result is no official one. Reason: %s",
            self._dataset_name,
            reason,
        )
        return None

    def _checked(self, predictions: dict[ImageId, np.ndarray]) -> dict[ImageId, np.ndarray]:
        """The detections whose score is finite; warns about those and whatever else is odd."""
        bad = [i for i, boxes in predictions.items() if not np.isfinite(boxes[:, 4]).all()]
        if bad:
            logger.warning("%d images have NaN or infinite scores, left out: %s", len(bad), bad[:3])
        missing = [i for i in self._image_ids if i not in predictions]
        if missing:
            logger.warning("%d images without result, such as %s", len(missing), missing[0])
        predictions = {i: boxes[np.isfinite(boxes[:, 4])] for i, boxes in predictions.items()}
        num_empty = sum(int((b[:, 2:4] <= 0).any(axis=1).sum()) for b in predictions.values())
        if num_empty:
            logger.warning("%d detections have zero or negative width or height", num_empty)
        return predictions


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
