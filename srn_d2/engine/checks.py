"""Checks of a run before its first iteration: data sets, solver, batch normalisation."""

import difflib
import logging
import math
from collections.abc import Iterator, Sequence

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.layers import NaiveSyncBatchNorm
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY
from detectron2.utils import comm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from srn_d2.data.build import paused_garbage_collection
from srn_d2.evaluation import build_evaluator
from srn_d2.evaluation.evaluation_dataset import EvaluationDataset
from srn_d2.evaluation.widerface.assignment import check_iou_thresholds

SCHEDULERS = ("WarmupMultiStepLR", "WarmupCosineLR", "WarmupStepWithFixedGammaLR")
WARMUP_METHODS = ("linear", "constant")
NORMS = ("", "BN", "SyncBN", "FrozenBN", "GN", "LN", "nnSyncBN", "naiveSyncBN", "naiveSyncBN_N")
CLIP_TYPES = ("value", "norm")
RESNET_DEPTHS = (18, 34, 50, 101, 152)
PAIRS = ("FACE_EXPAND_RANGE", "FACE_PATCH_SCALES", "FACE_SAMPLED_SIZES")
TASKS = {
    "coco_face": ("bbox",),
    "widerface": ("bbox", "bbox_easy", "bbox_medium", "bbox_hard", "widerface"),
}
"""evaluator_type -> tasks of its metrics; of the others the only task has the type's name."""

logger = logging.getLogger(__name__)


class DatasetNameError(ValueError):
    """A name in DATASETS.TRAIN or DATASETS.TEST is no registered data set."""


def check_datasets(cfg: CfgNode, *, is_training: bool) -> None:
    """Check the data sets that a run will read, before it begins.

    The test sets' images, annotations and official ground truth are read, by the first worker of
    each machine: an error in them would otherwise end a training when it is done.

    Args:
        cfg: config of the run.
        is_training: False: DATASETS.TEST is evaluated, and nothing else.

    Raises:
        ValueError: a key names no data set, one that is not registered, or one without images.
        OSError, AnnotationFormatError: a file is missing or damaged.
    """
    check_names(cfg, is_training=is_training)
    if comm.get_local_rank() != 0:
        return
    with paused_garbage_collection():
        for name in cfg.DATASETS.TEST:
            _check_test_set(cfg, name)
    if is_training and cfg.DATASETS.TEST:
        _check_best_metric(cfg)


def _check_test_set(cfg: CfgNode, name: str) -> None:
    """Read what the evaluation of a data set will read; errors as of ``check_datasets``."""
    dataset = EvaluationDataset(name)
    if not dataset.images:
        raise ValueError(f"DATASETS.TEST: {name} has no images: nothing can be evaluated")
    if dataset.metadata.get("evaluator_type") != "widerface":
        build_evaluator(cfg, name)  # which reads nothing yet
        return
    check_iou_thresholds(cfg.TEST.FACE_IOU_THRESHOLDS)
    truth, reason = dataset.official_ground_truth()
    if truth is None:
        logger.warning("%s will be evaluated without Easy, Medium and Hard: %s", name, reason)


def check_names(cfg: CfgNode, *, is_training: bool) -> None:
    """Raise a ValueError for names of DATASETS.TRAIN and DATASETS.TEST that are no data sets.

    Arguments are those of ``check_datasets``.
    """
    key = "DATASETS.TRAIN" if is_training else "DATASETS.TEST"
    if not (cfg.DATASETS.TRAIN if is_training else cfg.DATASETS.TEST):
        raise DatasetNameError(
            f"{key} is empty: name a data set, such as {key} \"('widerface_val',)\"; there are: "
            f"{', '.join(face_datasets())}"
        )
    for key in ("DATASETS.TRAIN", "DATASETS.TEST") if is_training else ("DATASETS.TEST",):
        for name in cfg.DATASETS[key.partition(".")[2]]:
            if name not in DatasetCatalog:
                raise DatasetNameError(_unknown_dataset(key, name))


def face_datasets() -> list[str]:
    """Names of the registered data sets whose only class is "face", sorted."""
    names = DatasetCatalog.list()
    return sorted(n for n in names if MetadataCatalog.get(n).get("thing_classes") == ["face"])


def _unknown_dataset(key: str, name: object) -> str:
    names = face_datasets()
    close = difflib.get_close_matches(str(name), names, n=2)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    if comm.get_world_size() > 1 and not close:
        hint = (
            "each worker registers data sets by itself: where a script does it, the call must be "
            "above `if __name__ == '__main__':`, not below. "
        )
    return f"{key}: no data set {name!r} is registered; {hint}There are: {', '.join(names)}"


def _check_best_metric(cfg: CfgNode) -> None:
    """Warn if TEST.BEST_METRIC cannot be a metric of DATASETS.TEST."""
    metric, tasks = cfg.TEST.BEST_METRIC, []
    for name in cfg.DATASETS.TEST:
        kind = MetadataCatalog.get(name).get("evaluator_type")
        prefix = f"{name}/" if len(cfg.DATASETS.TEST) > 1 else ""
        tasks += [f"{prefix}{task}" for task in TASKS.get(kind, (kind,))]
    if metric and metric.rpartition("/")[0] not in tasks:
        logger.warning(
            "TEST.BEST_METRIC %s is no metric of DATASETS.TEST: model_best.pth will not be "
            "written. Metrics begin with %s",
            *(metric, ", ".join(f"{task}/" for task in tasks)),
        )


