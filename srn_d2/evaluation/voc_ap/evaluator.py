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
from .files import detection_lines, parse_detection_lines

logger = logging.getLogger(__name__)


class VocApEvaluator(DatasetFaceEvaluator):
    """AP at IoU 0.5 in percent, plain and as the usual toolbox computes it (see :mod:`.ap`).

    Results are ``{TASK: {"AP50": ..., "AP50_toolbox": ...}}``. Annotations with "ignore" or
    "iscrowd" are ignored faces. Equal scores rank by the name of the image, as in published files.
    ``output_dir`` gets TASK_curves.json: precision, recall and score of both curves, by falling
    score; and TASK_detections.txt, a line "image score x1 y1 x2 y2" for each detection, by image:
    the format that the toolbox reads. The results are those of the numbers in that file, which
    have nine digits.
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
        faces_of = annotated_faces(list(images.values()))
        lines = {
            image_id: detection_lines(str(image_id), *detections[image_id])
            for image_id in sorted(faces_of, key=str)
        }
        ap_images = [
            ApImage(
                faces_of[image_id].boxes, ~faces_of[image_id].counted, *parse_detection_lines(rows)
            )
            for image_id, rows in lines.items()
        ]
        curves = OrderedDict(
            AP50=evaluate_ap(ap_images), AP50_toolbox=evaluate_toolbox_ap(ap_images)
        )
        if self._output_dir:
            path = self._output_dir / f"{self._task}_curves.json"
            path.write_text(json.dumps({k: _to_json(c) for k, c in curves.items()}))
            path = self._output_dir / f"{self._task}_detections.txt"
            path.write_text("".join(f"{row}\n" for rows in lines.values() for row in rows))
        rows = [[name, 100 * c.ap, c.num_faces, len(c.scores)] for name, c in curves.items()]
        table = tabulate(
            rows, ["", "AP in %", "counted faces", "detections"], tablefmt="pipe", floatfmt=".3f"
        )
        files = sorted({i["annotation_file"] for i in images.values() if "annotation_file" in i})
        source = f" of {', '.join(files)}" if files else ""
        logger.info(f"AP at IoU 0.5 on {self._dataset.name}: {len(images)} images{source}\n{table}")
        return {self._task: {name: 100 * curve.ap for name, curve in curves.items()}}


def _to_json(curve: ApResult) -> dict[str, list[float]]:
    return {key: getattr(curve, key).tolist() for key in ("precision", "recall", "scores")}
