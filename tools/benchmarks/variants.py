"""The detectors that are compared, built from one config and with the same weights.

authors      both subnets, both steps, all levels; NumPy post-processing
dense        this project's SRN, second step everywhere
sparse       second step only where anchors survive the first one
auto         dense or sparse on each level, by the number of survivors
retinanet    detectron2's own RetinaNet, on the same levels and anchors
*-bf16       in bfloat16, TEST.BFLOAT16
onnxruntime  dense, exported, in ONNX Runtime on the CPU; its first step decides for itself
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.engine import SRNTrainer
from srn_d2.modeling import LEVELS, SRN

from .authors import AuthorsSRN
from .first_step_masks import impose
from .onnx_variant import onnx_detect
from .stages import (
    BACKBONE,
    FIRST_STEP,
    FPN,
    POSTPROCESSING,
    SECOND_STEP,
    StageMeter,
    Wrapped,
    replaced,
)

AUTHORS, RETINANET, ONNXRUNTIME = "authors", "retinanet", "onnxruntime"
SECOND_STEPS = ("dense", "sparse", "auto")
BFLOAT16 = "-bf16"
FLOAT32_VARIANTS = (AUTHORS, *SECOND_STEPS, RETINANET)
BFLOAT16_VARIANTS = tuple(name + BFLOAT16 for name in SECOND_STEPS)
VARIANTS = (*FLOAT32_VARIANTS, *BFLOAT16_VARIANTS, ONNXRUNTIME)

# Of random weights, after calibration: as many second-step scores exceed 0.05 as of a trained
# network's survivors might, and boxes keep about their anchors' sizes.
LOGIT_MEAN, LOGIT_STD = -4.2, 1.0
DELTA_STD = 0.1


@dataclass(frozen=True)
class Variant:
    """A detector variant to measure.

    Attributes:
        name: one of ``VARIANTS``.
        run: from normalised images to detections, see :meth:`srn_d2.modeling.SRN.detect`.
        stages: methods of its parts that are measured as stages.
        remaining_stage: the stage of the rest of ``run``.
        first_step: the object whose method ``first_step`` gives the first step's logits and
            deltas; None if it has no first step.
    """

    name: str
    run: Callable[[ImageList], list[Instances]]
    stages: tuple[Wrapped, ...]
    remaining_stage: str
    first_step: object | None = None

    def measured(self, images: ImageList, meter: StageMeter) -> list[Instances]:
        """Detect, with each stage charged to the meter."""
        with meter.wrap(*self.stages), meter.stage(self.remaining_stage):
            return self.run(images)

    def imposed(self, masks: Mapping[str, Tensor] | None) -> AbstractContextManager:
        """Within the context the first step leaves the cells of the masks, whatever it predicts.

        Args:
            masks: as ``first_step_masks`` makes them; None: nothing is imposed.
        """
        if masks is None:
            return nullcontext()
        return self.with_scores(lambda scores: impose(scores, masks))

    def with_scores(self, change: Callable[[list], list]) -> AbstractContextManager:
        """Within the context, the first step's logits, a list over p2 .. p7, are first changed."""
        if self.first_step is None:
            return nullcontext()
        predict = self.first_step.first_step

        def first_step(maps: dict[str, Tensor]) -> tuple[list, list]:
            scores, deltas = predict(maps)
            return change(scores), deltas

        return replaced(self.first_step, "first_step", first_step)


def build_variants(
    cfg: CfgNode, names: Sequence[str], images: ImageList, weights: str = ""
) -> list[Variant]:
    """Build detectors, all SRNs with the same weights.

    Args:
        cfg: an SRN; MODEL.WEIGHTS is not read.
        names: some of ``VARIANTS``.
        images: on which random weights are calibrated.
        weights: a trained checkpoint; "": random weights whose two prediction layers are scaled
            so that scores and boxes are of the usual order.

    Raises:
        ValueError: for an unknown name, or weights that do not fit.
    """
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise ValueError(f"there are no variants {unknown}; valid are {list(VARIANTS)}")
    reference: SRN = build_model(_variant_cfg(cfg, "dense")).eval()
    if weights:
        SRNCheckpointer(reference, strict=True).load(weights)
    else:
        head = reference.head
        calibrate(head.cls_score, head.bbox_pred, lambda: reference.detect(images))
    return [_build(cfg, name, reference, images) for name in names]


def _build(cfg: CfgNode, name: str, reference: SRN, images: ImageList) -> Variant:
    if name == AUTHORS:
        return _authors_variant(reference)
    if name == RETINANET:
        return _retinanet_variant(build_retinanet(cfg), images)
    if name == ONNXRUNTIME:
        return Variant(name, onnx_detect(reference, cfg), (), SECOND_STEP)
    second_step, *_ = name.split("-")
    model = SRNTrainer.build_model(_variant_cfg(cfg, second_step, BFLOAT16 in name)).eval()
    model.load_state_dict(reference.state_dict())
    stages = (
        *_pyramid_stages(model),
        (model.head, "first_step", FIRST_STEP),
        (model, "forward_inference", POSTPROCESSING),
    )
    return Variant(name, model.detect, stages, SECOND_STEP, model.head)


