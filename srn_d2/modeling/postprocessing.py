"""Post-processing of the second step's predictions, by the paper and by the released code.

Shapes: R anchors of an image, all levels one after the other
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from detectron2.config import CfgNode
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import Boxes, Instances
from torch import Tensor
from torchvision.ops import nms

FEW_CELLS = 120
"""A level with fewer cells has no score threshold in the released code."""

SCORE_SIZE_REFERENCE = 16.0
"""Size in pixels of a box whose score :func:`scores_by_size` leaves as it is."""
SCORE_SIZE_LIMITS = (8.0, 48.0)
"""Sizes in pixels beyond which scores do not change any further. Chosen, as the 0.3 of ``lite``, by
AP on two lists of WIDER FACE's validation images (docs/experiments.md)."""
MAX_SIZE_EXPONENT = 10.0
"""Largest exponent of :func:`scores_by_size`; far above it powers leave float32."""
MAX_SIDE = 1e6
"""Pixels to which sides are limited for the size: infinity times 0 would be no number."""


@dataclass(frozen=True)
class Postprocessing(ABC):
    """Choose candidates by score, decode them, change their scores by size if asked for, remove
    duplicates by NMS, keep the best.

    Attributes:
        transform: between boxes and deltas.
        score_threshold: candidates have a score of the network above it.
        topk_candidates: maximum number of candidates passed to NMS.
        nms_threshold: IoU above which NMS removes the weaker box.
        max_detections: maximum number of detections of an image.
        voting_ious: see :func:`vote_kept_boxes`; (): no voting.
        size_exponent: see :func:`scores_by_size`; 0: scores are the network's.
    """

    transform: Box2BoxTransform
    score_threshold: float
    topk_candidates: int
    nms_threshold: float
    max_detections: int
    voting_ious: tuple[float, ...] = ()
    size_exponent: float = 0.0

    def __call__(
        self,
        scores: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        level_cells: Sequence[int],
        image_size: tuple[int, int],
    ) -> Instances:
        """Detections of one image, by descending score. Boxes are not clipped to the image.

        Args:
            scores: (R,) probability of "face"; negative where STC removed the anchor.
            deltas: (R, 4), deltas of the second step.
            anchors: (R, 4), anchors that the deltas refer to.
            level_cells: height x width of each level's map, finest level first.
            image_size: (height, width).
        """
        chosen = self._candidates(scores, level_cells)
        scores = scores[chosen]
        boxes = self.transform.apply_deltas(deltas[chosen], anchors[chosen])
        if self.size_exponent:
            scores = scores_by_size(boxes, scores, self.size_exponent)
        kept = self._nms(boxes, scores)[: self.max_detections]
        detected = boxes[kept]
        if self.voting_ious:
            detected = vote_kept_boxes(detected, boxes, scores, self.voting_ious)
        return Instances(
            image_size,
            pred_boxes=Boxes(detected),
            scores=scores[kept],
            pred_classes=torch.zeros_like(kept),
        )

    @abstractmethod
    def _candidates(self, scores: Tensor, level_cells: Sequence[int]) -> Tensor:
        """Indices (C,) of the anchors to decode."""

    @abstractmethod
    def _nms(self, boxes: Tensor, scores: Tensor) -> Tensor:
        """Indices of the boxes kept by NMS, by descending score."""


class PaperPostprocessing(Postprocessing):
    """The best candidates of all levels together, NMS (paper section 3.5, inference)."""

    def _candidates(self, scores: Tensor, level_cells: Sequence[int]) -> Tensor:
        scores, chosen = scores.topk(min(self.topk_candidates, len(scores)))
        return chosen[scores > self.score_threshold]

    def _nms(self, boxes: Tensor, scores: Tensor) -> Tensor:
        return nms(boxes, scores, self.nms_threshold)


class ReleasedPostprocessing(Postprocessing):
    """The best candidates of each level, and NMS with boxes that include their last pixel.

    Levels of few cells have no score threshold.

    Source: the authors' released test code.
    """

    def _candidates(self, scores: Tensor, level_cells: Sequence[int]) -> Tensor:
        anchors_per_cell = len(scores) // sum(level_cells)
        chosen, start = [], 0
        for cells in level_cells:
            level_scores = scores[start : start + cells * anchors_per_cell]
            threshold = self.score_threshold if cells >= FEW_CELLS else 0.0
            best, index = level_scores.topk(min(self.topk_candidates, len(level_scores)))
            chosen.append(start + index[best > threshold])
            start += len(level_scores)
        return torch.cat(chosen)

    def _nms(self, boxes: Tensor, scores: Tensor) -> Tensor:
        return inclusive_nms(boxes, scores, self.nms_threshold)


def build_postprocessing(cfg: CfgNode, transform: Box2BoxTransform) -> Postprocessing:
    """The post-processing that MODEL.SRN.POSTPROCESSING names.

    Raises:
        ValueError: for an unknown name.
    """
    srn = cfg.MODEL.SRN
    if srn.POSTPROCESSING not in POSTPROCESSINGS:
        raise ValueError(
            f"MODEL.SRN.POSTPROCESSING is {srn.POSTPROCESSING!r}; valid are {list(POSTPROCESSINGS)}"
        )
    return POSTPROCESSINGS[srn.POSTPROCESSING](
        transform=transform,
        score_threshold=srn.SCORE_THRESH_TEST,
        topk_candidates=srn.TOPK_CANDIDATES_TEST,
        nms_threshold=srn.NMS_THRESH_TEST,
        max_detections=cfg.TEST.DETECTIONS_PER_IMAGE,
        voting_ious=_voting_ious(srn.BOX_VOTING_IOUS_TEST),
        size_exponent=_size_exponent(srn.SCORE_SIZE_EXPONENT_TEST),
    )


