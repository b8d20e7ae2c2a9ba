"""The detector as in the authors' released test code: the baseline of the benchmarks.

Shapes: N images · A anchors of a cell · Rl = Hl * Wl * A anchors of a level
"""

from collections.abc import Sequence

import numpy as np
import torch
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn
from torchvision.ops import nms

from srn_d2.modeling import LEVELS, RFE, SRN

# From the authors' released test code.
SCORE_THRESHOLD = 0.05
FEW_CELLS = 120  # a level with fewer has no score threshold
LEVEL_TOPK = 6000
NMS_THRESHOLD = 0.4
MAX_DETECTIONS = 750

Predictions = tuple[list[Tensor], list[Tensor]]
"""Logits (N, A, Hl, Wl) and deltas (N, A * 4, Hl, Wl), lists over p2 .. p7."""


class AuthorsSRN:
    """Both subnets in both steps on all six levels, then each level's candidates in NumPy.

    Half of the first step's predictions, scores of STR levels and deltas of STC levels, are
    discarded, as are the second step's for anchors filtered by the first. NMS is torchvision's,
    compiled, instead of NumPy: which one the authors timed is unknown, and this favours them.

    Args:
        model: its layers are used, in the plain order of the released code; its matching,
            criterion and post-processing are not.

    Raises:
        ValueError: if the model lacks the first step of some level.
    """

    def __init__(self, model: SRN):
        wanted = tuple(f"c{level[1:]}" for level in LEVELS)
        if model.head.level_selection.first_step_features != wanted:
            raise ValueError(
                "the authors' way takes a first step on every level; this model's has one on "
                f"{list(model.head.level_selection.first_step_levels)} only"
            )
        self.model = model

    @torch.no_grad()
    def detect(self, images: ImageList) -> list[Instances]:
        """As :meth:`srn_d2.modeling.SRN.detect`, but with the released code's numbers."""
        maps = self.model.backbone(images.tensor)
        first, second = self.first_step(maps), self.second_step(maps)
        generated = self.model.anchor_generator([maps[level] for level in LEVELS])
        anchors = [boxes.tensor.numpy(force=True) for boxes in generated]
        return [
            self._postprocess(index, anchors, first, second, size)
            for index, size in enumerate(images.image_sizes)
        ]

    def first_step(self, maps: dict[str, Tensor]) -> Predictions:
        """Predictions of the first step from the maps c2 .. c7."""
        return self._both_subnets([maps[f"c{level[1:]}"] for level in LEVELS])

    def second_step(self, maps: dict[str, Tensor]) -> Predictions:
        """Predictions of the second step from the maps p2 .. p7."""
        return self._both_subnets([maps[level] for level in LEVELS])

    def _both_subnets(self, features: Sequence[Tensor]) -> Predictions:
        head = self.model.head
        scores = [head.cls_score(_plain(head.cls_subnet, x)) for x in features]
        deltas = [head.bbox_pred(_plain(head.bbox_subnet, x)) for x in features]
        return scores, deltas

    def _postprocess(
        self,
        index: int,
        anchors: Sequence[np.ndarray],
        first: Predictions,
        second: Predictions,
        image_size: tuple[int, int],
    ) -> Instances:
        """Detections of the batch's image of this index, best first."""
        boxes, scores = [], []
        for level, start, *maps in zip(LEVELS, anchors, *first, *second, strict=True):
            scores_s1, deltas_s1, scores_s2, deltas_s2 = (
                _per_anchor(x[index], dims) for x, dims in zip(maps, (1, 4, 1, 4), strict=True)
            )
            probability = _sigmoid(scores_s2[:, 0])
            num_cells = maps[0].shape[-2] * maps[0].shape[-1]
            passed = probability > (SCORE_THRESHOLD if num_cells >= FEW_CELLS else 0.0)
            if self.model.head.level_selection.has_stc(level):
                theta = np.float32(self.model.stc_threshold_test)
                passed &= 1 - _sigmoid(scores_s1[:, 0]) <= theta
            if self.model.head.level_selection.has_str(level):
                start = self._decode(start, deltas_s1)
            chosen = np.flatnonzero(passed)
            chosen = chosen[np.argsort(-probability[chosen], kind="stable")][:LEVEL_TOPK]
            boxes.append(self._decode(start[chosen], deltas_s2[chosen]))
            scores.append(probability[chosen])
        boxes, scores = np.concatenate(boxes), np.concatenate(scores)
        kept = _inclusive_nms(boxes, scores)[:MAX_DETECTIONS]
        return Instances(
            image_size,
            pred_boxes=Boxes(torch.from_numpy(boxes[kept])),
            scores=torch.from_numpy(scores[kept]),
            pred_classes=torch.zeros(len(kept), dtype=torch.int64),
        )

    def _decode(self, boxes: np.ndarray, deltas: np.ndarray) -> np.ndarray:
        """Boxes (n, 4), XYXY, moved by deltas (n, 4)."""
        transform = self.model.transform
        dx, dy, dw, dh = (deltas / np.float32(transform.weights)).T
        dw, dh = np.minimum(dw, transform.scale_clamp), np.minimum(dh, transform.scale_clamp)
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        centre_x, centre_y = boxes[:, 0] + 0.5 * width, boxes[:, 1] + 0.5 * height
        centre_x, centre_y = centre_x + dx * width, centre_y + dy * height
        half_w, half_h = 0.5 * np.exp(dw) * width, 0.5 * np.exp(dh) * height
        corners = (centre_x - half_w, centre_y - half_h, centre_x + half_w, centre_y + half_h)
        return np.stack(corners, axis=1)


def _plain(subnet: nn.Sequential, x: Tensor) -> Tensor:
    """A subnet layer by layer, each convolution for itself and nothing in place."""
    for layer in subnet:
        if isinstance(layer, RFE):
            branches = [branch(x) for branch in layer.branches]
            x = x + layer.fuse(torch.cat(branches, dim=1))
        elif isinstance(layer, nn.ReLU):
            x = x.relu()
        else:
            x = layer(x)
    return x


def _per_anchor(x: Tensor, dims: int) -> np.ndarray:
    """(A * dims, H, W), anchor-major -> (H * W * A, dims)."""
    height, width = x.shape[-2:]
    x = x.numpy(force=True).reshape(-1, dims, height, width)  # (A, dims, H, W)
    return x.transpose(2, 3, 0, 1).reshape(-1, dims)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # exp overflows to inf, whose inverse is the right 0
        return 1 / (1 + np.exp(-x))


def _inclusive_nms(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Indices of (n, 4) boxes, both corner pixels included, that NMS leaves, best first."""
    wider = torch.from_numpy(boxes + np.float32([0, 0, 1, 1]))
    threshold = float(np.float32(NMS_THRESHOLD))  # float32's 0.4, as the overlaps are
    return nms(wider, torch.from_numpy(scores), threshold).numpy()
