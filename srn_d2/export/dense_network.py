"""SRN as a traceable function of a batch of pictures of any size.

The second step is dense. Padding, normalisation, anchors and decoding are part of the network.

Shapes: N images of H x W pixels · Rl anchors of a level · R their sum
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import nms

from srn_d2.modeling import LEVELS, SRN, SRNPredictions
from srn_d2.modeling.postprocessing import (
    FEW_CELLS,
    PaperPostprocessing,
    ReleasedPostprocessing,
    include_last_pixel,
    scores_by_size,
    vote_kept_boxes,
)
from srn_d2.modeling.target_assignment import refine_anchors, stc_keep_mask

from .flat_predictions import FlatPredictions


class DenseNetwork(nn.Module):
    """Network from pictures to the decoded box and the score of every anchor.

    Args:
        model: the detector, in evaluation mode.
        image_format: the order of channels that the model was trained with, "RGB" or "BGR". The
            pictures are RGB in any case.

    Shapes: uint8 (N, 3, H, W), RGB, any H and W -> boxes (N, R, 4), XYXY in pixels, not clipped to
    the image, and scores (N, R), 0 for anchors removed by the first step. Anchors are in the
    order p2 .. p7, of a level row by row, of a cell side by side.
    """

    def __init__(self, model: SRN, image_format: str = "RGB"):
        super().__init__()
        self.model = model
        self.image_format = image_format
        self.divisibility = max(model.backbone.size_divisibility, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.finish(self.flatten(self.predict(images)))

    def finish(self, predictions: FlatPredictions) -> tuple[Tensor, Tensor]:
        """The outputs, from the predictions of both steps."""
        boxes, scores = zip(*self.decode(predictions), strict=True)
        return torch.cat(boxes, dim=1), torch.cat(scores, dim=1)

    def predict(self, images: Tensor) -> SRNPredictions:
        """The predictions of both steps, as maps."""
        maps = self.model.backbone(self.preprocess(images))
        second_step = [maps[level] for level in LEVELS]
        return SRNPredictions(
            *self.model.head.first_step(maps),
            scores_s2=[self.model.head.scores(x) for x in second_step],
            deltas_s2=[self.model.head.deltas(x) for x in second_step],
        )

    def flatten(self, maps: SRNPredictions) -> FlatPredictions:
        """Predictions as maps to predictions by anchors."""
        threshold = self.model.stc_threshold_test
        flat = maps.flatten()
        return FlatPredictions(
            keep=[None if x is None else stc_keep_mask(x, threshold) for x in flat.scores_s1],
            deltas_s1=flat.deltas_s1,
            scores_s2=flat.scores_s2,
            deltas_s2=flat.deltas_s2,
            grids=maps.scores_s2,
        )

    def decode(self, predictions: FlatPredictions) -> list[tuple[Tensor, Tensor]]:
        """Boxes (N, Rl, 4) and scores (N, Rl) of each level."""
        model = self.model
        anchors = [boxes.tensor for boxes in model.anchor_generator(predictions.grids)]
        num_images = predictions.scores_s2[0].shape[0]
        refined = refine_anchors(anchors, predictions.deltas_s1, model.transform, num_images)
        return [
            (self._decode(deltas, boxes), self._scores(keep, logits))
            for deltas, boxes, keep, logits in zip(
                predictions.deltas_s2,
                refined,
                predictions.keep,
                predictions.scores_s2,
                strict=True,
            )
        ]

    def preprocess(self, images: Tensor) -> Tensor:
        """Pictures normalised and padded, float32."""
        if self.image_format == "BGR":
            images = images.flip(1)
        x = (images.float() - self.model.pixel_mean) / self.model.pixel_std
        if self.divisibility == 1:
            return x
        height, width = x.shape[-2:]
        return F.pad(x, (0, -width % self.divisibility, 0, -height % self.divisibility))

    def _decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """(N, Rl, 4), (N, Rl, 4) -> (N, Rl, 4)"""
        flat = self.model.transform.apply_deltas(deltas.reshape(-1, 4), anchors.reshape(-1, 4))
        return flat.reshape(deltas.shape)

    def _scores(self, keep: Tensor | None, logits: Tensor) -> Tensor:
        """(N, Rl) -> (N, Rl), 0 where the first step does not keep the anchor."""
        scores = logits.sigmoid()
        return scores if keep is None else scores * keep


class DetectionNetwork(nn.Module):
    """The dense network and its post-processing: from pictures to detections.

    Candidates and IoU threshold of NMS are those of the model's post-processing. Ties go to the
    first anchor.

    Args:
        dense: the network.
        score_threshold: detections have a score above it, in addition to the model's threshold.

    Shapes: uint8 (N, 3, H, W) -> boxes (n, 4), scores (n,) and image indices (n,) int64 of all
    images of the batch: those of the first image, by descending score, then of the second, ...

    Raises:
        ValueError: the model's post-processing is of neither known kind.
    """

    def __init__(self, dense: DenseNetwork, score_threshold: float = 0.0):
        super().__init__()
        self.dense, self.model = dense, dense.model
        self.rules = dense.model.postprocessing
        self.score_threshold = score_threshold
        if not isinstance(self.rules, (PaperPostprocessing, ReleasedPostprocessing)):
            raise ValueError(f"{type(self.rules).__name__} cannot be exported")
        self.is_released = isinstance(self.rules, ReleasedPostprocessing)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.finish(self.dense.flatten(self.dense.predict(images)))

    def finish(self, predictions: FlatPredictions) -> tuple[Tensor, Tensor, Tensor]:
        """The outputs, from the predictions of both steps."""
        boxes, scores = self._candidates(self.dense.decode(predictions))
        wide = include_last_pixel(boxes) if self.is_released else boxes
        chosen = BatchedNms.apply(
            wide,
            scores,
            self.rules.nms_threshold,
            self.score_threshold,
            self.rules.max_detections,
        )
        image, candidate = chosen[:, 0], chosen[:, 2]
        flat = image * scores.shape[1] + candidate
        kept = boxes.reshape(-1, 4)[flat]
        if self.rules.voting_ious:
            kept = vote_kept_boxes(kept, boxes[image], scores[image], self.rules.voting_ious)
        return kept, scores.reshape(-1)[flat], image

    def _candidates(self, levels: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Boxes (N, C, 4) and scores (N, C) of the most confident anchors, 0 if below threshold."""
        if self.is_released:
            chosen = [self._best(*level, has_few_cells=True) for level in levels]
        else:
            boxes, scores = (torch.cat(values, dim=1) for values in zip(*levels, strict=True))
            chosen = [self._best(boxes, scores, has_few_cells=False)]
        boxes, scores = (torch.cat(values, dim=1) for values in zip(*chosen, strict=True))
        if self.rules.size_exponent:
            scores = scores_by_size(boxes, scores, self.rules.size_exponent)
        return boxes, scores

    def _best(self, boxes: Tensor, scores: Tensor, has_few_cells: bool) -> tuple[Tensor, Tensor]:
        """Select the anchors of the highest scores.

        Args:
            has_few_cells: whether levels of fewer than ``FEW_CELLS`` cells have no threshold.
        """
        # Computed from tensors: a trace would keep Python numbers of its example as constants.
        total = torch.ones_like(scores[0], dtype=torch.int64).sum()
        best, index = scores.topk(total.clamp(max=self.rules.topk_candidates))
        threshold = torch.full_like(total, self.rules.score_threshold, dtype=torch.float32)
        if has_few_cells:
            num_cells = total / self.dense.model.anchor_generator.num_anchors[0]
            threshold = torch.where(num_cells < FEW_CELLS, torch.zeros_like(threshold), threshold)
        best = best * (best > threshold)
        return boxes.gather(1, index[:, :, None].expand(-1, -1, 4)), best