def _voting_ious(values: Sequence[float]) -> tuple[float, ...]:
    """
    Raises:
        ValueError: neither nothing nor two ascending IoUs.
    """
    if len(values) == 0:
        return ()
    if len(values) != 2 or not 0 <= values[0] < values[1] <= 1:
        raise ValueError(
            f"MODEL.SRN.BOX_VOTING_IOUS_TEST is {values!r}; valid are [] and two ascending IoUs, "
            "such as [0.6, 0.8]"
        )
    return float(values[0]), float(values[1])


def _size_exponent(value: float) -> float:
    """
    Raises:
        ValueError: the number is not between 0 and ``MAX_SIZE_EXPONENT``.
    """
    if not 0 <= value <= MAX_SIZE_EXPONENT:
        raise ValueError(
            f"MODEL.SRN.SCORE_SIZE_EXPONENT_TEST is {value!r}, not between 0 and "
            f"{MAX_SIZE_EXPONENT:g}"
        )
    return float(value)


POSTPROCESSINGS: dict[str, type[Postprocessing]] = {
    "paper": PaperPostprocessing,
    "released": ReleasedPostprocessing,
}


def inclusive_nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """NMS by the IoU of boxes whose corners are their first and last pixels (width x2 - x1 + 1).

    Args:
        boxes: (C, 4) XYXY.
        scores: (C,).
        threshold: IoU above which the weaker box is dropped, compared in single precision.

    Returns:
        indices of the kept boxes, by descending score.
    """
    # On a CPU torchvision compares float32 IoUs with a float64 threshold: without rounding it
    # first, an IoU of just 0.4 would be above 0.4 there and not on CUDA nor in the released code.
    threshold = torch.tensor(threshold, dtype=torch.float32).item()
    return nms(include_last_pixel(boxes), scores, threshold)


def vote_kept_boxes(
    kept: Tensor, boxes: Tensor, scores: Tensor, voting_ious: Sequence[float]
) -> Tensor:
    """Box voting: the mean of the candidates around each box that NMS kept, weighted by score.

    The weight rises with the IoU instead of being cut off, so that rounding moves no box visibly.

    Source: Gidaris and Komodakis, ICCV 2015, section 5, with one threshold.

    Args:
        kept: (K, 4) XYXY, each one of the candidates.
        boxes: all candidates, (C, 4), or (K, C, 4) where they differ from box to box.
        scores: positive, or 0 for no candidate, (C,) or (K, C).
        voting_ious: IoUs with the kept box up to which a candidate has no weight, and from which it
            has its score as weight.

    Returns:
        (K, 4).
    """
    none, full = voting_ious
    # By single coordinates: OpenCV's dnn cannot reduce the last axis of no boxes in the graph.
    x1, y1, x2, y2 = boxes.unbind(-1)  # each (C,) or (K, C)
    left, top, right, bottom = kept[:, None].unbind(-1)  # each (K, 1)
    width = torch.minimum(x2, right) - torch.maximum(x1, left)
    height = torch.minimum(y2, bottom) - torch.maximum(y1, top)
    shared = width.clamp(min=0) * height.clamp(min=0)  # (K, C)
    areas = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top)
    tiny = torch.finfo(boxes.dtype).tiny
    iou = shared / (areas - shared).clamp(min=tiny)
    weights = scores * ((iou - none) / (full - none)).clamp(0, 1)
    total = weights.sum(dim=1).clamp(min=tiny)
    # No matrix product, which autocast would compute in bfloat16.
    moves = [
        torch.where(weights > 0, weights * (corner - own), 0).sum(dim=1) / total
        for corner, own in zip((x1, y1, x2, y2), (left, top, right, bottom), strict=True)
    ]
    return kept + torch.stack(moves, dim=1)


def scores_by_size(boxes: Tensor, scores: Tensor, exponent: float) -> Tensor:
    """Lower the scores of small boxes, and raise those of large ones.

    The odds s / (1 - s) of a score are multiplied by ``(size / SCORE_SIZE_REFERENCE) ** exponent``.
    The size is the square root of the box's area in pixels of the network's input, limited to
    ``SCORE_SIZE_LIMITS``. Boxes of one size keep their order. This adds to the logit a term of the
    size alone, as logit adjustment (Menon et al., ICLR 2021) adds one of the class alone.

    Args:
        boxes: (..., 4) XYXY, of width x2 - x1.
        scores: (...), each from 0 to 1.
        exponent: between 0 and ``MAX_SIZE_EXPONENT``.

    Returns:
        (...); 0 and 1 stay as they are.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    lower, upper = (limit**2 for limit in SCORE_SIZE_LIMITS)
    width, height = (x2 - x1).clamp(max=MAX_SIDE), (y2 - y1).clamp(max=MAX_SIDE)
    areas = (width * height).clamp(lower, upper)
    factors = (areas / SCORE_SIZE_REFERENCE**2) ** (exponent / 2)
    return scores * factors / (1 - scores + scores * factors)


def include_last_pixel(boxes: Tensor) -> Tensor:
    """Convert boxes (..., 4) of width x2 - x1 + 1 to boxes of width x2 - x1.

    Moving x2 and y2 by one pixel adds it to all widths, of boxes and of intersections.
    """
    return boxes + boxes.new_tensor([0, 0, 1, 1])
