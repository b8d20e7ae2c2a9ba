"""The detector: losses in training and detections in inference from the head's predictions.

Shapes: N images · A anchors of a cell · Rl = Hl * Wl * A anchors of a level · R their sum
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_anchor_generator, build_backbone
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from srn_d2.bfloat16 import resolve_cpu_bfloat16, warn_if_emulated

from .backbone import SRNFPN
from .criterion import SRNCriterion, loss_normalizers
from .level_selection import LEVELS
from .postprocessing import Postprocessing, build_postprocessing
from .second_step_training import SecondStepTraining
from .selective_inference import SecondStep
from .srn_head import SRNHead, SRNPredictions, cat_levels, flatten_scores
from .step_scalars import log_step_scalars
from .target_assignment import (
    FACE,
    IGNORED,
    StepTargets,
    build_matcher,
    ignore_mask,
    keep_mask,
    level_mask,
    refine_anchors,
    stc_keep_mask,
    two_step_targets,
)

FirstStep = Callable[
    [Tensor, Sequence[str]], tuple[dict[str, Tensor], list[Tensor | None], list[Tensor | None]]
]
"""See ``SRN.compute_first_step``."""


@META_ARCH_REGISTRY.register()
class SRN(DenseDetector):
    """Selective Refinement Network (AAAI 2019).

    The first step classifies the anchors of the fine levels (STC), which filters easy negatives
    from the second step, and regresses those of the coarse levels (STR), which gives the second
    step better anchors. With neither it is a one-step RetinaNet.

    Input and output are those of :class:`DenseDetector`. Training instances have ``gt_boxes``
    and, if some are ignore regions, ``gt_ignore`` (bool). Losses are ``loss_cls_s1``,
    ``loss_box_s1``, ``loss_cls_s2`` and ``loss_box_s2``, the first two only where a level takes
    that step. Detections have class 0 and are sorted by score.

    Args:
        backbone: returns the maps named by ``head.level_selection.features``.
        head: predicts both steps.
        anchor_generator: anchors of the levels p2 .. p7.
        transform: between boxes and deltas.
        matchers: from ``build_matcher``, for the first step, the second, and the second on refined
            anchors.
        criterion: the losses.
        first_step_loss_weight: factor of the first step's losses.
        stc_threshold: theta of STC in training, see ``stc_keep_mask``.
        stc_threshold_test: the same in inference.
        second_step_training: prepares the second step in training.
        second_step: computes the second step in inference, see :class:`SecondStep`.
        postprocessing: from the second step's predictions to detections.
        cpu_bfloat16: on a CPU, run network and losses under bfloat16 autocast (the losses
            themselves stay in float32), in training and in inference.
        test_bfloat16: on any device, run the network under bfloat16 autocast in inference.
        pixel_mean, pixel_std: mean and standard deviation of the input, RGB, in [0, 255].
    """

    @configurable
    def __init__(
        self,
        *,
        backbone: SRNFPN,
        head: SRNHead,
        anchor_generator: nn.Module,
        transform: Box2BoxTransform,
        matchers: Sequence[Matcher],
        criterion: SRNCriterion,
        first_step_loss_weight: float,
        stc_threshold: float,
        stc_threshold_test: float,
        second_step_training: SecondStepTraining,
        second_step: str,
        postprocessing: Postprocessing,
        cpu_bfloat16: bool,
        test_bfloat16: bool,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
    ):
        super().__init__(
            backbone,
            head,
            list(head.level_selection.features),
            pixel_mean=pixel_mean,
            pixel_std=pixel_std,
        )
        self.anchor_generator = anchor_generator
        self.transform = transform
        self.matchers = list(matchers)
        self.criterion = criterion
        self.first_step_loss_weight = first_step_loss_weight
        self.stc_threshold = stc_threshold
        self.stc_threshold_test = stc_threshold_test
        self.second_step_training = second_step_training
        self.second_step = SecondStep(second_step)
        self.postprocessing = postprocessing
        self.cpu_bfloat16 = cpu_bfloat16
        self.test_bfloat16 = test_bfloat16
        # The same function in another runtime, for inference; None: compute_first_step.
        self.first_step: FirstStep | None = None
        # Faster convolutions, with output maps in channels_last, too.
        self.to(memory_format=torch.channels_last)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        srn = cfg.MODEL.SRN
        device_type = torch.device(cfg.MODEL.DEVICE).type
        cpu_bfloat16 = resolve_cpu_bfloat16(cfg.SOLVER.CPU_BFLOAT16)
        if cfg.TEST.BFLOAT16 or (cpu_bfloat16 and device_type == "cpu"):
            warn_if_emulated(device_type)
        backbone = build_backbone(cfg)
        shapes = backbone.output_shape()
        transform = Box2BoxTransform(
            weights=tuple(srn.BBOX_REG_WEIGHTS), scale_clamp=srn.BBOX_REG_SCALE_CLAMP
        )
        return {
            "backbone": backbone,
            "head": SRNHead(cfg, shapes),
            "anchor_generator": build_anchor_generator(cfg, [shapes[level] for level in LEVELS]),
            "transform": transform,
            "matchers": [
                build_matcher(srn.FIRST_STEP_IOU_THRESHOLDS),
                build_matcher(srn.SECOND_STEP_IOU_THRESHOLDS),
                build_matcher(srn.REFINED_IOU_THRESHOLDS or srn.SECOND_STEP_IOU_THRESHOLDS),
            ],
            "criterion": SRNCriterion.from_config(cfg, transform),
            "first_step_loss_weight": srn.FIRST_STEP_LOSS_WEIGHT,
            "stc_threshold": srn.STC_THRESHOLD,
            "stc_threshold_test": test_stc_threshold(cfg),
            "second_step_training": SecondStepTraining.from_config(cfg),
            "second_step": srn.SECOND_STEP,
            "postprocessing": build_postprocessing(cfg, transform),
            "cpu_bfloat16": cpu_bfloat16,
            "test_bfloat16": cfg.TEST.BFLOAT16,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
        }

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        if self.training:
            with self._autocast():
                return super().forward(batched_inputs)
        images = self.preprocess_image(batched_inputs)
        outputs = []
        for instances, x in zip(self.detect(images), batched_inputs, strict=True):
            height, width = instances.image_size
            output_size = x.get("height", height), x.get("width", width)
            outputs.append({"instances": detector_postprocess(instances, *output_size)})
        return outputs

    def forward_training(
        self,
        images: ImageList,
        features: list[Tensor],
        predictions: SRNPredictions,
        gt_instances: list[Instances],
    ) -> dict[str, Tensor]:
        anchors = self._anchors(features)
        predictions = predictions.flatten()
        with torch.autocast(self.device.type, enabled=False):
            options = self.second_step_training
            stc_masks = options.stc_masks(self._stc_masks(predictions.scores_s1))
            keep = keep_mask(anchors, stc_masks, len(images))
            moving = options.moving_deltas(predictions.deltas_s1)
            refined = refine_anchors(anchors, moving, self.transform, len(images))
            omega_stc = level_mask(anchors, predictions.scores_s1)
            omega_str = level_mask(anchors, predictions.deltas_s1)
            step1, step2, regular_labels = two_step_targets(
                torch.cat(anchors),
                torch.cat(refined, dim=1),
                level_mask(anchors, moving),
                [instances.gt_boxes.tensor for instances in gt_instances],
                [ignore_mask(instances) for instances in gt_instances],
                self.matchers,
                refined_labels=options.labels == "refined",
            )
            step1 = step1.select(omega_stc | omega_str)
            phi = step2._replace(labels=step2.labels.masked_fill(~keep, IGNORED))
            log_step_scalars(step1, step2, phi, keep[:, omega_stc])
            norms = loss_normalizers(
                [step1.count(FACE), options.num_positives(phi, regular_labels, keep)]
            )
            return self._losses(predictions, step1, omega_stc, omega_str, phi, norms)

    def _losses(
        self,
        predictions: SRNPredictions,
        step1: StepTargets,
        omega_stc: Tensor,
        omega_str: Tensor,
        phi: StepTargets,
        norms: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """L_STC and L_STR of the paper's section 3.5, term by term.

        Args:
            step1: targets of the anchors in ``omega_stc | omega_str``.
            omega_stc, omega_str: (R,) bool, the anchors of STC and of STR levels.
            phi: targets of the second step; anchors filtered by the first step are IGNORED.
            norms: both steps' normalisers, from ``loss_normalizers``.
        """
        norm_s1, norm_s2 = norms
        weight_s1 = self.first_step_loss_weight
        first_step = omega_stc | omega_str
        losses = {}
        if any(scores is not None for scores in predictions.scores_s1):
            scores = cat_levels(predictions.scores_s1)
            targets = step1.select(omega_stc[first_step])
            loss = self.criterion.classification_loss(scores, targets, norm_s1)
            losses["loss_cls_s1"] = weight_s1 * loss
        if any(deltas is not None for deltas in predictions.deltas_s1):
            deltas = cat_levels(predictions.deltas_s1)
            targets = step1.select(omega_str[first_step])
            loss = self.criterion.box_loss(deltas, targets, norm_s1)
            losses["loss_box_s1"] = weight_s1 * loss
        scores, deltas = cat_levels(predictions.scores_s2), cat_levels(predictions.deltas_s2)
        losses["loss_cls_s2"] = self.criterion.detection_loss(scores, deltas, phi, norm_s2)
        losses["loss_box_s2"] = self.criterion.box_loss(deltas, phi, norm_s2)
        return losses

    @torch.no_grad()
    def detect(self, images: ImageList) -> list[Instances]:
        """The detections of each image of a batch, by descending score.

        Args:
            images: normalised and padded, from ``preprocess_image``.

        Returns:
            Instances of the size of each image of the batch, in its pixels, with ``pred_boxes``
            (not clipped to the image), ``scores`` and ``pred_classes``.
        """
        with self._autocast():
            unfinished = self.second_step.unfinished_levels(self.backbone, self.head)
            first_step = self.first_step or self.compute_first_step
            maps, scores_s1, deltas_s1 = first_step(images.tensor, unfinished)
            stc_masks = self._stc_masks(scores_s1)
            survivors = [None if mask is None else mask.any(dim=1) for mask in stc_masks]
            plan = self.second_step.plan(self.head, survivors, unfinished)
            scores_s2, deltas_s2 = self.second_step(self.backbone, self.head, maps, plan)
            predictions = SRNPredictions(scores_s1, deltas_s1, scores_s2, deltas_s2)
            # Only the sizes of the maps are used from here on.
            features = [maps[level] for level in LEVELS]
            return self.forward_inference(images, features, predictions, stc_masks)

    def compute_first_step(
        self, x: Tensor, unfinished: Sequence[str]
    ) -> tuple[dict[str, Tensor], list[Tensor | None], list[Tensor | None]]:
        """The pyramid's maps, and the first step's scores and deltas.

        Args:
            x: (N, 3, H, W), normalised and padded.
            unfinished: levels whose output convolution is left to the second step.

        Returns:
            maps (at least p2 .. p7), and scores and deltas in the layout of ``SRNPredictions``.
        """
        maps = self.backbone(x, unfinished)
        return maps, *self.head.first_step(maps)

    @torch.no_grad()
    def forward_inference(
        self,
        images: ImageList,
        features: list[Tensor],
        predictions: SRNPredictions,
        stc_masks: list[Tensor | None] | None = None,
    ) -> list[Instances]:
        """Detections in the format of :meth:`detect`, from the head's maps.

        Args:
            stc_masks: from ``_stc_masks(predictions.scores_s1)``; None: computed here.
        """
        if stc_masks is None:
            stc_masks = self._stc_masks(predictions.scores_s1)
        anchors = self._anchors(features)
        predictions = predictions.flatten()
        keep = keep_mask(anchors, flatten_scores(stc_masks), len(images))
        refined = refine_anchors(anchors, predictions.deltas_s1, self.transform, len(images))
        per_image = zip(
            cat_levels(predictions.scores_s2).float().sigmoid().masked_fill(~keep, -1.0),
            cat_levels(predictions.deltas_s2),
            torch.cat(refined, dim=1),
            images.image_sizes,
            strict=True,
        )
        level_cells = [x.shape[-2] * x.shape[-1] for x in features[-len(LEVELS) :]]
        return [
            self.postprocessing(scores, deltas, boxes, level_cells, size)
            for scores, deltas, boxes, size in per_image
        ]

    def _autocast(self) -> AbstractContextManager:
        """Autocast context of the network: bfloat16 if configured, else the caller's."""
        on_cpu = self.device.type == "cpu"
        if (self.cpu_bfloat16 and on_cpu) or (self.test_bfloat16 and not self.training):
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def _anchors(self, features: list[Tensor]) -> list[Tensor]:
        """Anchors of the levels p2 .. p7: per level (Rl, 4)."""
        return [boxes.tensor for boxes in self.anchor_generator(features[-len(LEVELS) :])]

    def _stc_masks(self, scores_s1: list[Tensor | None]) -> list[Tensor | None]:
        """Per level, mask of the anchors kept by STC, of the logits' shape; None without STC."""
        threshold = self.stc_threshold if self.training else self.stc_threshold_test
        return [None if x is None else stc_keep_mask(x, threshold) for x in scores_s1]


def test_stc_threshold(cfg: CfgNode) -> float:
    """Theta of STC in inference: MODEL.SRN.STC_THRESHOLD_TEST, or training's where that is 0."""
    return cfg.MODEL.SRN.STC_THRESHOLD_TEST or cfg.MODEL.SRN.STC_THRESHOLD