def check_solver(cfg: CfgNode) -> None:
    """Raise a ValueError for the first key of a training that has an impossible value.

    Args:
        cfg: config of the run, before it is rescaled to the number of workers.
    """
    for key, is_right, what in _requirements(cfg):
        if not is_right:
            value = cfg
            for name in key.split("."):
                value = value[name]
            raise ValueError(f"{key} is {value!r}: {what}")


def _requirements(cfg: CfgNode) -> Iterator[tuple[str, bool, str]]:
    """Key, whether its value is possible, and what it must be."""
    solver = cfg.SOLVER
    for key in ("MAX_ITER", "IMS_PER_BATCH", "CHECKPOINT_PERIOD"):
        yield f"SOLVER.{key}", solver[key] >= 1, "it must be at least 1"
    for node, key in ((solver, "WARMUP_ITERS"), (solver, "REFERENCE_WORLD_SIZE")):
        yield f"SOLVER.{key}", node[key] >= 0, "it must not be negative"
    yield "TEST.EVAL_PERIOD", cfg.TEST.EVAL_PERIOD >= 0, "it must not be negative; 0: at the end"
    yield "DATALOADER.NUM_WORKERS", cfg.DATALOADER.NUM_WORKERS >= 0, "it must not be negative"
    rate = solver.BASE_LR
    yield "SOLVER.BASE_LR", math.isfinite(rate) and rate > 0, "it must be positive"
    reference = solver.REFERENCE_WORLD_SIZE
    is_multiple = reference == 0 or solver.IMS_PER_BATCH % reference == 0
    yield (
        "SOLVER.REFERENCE_WORLD_SIZE",
        is_multiple,
        f"it must divide SOLVER.IMS_PER_BATCH, {solver.IMS_PER_BATCH}; 0: nothing is rescaled to "
        "the number of workers",
    )
    crop, mosaic = cfg.INPUT.FACE_CROP_SIZE, cfg.INPUT.FACE_MOSAIC_PROB
    yield "INPUT.FACE_CROP_SIZE", crop >= 1, "it must be at least 1"
    yield "INPUT.FACE_MOSAIC_PROB", 0 <= mosaic <= 1, "it must be from 0 to 1"
    yield (
        "INPUT.FACE_CROP_SIZE",
        not mosaic > 0 or crop % 2 == 0,
        "with INPUT.FACE_MOSAIC_PROB it must be even",
    )
    for key in PAIRS:
        yield f"INPUT.{key}", len(cfg.INPUT[key]) == 2, "it must be two numbers, least and largest"
    yield from _schedule_requirements(solver)
    clip = solver.CLIP_GRADIENTS.CLIP_TYPE
    yield "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", clip in CLIP_TYPES, _one_of(CLIP_TYPES)
    yield from _model_requirements(cfg.MODEL)


def _model_requirements(model: CfgNode) -> Iterator[tuple[str, bool, str]]:
    for key, name, registry in (
        ("MODEL.META_ARCHITECTURE", model.META_ARCHITECTURE, META_ARCH_REGISTRY),
        ("MODEL.BACKBONE.NAME", model.BACKBONE.NAME, BACKBONE_REGISTRY),
    ):
        names = [known for known, _ in registry]
        close = difflib.get_close_matches(name, names, n=3) or sorted(names)
        yield key, name in names, f"none is registered of this name; {_one_of(close)}"
    for key, node in (("MODEL.FPN.NORM", model.FPN), ("MODEL.RESNETS.NORM", model.RESNETS)):
        yield key, node.NORM in NORMS, _one_of([repr(name) for name in NORMS])
    is_resnet = "resnet" in model.BACKBONE.NAME
    is_known = not is_resnet or model.RESNETS.DEPTH in RESNET_DEPTHS
    yield "MODEL.RESNETS.DEPTH", is_known, _one_of([str(depth) for depth in RESNET_DEPTHS])


def _schedule_requirements(solver: CfgNode) -> Iterator[tuple[str, bool, str]]:
    name, steps = solver.LR_SCHEDULER_NAME, solver.STEPS
    yield "SOLVER.LR_SCHEDULER_NAME", name in SCHEDULERS, _one_of(SCHEDULERS)
    yield "SOLVER.WARMUP_METHOD", solver.WARMUP_METHOD in WARMUP_METHODS, _one_of(WARMUP_METHODS)
    yield "SOLVER.STEPS", list(steps) == sorted(set(steps)), "the iterations must be ascending"
    if name == "WarmupCosineLR":
        what = f"it must be from 0 to SOLVER.BASE_LR, {solver.BASE_LR}"
        yield "SOLVER.BASE_LR_END", 0 <= solver.BASE_LR_END <= solver.BASE_LR, what


def _one_of(names: Sequence[str]) -> str:
    return f"valid are {', '.join(names)}"


def check_batch_norm(model: nn.Module, num_images: float) -> None:
    """Warn if batch normalisation takes its statistics from a single image.

    Args:
        model: in training mode; frozen layers are not.
        num_images: number of images of one worker in an iteration.
    """
    synchronised = (nn.SyncBatchNorm, NaiveSyncBatchNorm)
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and not isinstance(module, synchronised)
        if module.training
    ]
    if names and num_images == 1:
        logger.warning("%s (%s and %d more layers)", SINGLE_IMAGE, names[0], len(names) - 1)


SINGLE_IMAGE = (
    "SOLVER.IMS_PER_BATCH leaves one image for each worker, and batch normalisation has no other "
    "to compare it with: raise it to at least two images a worker, or set MODEL.FPN.NORM, "
    "MODEL.RESNETS.NORM or MODEL.TIMM.NORM to another norm (GN, SyncBN, FrozenBN)"
)
