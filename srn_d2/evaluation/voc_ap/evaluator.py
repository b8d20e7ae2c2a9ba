"""AFW and PASCAL face as detectron2 evaluators."""

import json
import logging
from collections import OrderedDict
from typing import Any

import numpy as np
from tabulate import tabulate

from srn_d2.evaluation.coco.ap import ImageDetections
from srn_d2.evaluation.coco.ground_truth import ImageId, annotated_faces
from srn_d2.evaluation.dataset_evaluator import DatasetFaceEvaluator, Results
from srn_d2.evaluation.evaluation_dataset import EvaluationDataset

from .ap import ApResult
from .files import ToolboxDetections, ToolboxFaces, detection_lines, parse_detection_lines
from .report import evaluate_detections

logger = logging.getLogger(__name__)


class VocApEvaluator(DatasetFaceEvaluator):
    """AP at IoU 0.5 in percent, plain and as the usual toolbox computes it (see :mod:`.ap`).

    Results are ``{TASK: {"AP50": ..., "AP50_toolbox": ...}}``. Annotations with "ignore" or
    "iscrowd" are ignored faces. Equal scores rank by the name of the image, as in published files.
    ``output_dir`` gets TASK_curves.json: precision, recall and score of both curves, by falling
    score; and TASK_detections.txt, a line "image score x1 y1 x2 y2" for each detection, by image:
    the format that the toolbox reads. The results are those of the numbers in that file, which
    have nine digits, to the last digit those of ``srn-d2 evaluate`` for it.
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
        lines = [
            line
            for image_id in sorted(images, key=str)
            for line in detection_lines(str(image_id), *detections[image_id])
        ]
        method = evaluate_detections(
            ToolboxDetections([line.split()[0] for line in lines], *parse_detection_lines(lines)),
            {str(image_id): _faces(image) for image_id, image in images.items()},
        )
        curves = OrderedDict(AP50=method.plain, AP50_toolbox=method.toolbox)
        if self._output_dir:
            path = self._output_dir / f"{self._task}_curves.json"
            path.write_text(json.dumps({k: _to_json(c) for k, c in curves.items()}))
            path = self._output_dir / f"{self._task}_detections.txt"
            path.write_text("".join(f"{line}\n" for line in lines))
        rows = [[name, 100 * c.ap, c.num_faces, len(c.scores)] for name, c in curves.items()]
        table = tabulate(
            rows, ["", "AP in %", "counted faces", "detections"], tablefmt="pipe", floatfmt=".3f"
        )
        files = sorted({i["annotation_file"] for i in images.values() if "annotation_file" in i})
        source = f" of {', '.join(files)}" if files else ""
        logger.info(f"AP at IoU 0.5 on {self._dataset.name}: {len(images)} images{source}\n{table}")
        return {self._task: {name: 100 * curve.ap for name, curve in curves.items()}}


def _faces(image: dict[str, Any]) -> ToolboxFaces:
    """The faces of an image as :func:`.files.read_faces` reads them.

    Corners from "corners", where there are any: x1 + (x2 - x1) is not always x2.
    """
    faces = annotated_faces([image])[image["image_id"]]
    corners = [a["corners"] for a in image.get("annotations", []) if "corners" in a]
    exact = len(corners) == len(faces.boxes) > 0
    return ToolboxFaces(np.array(corners) if exact else faces.boxes, ~faces.counted)


def _to_json(curve: ApResult) -> dict[str, list[float]]:
    return {key: getattr(curve, key).tolist() for key in ("precision", "recall", "scores")}