class BatchedNms(torch.autograd.Function):
    """NMS of each image of a batch, ONNX' NonMaxSuppression.

    Boxes (N, C, 4) and scores (N, C) -> selected indices (n, 3) int64: image, 0 (the class) and
    candidate. A candidate is dropped if its IoU with a better one, in float32, is above the
    threshold, or if its score is not above ``score_threshold``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        boxes: Tensor,
        scores: Tensor,
        nms_threshold: float,
        score_threshold: float,
        max_detections: int,
    ) -> Tensor:
        nms_threshold = torch.tensor(nms_threshold, dtype=torch.float32).item()
        selected = []
        for image, (image_boxes, image_scores) in enumerate(zip(boxes, scores, strict=True)):
            above = (image_scores > score_threshold).nonzero().squeeze(1)
            kept = above[nms(image_boxes[above], image_scores[above], nms_threshold)]
            kept = kept[:max_detections]
            columns = (torch.full_like(kept, image), torch.zeros_like(kept), kept)
            selected.append(torch.stack(columns, dim=1))
        return torch.cat(selected)

    @staticmethod
    def symbolic(
        g: Any,
        boxes: Any,
        scores: Any,
        nms_threshold: float,
        score_threshold: float,
        max_detections: int,
    ) -> Any:
        def constant(value: object, dtype: torch.dtype) -> Any:
            return g.op("Constant", value_t=torch.tensor([value], dtype=dtype))

        return g.op(
            "NonMaxSuppression",
            boxes,
            g.op("Unsqueeze", scores, constant(1, torch.int64)),  # (N, C) -> (N, classes, C)
            constant(max_detections, torch.int64),
            constant(nms_threshold, torch.float32),
            constant(score_threshold, torch.float32),
        )
