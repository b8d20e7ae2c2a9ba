"""SRN up to the candidates of NMS: an exported graph that decodes no other anchors.

Shapes: N images · A anchors of a cell · R anchors of an image, all levels one after the other
        K candidates of an image, min(R, the post-processing's ``topk_candidates``)
"""

import torch
from torch import Tensor, nn

from srn_d2.modeling.postprocessing import PaperPostprocessing

from .dense_network import DenseNetwork, DetectionNetwork
from .flat_predictions import FlatPredictions
from .tracing import NotExportableError


class CandidateNetwork(nn.Module):
    """The dense network, with the outputs of the best anchors only: those that NMS gets.

    Which anchors these are, the scores tell, so only they are decoded, and the anchors themselves
    are computed from their numbers.

    Args:
        dense: the network.

    Shapes: uint8 (N, 3, H, W) -> boxes (N, K, 4) and scores (N, K) as ``DenseNetwork`` has them, by
        descending score, ties in the order of the anchors. Fewer than K anchors of an image may
        have a score above the model's threshold; an anchor without a score has 0.

    Raises:
        NotExportableError: the model's post-processing chooses other candidates than the best
            anchors of an image.
    """

    def __init__(self, dense: DenseNetwork):
        super().__init__()
        self.dense, self.model = dense, dense.model
        rules = dense.model.postprocessing
        if not isinstance(rules, PaperPostprocessing):
            raise NotExportableError(
                "only MODEL.SRN.POSTPROCESSING 'paper' has one list of candidates for all levels"
            )
        self.topk_candidates = rules.topk_candidates
        self._read_anchors()

    def _read_anchors(self) -> None:
        """The cells' anchors as tables: centres and sizes (levels * A, 2), strides (levels, 1)."""
        generator = self.model.anchor_generator
        [self.num_anchors] = set(generator.num_anchors)
        num_levels = len(generator.num_anchors)
        first = generator([torch.zeros(1, 1, 1, 1)] * num_levels)
        corners = torch.cat([boxes.tensor for boxes in first])
        self.centres = (corners[:, :2] + corners[:, 2:]) / 2
        self.sizes = corners[:, 2:] - corners[:, :2]
        self.strides = torch.tensor(generator.strides, dtype=torch.float32)[:, None]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.finish(self.dense.flatten(self.dense.predict(images)))

    def finish(self, predictions: FlatPredictions) -> tuple[Tensor, Tensor]:
        """The outputs, from the predictions of both steps."""
        scores = torch.cat(
            [
                logits.sigmoid() if keep is None else torch.where(keep, logits.sigmoid(), 0.0)
                for logits, keep in zip(predictions.scores_s2, predictions.keep, strict=True)
            ],
            dim=1,
        )
        # From tensors: a trace would keep Python numbers of its example as constants.
        total = torch._shape_as_tensor(scores)[1]
        scores, index = scores.topk(total.clamp(max=self.topk_candidates))
        centres, sizes = self._anchors(index, predictions.grids)
        deltas_s1 = predictions.deltas_s1
        if any(deltas is not None for deltas in deltas_s1):
            # Deltas of 0 leave an anchor as it is.
            levels = [
                torch.zeros_like(second) if first is None else first
                for first, second in zip(deltas_s1, predictions.deltas_s2, strict=True)
            ]
            centres, sizes = self._move(centres, sizes, _rows(levels, index))
        centres, sizes = self._move(centres, sizes, _rows(predictions.deltas_s2, index))
        reach = sizes / 2
        return torch.cat([centres - reach, centres + reach], dim=-1), scores

    def _anchors(self, index: Tensor, grids: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Centres and sizes (N, K, 2), as (x, y), of the anchors of these numbers (N, K)."""
        shapes = torch.cat([torch._shape_as_tensor(grid)[-2:] for grid in grids]).reshape(-1, 2)
        widths = shapes[:, 1]
        num_anchors = shapes[:, 0] * widths * self.num_anchors
        ends = num_anchors.cumsum(0)
        level = (index[..., None] >= ends[:-1]).sum(-1)
        number = index - (ends - num_anchors)[level]  # within the level
        cell = _divide(number, self.num_anchors)
        row = _divide(cell, widths[level])
        shift = torch.stack([cell - row * widths[level], row], dim=-1) * self.strides[level]
        of_cell = number + (level - cell) * self.num_anchors
        return self.centres[of_cell] + shift, self.sizes[of_cell]

    def _move(self, centres: Tensor, sizes: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor]:
        """``Box2BoxTransform.apply_deltas`` in centres and sizes, each (N, K, 2)."""
        transform = self.model.transform
        if any(weight != 1 for weight in transform.weights):
            deltas = deltas / torch.tensor(transform.weights)
        growth = deltas[..., 2:].clamp(max=transform.scale_clamp).exp()
        return centres + deltas[..., :2] * sizes, sizes * growth


ExportedNetwork = DenseNetwork | DetectionNetwork | CandidateNetwork
"""The networks that differ in what they make of the predictions, by their ``finish``."""


def _rows(levels: list[Tensor], index: Tensor) -> Tensor:
    """Rows of (N, Rl, 4), all levels one after the other: (N, K) -> (N, K, 4)."""
    return torch.cat(levels, dim=1).gather(1, index[:, :, None].expand(-1, -1, 4))


def _divide(a: Tensor, b: Tensor | int) -> Tensor:
    """Quotient of integers that are not negative, rounded down."""
    return torch.div(a, b, rounding_mode="trunc")
