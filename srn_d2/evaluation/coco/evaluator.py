"""COCO-style AP of a face detector as a detectron2 evaluator."""

import itertools
import json
import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from detectron2.utils.logger import create_small_table

from srn_d2.atomic_file import atomic_path
from srn_d2.evaluation.widerface.ap import SETTINGS
from srn_d2.evaluation.widerface.ground_truth import load_ground_truth

from .ap import ImageDetections, ImageFaces, coco_average_precision
from .ground_truth import ImageId, annotated_faces, setting_faces

RESULTS_FILE_NAME = "coco_instances_results.json"

logger = logging.getLogger(__name__)


class CocoFaceEvaluator(DatasetEvaluator):
    """AP at several IoU thresholds and their mean, by COCO's matching.

    Results are in percent: ``{"bbox": {"AP": mean over the thresholds, "AP50": ..., ...}}``. NaN
    means that there is no face to find.

    Faces whose annotation says "iscrowd" or "ignore" are ignore regions. Where the data set is
    WIDER FACE and its official ground truth is there, "bbox_easy", "bbox_medium" and "bbox_hard"
    have the same for the faces of each setting, the others being ignored. In a distributed run
    every worker processes its share; the main one gathers, evaluates and returns the results,
    the others return {}.
    """

    def __init__(
        self,
        dataset_name: str,
        output_dir: str | None = None,
        *,
        iou_thresholds: Sequence[float] = (0.5, 0.6, 0.7, 0.8),
        max_detections: int = 1000,
        distributed: bool = True,
    ) -> None:
        """Evaluate on a registered data set.

        Args:
            dataset_name: a name in DatasetCatalog.
            output_dir: where the detections are saved in COCO's result format
                ("coco_instances_results.json"); None: nowhere.
            iou_thresholds: each in (0, 1].
            max_detections: the most confident detections of each image that are evaluated. COCO's
                own 100 is too few: a WIDER FACE image has up to 709 faces.
            distributed: gather over the workers; False: evaluate this process's share only.
        """
        if not iou_thresholds or not all(0 < t <= 1 for t in iou_thresholds):
            raise ValueError(f"IoU thresholds must lie in (0, 1], not {list(iou_thresholds)}")
        self._dataset_name = dataset_name
        self._output_dir = output_dir
        self._iou_thresholds = tuple(iou_thresholds)
        self._max_detections = max_detections
        self._distributed = distributed
        self._detections: list[tuple[ImageId, ImageDetections]] = []

    def reset(self) -> None:
        """Forget all detections."""
        self._detections = []

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Keep the detections of some images; see :meth:`DatasetEvaluator.process`."""
        for image, output in zip(inputs, outputs, strict=True):
            instances = output["instances"].to("cpu")
            boxes = instances.pred_boxes.tensor.float().numpy()
            scores = instances.scores.float().numpy()
            self._detections.append((image["image_id"], ImageDetections(boxes, scores)))

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Gather, save, evaluate and log; the main process gets the results."""
        detections = self._detections
        if self._distributed:
            comm.synchronize()
            detections = list(itertools.chain(*comm.gather(detections, dst=0)))
            if not comm.is_main_process():
                return {}
        by_image = _by_image(detections)
        if self._output_dir:
            path = Path(self._output_dir) / RESULTS_FILE_NAME
            save_coco_results(path, by_image, self._category_id())
        return self._evaluate(by_image)

    def _evaluate(self, by_image: dict[ImageId, ImageDetections]) -> dict[str, dict[str, float]]:
        faces = annotated_faces(DatasetCatalog.get(self._dataset_name))
        _check_image_ids(by_image, faces, self._dataset_name)
        nothing = ImageDetections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
        detections = [by_image.get(image_id, nothing) for image_id in faces]
        num_detections = sum(len(image.scores) for image in detections)
        results = OrderedDict()
        for task, setting in {"bbox": faces, **self._subsets(faces)}.items():
            ap = coco_average_precision(
                list(setting.values()), detections, self._iou_thresholds, self._max_detections
            )
            results[task] = named_average_precisions(ap, self._iou_thresholds)
            num_faces = sum(image.num_counted for image in setting.values())
            logger.info(
                f"COCO-style AP in % on {self._dataset_name}, {task}: {num_faces} faces in "
                f"{len(faces)} images, {num_detections} detections, at most "
                f"{self._max_detections} an image\n{create_small_table(results[task])}"
            )
        return results

    def _subsets(self, faces: dict[ImageId, ImageFaces]) -> dict[str, dict[ImageId, ImageFaces]]:
        """WIDER FACE's Easy, Medium and Hard faces by task; {} where there is no ground truth."""
        metadata = MetadataCatalog.get(self._dataset_name)
        if metadata.get("evaluator_type") != "widerface":
            return {}
        try:
            ground_truth = load_ground_truth(metadata.ground_truth_dir)
        except (FileNotFoundError, ImportError) as error:  # no .mat files, or no scipy
            logger.info(f"COCO-style AP is over all faces of {self._dataset_name} only: {error}")
            return {}
        unknown = [image_id for image_id in faces if image_id not in ground_truth.boxes]
        if unknown:
            logger.info(
                f"COCO-style AP is over all faces of {self._dataset_name} only: {len(unknown)} "
                f"images, {unknown[0]!r} first, are not in {metadata.ground_truth_dir}"
            )
            return {}
        return {f"bbox_{s}": setting_faces(ground_truth, s, faces) for s in SETTINGS}

    def _category_id(self) -> int:
        """The data set's own number for class 0."""
        metadata = MetadataCatalog.get(self._dataset_name)
        to_contiguous = metadata.get("thing_dataset_id_to_contiguous_id", {0: 0})
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


def _by_image(
    detections: list[tuple[ImageId, ImageDetections]],
) -> dict[ImageId, ImageDetections]:
    """Detections by image_id, without those that are not finite; bad ones are logged."""
    by_image: dict[ImageId, ImageDetections] = {}
    num_empty = 0
    for image_id, image in detections:
        if image_id in by_image:
            raise ValueError(f"Image {image_id!r} was processed twice; call reset() between runs")
        finite = np.isfinite(image.scores) & np.isfinite(image.boxes).all(axis=1)
        if not finite.all():
            logger.warning(
                f"Image {image_id!r}: {np.count_nonzero(~finite)} detections with a NaN or "
                "infinite score or coordinate are left out"
            )
            image = ImageDetections(image.boxes[finite], image.scores[finite])
        num_empty += np.count_nonzero((image.boxes[:, 2:] <= image.boxes[:, :2]).any(axis=1))
        by_image[image_id] = image
    if num_empty:
        logger.warning(f"{num_empty} detections have zero or negative size: false positives")
    return by_image


def _check_image_ids(
    detections: dict[ImageId, ImageDetections],
    faces: dict[ImageId, ImageFaces],
    dataset_name: str,
) -> None:
    unknown = [image_id for image_id in detections if image_id not in faces]
    if unknown:
        raise ValueError(f"{len(unknown)} image ids, {unknown[0]!r} first, not in {dataset_name}")
    missing = [image_id for image_id in faces if image_id not in detections]
    if missing:
        logger.warning(
            f"{len(missing)} of {len(faces)} images of {dataset_name}, {missing[0]!r} first, were "
            "not processed; they count as images without detections"
        )
