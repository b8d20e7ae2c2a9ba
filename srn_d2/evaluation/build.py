"""Choose the evaluators of a data set by its metadata."""

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator

from srn_d2.evaluation.coco.evaluator import CocoFaceEvaluator
from srn_d2.evaluation.voc_ap.evaluator import VocApEvaluator
from srn_d2.evaluation.widerface.evaluator import WiderFaceEvaluator

from .dataset_evaluator import DatasetFaceEvaluator, DatasetFaceEvaluators
from .evaluation_dataset import EvaluationDataset

# More than any WIDER FACE image has faces (709 in the validation set).
MIN_DETECTIONS = 1000


def build_evaluator(
    cfg: CfgNode, dataset_name: str, output_folder: str | None = None
) -> DatasetEvaluator:
    """The evaluator(s) of ``dataset_name`` by its metadata's ``evaluator_type``.

    "coco_face": COCO-style AP. "widerface": that, and the official WIDER FACE protocol. "fddb":
    discrete and continuous ROC. "afw", "pascal_face": AP at IoU 0.5.

    Args:
        cfg: TEST.FACE_IOU_THRESHOLDS and TEST.DETECTIONS_PER_IMAGE are read.
        dataset_name: a registered data set.
        output_folder: where the evaluators save detections; default OUTPUT_DIR/inference/NAME.

    Raises:
        ValueError: for an unknown evaluator_type, with the known ones.
    """
    folder = output_folder or f"{cfg.OUTPUT_DIR}/inference/{dataset_name}"
    evaluator_type = MetadataCatalog.get(dataset_name).get("evaluator_type")
    builders = {
        "coco_face": [_coco_face],
        "widerface": [_coco_face, _wider_face],
        "fddb": [_fddb],
        "afw": [_voc_ap],
        "pascal_face": [_voc_ap],
    }
    if evaluator_type not in builders:
        raise ValueError(
            f"Data set {dataset_name!r} has evaluator_type {evaluator_type!r}; known are "
            f"{', '.join(sorted(builders))}"
        )
    dataset = EvaluationDataset(dataset_name)
    evaluators = [build(cfg, dataset, folder) for build in builders[evaluator_type]]
    return evaluators[0] if len(evaluators) == 1 else DatasetFaceEvaluators(evaluators)


def _coco_face(cfg: CfgNode, dataset: EvaluationDataset, folder: str) -> DatasetFaceEvaluator:
    return CocoFaceEvaluator(
        dataset,
        folder,
        iou_thresholds=cfg.TEST.FACE_IOU_THRESHOLDS,
        max_detections=max(MIN_DETECTIONS, cfg.TEST.DETECTIONS_PER_IMAGE),
    )


def _wider_face(cfg: CfgNode, dataset: EvaluationDataset, folder: str) -> DatasetFaceEvaluator:
    return WiderFaceEvaluator(dataset, folder, iou_thresholds=cfg.TEST.FACE_IOU_THRESHOLDS)


def _fddb(cfg: CfgNode, dataset: EvaluationDataset, folder: str) -> DatasetFaceEvaluator:
    from srn_d2.evaluation.fddb.evaluator import FddbEvaluator  # loads scipy.optimize

    return FddbEvaluator(dataset, folder)


def _voc_ap(cfg: CfgNode, dataset: EvaluationDataset, folder: str) -> DatasetFaceEvaluator:
    return VocApEvaluator(dataset, folder, task=dataset.metadata.evaluator_type)
