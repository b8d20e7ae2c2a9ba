"""What the evaluators of the small face benchmarks share: collecting, gathering, cleaning."""

import itertools
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from srn_d2.evaluation.coco.ap import ImageDetections
from srn_d2.evaluation.coco.ground_truth import ImageId

logger = logging.getLogger(__name__)


class FaceBenchmarkEvaluator(DatasetEvaluator):
    """Keeps all detections of a data set; a subclass turns them into results.

    In a distributed run every worker processes its share; the main one gathers, evaluates and
    returns the results, the others return {}.
    """

    def __init__(
        self, dataset_name: str, output_dir: str | None = None, *, distributed: bool = True
    ) -> None:
        """Evaluate on a registered data set.

        Args:
            dataset_name: a name in DatasetCatalog.
            output_dir: where curves and detections are saved; None: nowhere.
            distributed: gather over the workers; False: evaluate this process's share only.
        """
        self._dataset_name = dataset_name
        self._output_dir = None if output_dir is None else Path(output_dir)
        self._distributed = distributed
        self._processed: list[tuple[ImageId, tuple[int, int], ImageDetections]] = []

    def reset(self) -> None:
        """Forget all detections."""
        self._processed = []

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Keep the detections of some images; see :meth:`DatasetEvaluator.process`."""
        for image, output in zip(inputs, outputs, strict=True):
            instances = output["instances"].to("cpu")
            boxes = instances.pred_boxes.tensor.float().numpy().astype(np.float64)
            scores = instances.scores.float().numpy().astype(np.float64)
            found = ImageDetections(boxes, scores)
            self._processed.append((image["image_id"], instances.image_size, found))

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Gather, save, evaluate and log; the main process gets the results.

        Raises:
            ValueError: an image was processed twice or is not of the data set.
        """
        processed = self._processed
        if self._distributed:
            comm.synchronize()
            processed = list(itertools.chain(*comm.gather(processed, dst=0)))
            if not comm.is_main_process():
                return {}
        images = {image["image_id"]: image for image in DatasetCatalog.get(self._dataset_name)}
        ids = [image_id for image_id, _, _ in processed]
        self._check_ids(ids, images)
        nothing = ImageDetections(np.zeros((0, 4)), np.zeros(0))
        detections = dict.fromkeys(images, nothing)
        for image_id, _, image_detections in processed:
            detections[image_id] = _finite(image_id, image_detections)
        _report_empty_boxes(detections.values())
        if self._output_dir:
            self._output_dir.mkdir(parents=True, exist_ok=True)
        sizes = {image_id: size for image_id, size, _ in processed}
        return self._evaluate(images, detections, sizes)

    def _evaluate(
        self,
        images: dict[ImageId, dict[str, Any]],
        detections: dict[ImageId, ImageDetections],
        sizes: dict[ImageId, tuple[int, int]],
    ) -> dict[str, dict[str, float]]:
        """The results, in percent, from every image's dict, detections and (height, width).

        ``detections`` has every image, with finite values; ``sizes`` those that were processed.
        """
        raise NotImplementedError

    def _check_ids(self, ids: list[ImageId], images: dict[ImageId, dict[str, Any]]) -> None:
        repeated = len(ids) - len(set(ids))
        if repeated:
            raise ValueError(f"{repeated} images were processed twice; call reset() between runs")
        unknown = [image_id for image_id in ids if image_id not in images]
        if unknown:
            raise ValueError(
                f"{len(unknown)} image ids, {unknown[0]!r} first, are not in {self._dataset_name}"
            )
        if len(ids) < len(images):
            missing = next(image_id for image_id in images if image_id not in set(ids))
            logger.warning(
                f"{len(images) - len(ids)} of {len(images)} images of {self._dataset_name}, "
                f"{missing!r} first, were not processed; they count as images without detections"
            )


def _finite(image_id: ImageId, detections: ImageDetections) -> ImageDetections:
    """The detections with finite numbers; the others are logged, not ranked."""
    finite = np.isfinite(detections.scores) & np.isfinite(detections.boxes).all(axis=1)
    if finite.all():
        return detections
    logger.warning(
        f"Image {image_id!r}: {np.count_nonzero(~finite)} detections with a NaN or infinite score "
        "or coordinate are left out"
    )
    return ImageDetections(detections.boxes[finite], detections.scores[finite])


def _report_empty_boxes(detections: Iterable[ImageDetections]) -> None:
    num_empty = sum(
        np.count_nonzero((image.boxes[:, 2:] <= image.boxes[:, :2]).any(axis=1))
        for image in detections
    )
    if num_empty:
        logger.warning(f"{num_empty} detections have zero or negative size: false positives")
