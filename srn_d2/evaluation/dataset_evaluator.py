"""Base class of all evaluators: collecting, gathering, checking and cleaning of detections."""

import itertools
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators
from detectron2.utils import comm

from .coco.ap import ImageDetections
from .evaluation_dataset import EvaluationDataset
from .widerface.ap import ImageId

logger = logging.getLogger(__name__)

Results = dict[str, dict[str, float]]
"""Task -> metric -> value."""


class ProcessedImage(NamedTuple):
    """The detections of one image, as the network gave them."""

    image_id: ImageId
    size: tuple[int, int]  # height, width in pixels
    detections: ImageDetections  # float64


class DatasetFaceEvaluator(DatasetEvaluator):
    """Evaluator that keeps all detections of a data set; subclasses compute results from them.

    In a distributed run every worker processes its share; the main one gathers, evaluates and
    returns the results, the others return {}.
    """

    # The official WIDER FACE protocol counts a box that is not finite as a false positive.
    keeps_non_finite_boxes = False
    # Images that are not of the data set are an error, unless the protocol leaves them out.
    allows_other_images = False

    def __init__(
        self,
        dataset: str | EvaluationDataset,
        output_dir: str | None = None,
        *,
        distributed: bool = True,
    ) -> None:
        """Evaluate on a registered data set.

        Args:
            dataset: a name in DatasetCatalog, or an object that several evaluators share.
            output_dir: where results and detections are saved; None: nowhere.
            distributed: gather over the workers; False: evaluate this process's share only.
        """
        self._dataset = EvaluationDataset(dataset) if isinstance(dataset, str) else dataset
        self._output_dir = None if output_dir is None else Path(output_dir)
        self._distributed = distributed
        self._processed: list[ProcessedImage] = []

    def reset(self) -> None:
        """Forget all detections."""
        self._processed = []

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Keep the detections of some images; see :meth:`DatasetEvaluator.process`."""
        for image, output in zip(inputs, outputs, strict=True):
            instances = output["instances"].to("cpu")
            boxes = instances.pred_boxes.tensor.double().numpy()
            scores = instances.scores.double().numpy()
            self._processed.append(
                ProcessedImage(
                    image["image_id"], instances.image_size, ImageDetections(boxes, scores)
                )
            )

    def evaluate(self) -> Results:
        """Gather, save, evaluate and log; the main process gets the results.

        Raises:
            ValueError: an image was processed twice or is not of the data set.
        """
        processed = self.gather()
        return {} if processed is None else self.evaluate_images(processed)

    def gather(self) -> list[ProcessedImage] | None:
        """The processed images of all workers; None in every process but the main one."""
        if not self._distributed:
            return self._processed
        comm.synchronize()
        shares = comm.gather(self._processed, dst=0)
        return list(itertools.chain(*shares)) if comm.is_main_process() else None

    def evaluate_images(self, processed: Sequence[ProcessedImage]) -> Results:
        """Check, save, evaluate and log gathered images; errors as of :meth:`evaluate`."""
        self._check_ids([image.image_id for image in processed])
        detections = {image.image_id: self._finite(image) for image in processed}
        _report_empty_boxes(detections.values())
        if self._output_dir:
            self._output_dir.mkdir(parents=True, exist_ok=True)
        return self._evaluate(detections, {image.image_id: image.size for image in processed})

    def _evaluate(
        self,
        detections: dict[ImageId, ImageDetections],
        sizes: dict[ImageId, tuple[int, int]],
    ) -> Results:
        """The results, in percent.

        Args:
            detections: detections of the processed images, in their order; finite, but for the
                boxes where ``keeps_non_finite_boxes``.
            sizes: (height, width) of the same images, in pixels.
        """
        raise NotImplementedError

    def _of_all_images(
        self, detections: dict[ImageId, ImageDetections]
    ) -> dict[ImageId, ImageDetections]:
        """The detections of every image of the data set, in its order."""
        nothing = ImageDetections(np.zeros((0, 4)), np.zeros(0))
        return {image_id: detections.get(image_id, nothing) for image_id in self._dataset.images}

    def _check_ids(self, ids: list[ImageId]) -> None:
        images, name = self._dataset.images, self._dataset.name
        seen: set[ImageId] = set()
        for image_id in ids:
            if image_id in seen:
                raise ValueError(
                    f"Image {image_id!r} was processed twice; call reset() between runs"
                )
            seen.add(image_id)
        unknown = [image_id for image_id in ids if image_id not in images]
        if unknown and not self.allows_other_images:
            raise ValueError(f"{len(unknown)} image ids, {unknown[0]!r} first, are not in {name}")
        missing = [image_id for image_id in images if image_id not in seen]
        if missing:
            logger.warning(
                f"{len(missing)} of {len(images)} images of {name}, {missing[0]!r} first, were "
                "not processed; they count as images without detections"
            )

    def _finite(self, image: ProcessedImage) -> ImageDetections:
        """The detections with finite numbers; a warning names the number of the others."""
        boxes, scores = image.detections
        finite, numbers = np.isfinite(scores), "score"
        if not self.keeps_non_finite_boxes:
            finite &= np.isfinite(boxes).all(axis=1)
            numbers = "score or coordinate"
        if finite.all():
            return image.detections
        logger.warning(
            f"Image {image.image_id!r}: {np.count_nonzero(~finite)} detections with a NaN or "
            f"infinite {numbers} are left out"
        )
        return ImageDetections(boxes[finite], scores[finite])


class DatasetFaceEvaluators(DatasetEvaluators):
    """Several protocols on the same detections, which are collected and gathered once.

    Args:
        evaluators: of one data set; the first one collects.
    """

    def __init__(self, evaluators: Sequence[DatasetFaceEvaluator]) -> None:
        super().__init__(evaluators)

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Keep the detections of some images; see :meth:`DatasetEvaluator.process`."""
        self._evaluators[0].process(inputs, outputs)

    def evaluate(self) -> Results:
        """The results of all evaluators; {} in every process but the main one."""
        processed = self._evaluators[0].gather()
        results: Results = OrderedDict()
        if processed is not None:
            for evaluator in self._evaluators:
                results.update(evaluator.evaluate_images(processed))
        return results


def _report_empty_boxes(detections: Iterable[ImageDetections]) -> None:
    num_empty = sum(
        np.count_nonzero((image.boxes[:, 2:] <= image.boxes[:, :2]).any(axis=1))
        for image in detections
    )
    if num_empty:
        logger.warning(f"{num_empty} detections have zero or negative size: false positives")