def _variant_cfg(cfg: CfgNode, second_step: str, bfloat16: bool = False) -> CfgNode:
    """The config with one way of the second step, in float32 or in bfloat16."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.merge_from_list(
        [
            *("MODEL.SRN.SECOND_STEP", second_step, "TEST.BFLOAT16", bfloat16),
            *("SOLVER.CPU_BFLOAT16", False),
        ]
    )
    return cfg


def _pyramid_stages(model: SRN) -> tuple[Wrapped, ...]:
    """The 3x3 output convolutions of p2 .. p4 belong to the second step, dense as sparse."""
    outputs = [model.backbone.outputs[level] for level in LEVELS[:3]]
    return (
        (model.backbone, "forward", FPN),
        (model.backbone.bottom_up, "forward", BACKBONE),
        *((output, "forward", SECOND_STEP) for output in outputs),
    )


def _authors_variant(model: SRN) -> Variant:
    authors = AuthorsSRN(model.to(memory_format=torch.contiguous_format))  # torch's default
    stages = (
        *_pyramid_stages(model),
        (authors, "first_step", FIRST_STEP),
        (authors, "second_step", SECOND_STEP),
    )
    return Variant(AUTHORS, authors.detect, stages, POSTPROCESSING, authors)


def _retinanet_variant(model: nn.Module, images: ImageList) -> Variant:
    @torch.no_grad()
    def run(images: ImageList) -> list[Instances]:
        # Its pyramid needs multiples of 32 pixels, SRN's does not.
        padded = ImageList.from_tensors(list(images.tensor), model.backbone.size_divisibility)
        maps = model.backbone(padded.tensor)
        features = [maps[name] for name in model.head_in_features]
        return model.forward_inference(images, features, model.head(features))

    calibrate(model.head.cls_score, model.head.bbox_pred, lambda: run(images))
    stages = (
        (model.backbone, "forward", FPN),
        (model.backbone.bottom_up, "forward", BACKBONE),
        (model.head, "forward", SECOND_STEP),  # its only step
    )
    return Variant(RETINANET, run, stages, POSTPROCESSING)


def build_retinanet(cfg: CfgNode) -> nn.Module:
    """Detectron2's RetinaNet, random weights, with the anchors and the six levels of an SRN.

    Args:
        cfg: the SRN; ResNet's depth, the pyramid's channels and the anchors are taken from it
            (exact ones, where it has the released code's rounded ones).
    """
    cfg = cfg.clone()  # its nodes become the other's
    retinanet = get_cfg()
    retinanet.MODEL.META_ARCHITECTURE = "RetinaNet"
    retinanet.MODEL.WEIGHTS = ""
    for key in ("DEVICE", "PIXEL_MEAN", "PIXEL_STD", "RESNETS", "FPN", "ANCHOR_GENERATOR"):
        retinanet.MODEL[key] = cfg.MODEL[key]
    retinanet.MODEL.ANCHOR_GENERATOR.NAME = "DefaultAnchorGenerator"
    retinanet.MODEL.BACKBONE.NAME = "build_retinanet_resnet_fpn_backbone"
    retinanet.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    retinanet.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    retinanet.MODEL.RETINANET.IN_FEATURES = list(LEVELS)
    retinanet.MODEL.RETINANET.NUM_CLASSES = 1
    retinanet.TEST.DETECTIONS_PER_IMAGE = cfg.TEST.DETECTIONS_PER_IMAGE
    return build_model(retinanet).eval()


@torch.no_grad()
def calibrate(cls_score: nn.Conv2d, bbox_pred: nn.Conv2d, run: Callable[[], object]) -> None:
    """Scale a head's prediction layers so that logits and deltas have typical magnitudes.

    A random ResNet without normalisation statistics has activations of some hundreds: all scores
    would be 0 or 1, and post-processing would get no candidates, or far too many.

    Args:
        run: calls the network; the last predictions are the second step's of all levels.
    """
    for conv, mean, std in ((cls_score, LOGIT_MEAN, LOGIT_STD), (bbox_pred, 0.0, DELTA_STD)):
        seen: list[Tensor] = []
        hook = conv.register_forward_hook(lambda _, __, y, seen=seen: seen.append(y.flatten()))
        run()
        hook.remove()
        values = torch.cat(seen[-len(LEVELS) :]).float()
        scale = std / values.std().clamp(min=torch.finfo(values.dtype).tiny)
        conv.weight.mul_(scale)
        conv.bias.sub_(values.mean()).mul_(scale).add_(mean)
