"""The second step on one level, at the cells of surviving anchors only, in traceable operations.

The same computation as ``srn_d2.modeling.cell_lists``, without what a trace cannot express: sizes
as Python numbers, and lists that are split by their length.

Shapes: N images · C channels · A anchors of a cell · n cells of a set
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srn_d2.modeling.srn_head import SRNHead

from .flat_predictions import reshape

REACH = 1
"""Distance in cells that a 3x3 kernel reaches."""


def can_be_sparse(head: SRNHead) -> bool:
    """Tell whether :class:`SparseHead` can compute a head: without RFE."""
    return all(
        isinstance(layer, nn.ReLU)
        or (isinstance(layer, nn.Conv2d) and layer.kernel_size in ((1, 1), (3, 3)))
        for layer in (*head.cls_subnet, *head.bbox_subnet)
    )


def num_spatial_layers(head: SRNHead) -> int:
    """Number of 3x3 convolutions of each subnet, one after the other."""
    return sum(_is_spatial(layer) for layer in head.cls_subnet)


class SparseHead(nn.Module):
    """``SRNHead.scores`` and ``deltas`` of a map, by anchors, at chosen cells.

    Args:
        head: of which :func:`can_be_sparse` is true.
        output: the pyramid's output convolution of the level, if the map comes without it; without
            normalisation.

    Shapes: map (N, H, W, C) and survivors (N, 1, H, W), float, 1 at a chosen cell and else 0 ->
    scores (N, H * W * A) and deltas (N, H * W * A, 4), both 0 at other cells.
    """

    def __init__(self, head: SRNHead, output: nn.Conv2d | None = None):
        super().__init__()
        self.head, self.output = head, output

    def forward(self, x: Tensor, survivors: Tensor) -> tuple[Tensor, Tensor]:
        masks = [survivors]
        for _ in range(num_spatial_layers(self.head) + (self.output is not None)):
            masks.insert(0, F.max_pool2d(masks[0], 3, 1, 1))
        # Rows of cells around each map: neighbours have the same offsets everywhere.
        canvases = [F.pad(mask, (REACH, REACH, REACH, REACH)) for mask in masks]
        steps = torch.arange(-REACH, REACH + 1)
        offsets = (steps[:, None] * torch._shape_as_tensor(canvases[0])[-1] + steps).reshape(-1)
        flat = [canvas.reshape(-1) for canvas in canvases]
        tables = [
            _numbers(inputs)[outputs.nonzero() + offsets]  # (n, 9)
            for inputs, outputs in itertools.pairwise(flat)
        ]
        cells = x.flatten(0, 2)[masks[0].reshape(-1).nonzero()[:, 0]]
        if self.output is not None:
            cells = _conv(self.output, _with_empty(cells)[tables.pop(0)])
        head = self.head
        scores = _linear(head.cls_score, _run(head.cls_subnet, cells, tables))
        deltas = _linear(head.bbox_pred, _run(head.bbox_subnet, cells, tables))
        places = _numbers(survivors.reshape(-1)).view_as(survivors)
        scores, deltas = (_with_empty(values)[places].flatten(1) for values in (scores, deltas))
        return scores, reshape(deltas, (0, -1, 4))


def _numbers(mask: Tensor) -> Tensor:
    """Numbers from 1 of the cells of a set, 0 of others: float (m,), 0 or 1 -> int64 (m,)."""
    return (mask.cumsum(0) * mask).long()


def _with_empty(cells: Tensor) -> Tensor:
    """A row of zeros before the cells: (n, C) -> (n + 1, C)."""
    return F.pad(cells, (0, 0, 1, 0))


def _run(subnet: nn.Sequential, cells: Tensor, tables: list[Tensor]) -> Tensor:
    remaining = iter(tables)
    for layer in subnet:
        if isinstance(layer, nn.ReLU):
            cells = cells.relu()
        elif not _is_spatial(layer):
            cells = _linear(layer, cells)
        else:
            around = _with_empty(cells)[next(remaining)]  # (n, 9, C)
            cells = _depthwise(layer, around) if layer.groups > 1 else _conv(layer, around)
    return cells


def _conv(conv: nn.Conv2d, around: Tensor) -> Tensor:
    weight = conv.weight.permute(0, 2, 3, 1).flatten(1)  # (C', 9 * C)
    return around.flatten(1) @ weight.t() + conv.bias


def _depthwise(conv: nn.Conv2d, around: Tensor) -> Tensor:
    cells = (around * conv.weight[:, 0].flatten(1).t()).sum(dim=1)
    return cells if conv.bias is None else cells + conv.bias


def _linear(conv: nn.Conv2d, cells: Tensor) -> Tensor:
    return cells @ conv.weight.flatten(1).t() + conv.bias


def _is_spatial(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1)
