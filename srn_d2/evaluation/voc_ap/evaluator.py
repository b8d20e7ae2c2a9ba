"""AFW and PASCAL face as detectron2 evaluators."""

import json
import logging
from collections import OrderedDict

from tabulate import tabulate

from srn_d2.evaluation.coco.ap import ImageDetections
from srn_d2.evaluation.coco.ground_truth import ImageId, annotated_faces
from srn_d2.evaluation.dataset_evaluator import DatasetFaceEvaluator, Results
from srn_d2.evaluation.evaluation_dataset import EvaluationDataset

from .ap import ApImage, ApResult, evaluate_ap, evaluate_toolbox_ap

logger = logging.getLogger(__name__)


class VocApEvaluator(DatasetFaceEvaluator):
    """AP at IoU 0.5 in percent, plain and as the usual toolbox computes it (see :mod:`.ap`).

    Results are ``{TASK: {"AP50": ..., "AP50_toolbox": ...}}``. Annotations with "ignore" or
    "iscrowd" are ignored faces. ``output_dir`` gets TASK_curves.json: precision, recall and score
    of both curves, by falling score.
    """

    def __init__(
        self,
        dataset: str | EvaluationDataset,
        output_dir: str | None = None,
        *,
        task: str,
        distributed: bool = True,
    ) -> None:
        """Evaluate on a registered data set.

        Args:
            dataset, output_dir, distributed: see :class:`DatasetFaceEvaluator`.
            task: the name of the results, "afw" or "pascal_face".
        """
        super().__init__(dataset, output_dir, distributed=distributed)
        self._task = task

    def _evaluate(
        self,
        detections: dict[ImageId, ImageDetections],
        sizes: dict[ImageId, tuple[int, int]],
    ) -> Results:
        images = self._dataset.images
        detections = self._of_all_images(detections)
        ap_images = [
            ApImage(faces.boxes, ~faces.counted, *detections[image_id])
            for image_id, faces in annotated_faces(list(images.values())).items()
        ]
        curves = OrderedDict(
            AP50=evaluate_ap(ap_images), AP50_toolbox=evaluate_toolbox_ap(ap_images)
        )
        if self._output_dir:
            path = self._output_dir / f"{self._task}_curves.json"
            path.write_text(json.dumps({k: _to_json(c) for k, c in curves.items()}))
        rows = [[name, 100 * c.ap, c.num_faces, len(c.scores)] for name, c in curves.items()]
        table = tabulate(
            rows, ["", "AP in %", "faces", "detections"], tablefmt="pipe", floatfmt=".3f"
        )
        logger.info(f"AP at IoU 0.5 on {self._dataset.name}: {len(images)} images\n{table}")
        return {self._task: {name: 100 * curve.ap for name, curve in curves.items()}}


def _to_json(curve: ApResult) -> dict[str, list[float]]:
    return {key: getattr(curve, key).tolist() for key in ("precision", "recall", "scores")}
