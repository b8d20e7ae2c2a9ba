"""Sparse convolutional layers, computed only at selected cells of their output.

A layer's output is a list of cells instead of a map, and a convolution is a matrix product of the
gathered neighbourhoods with the weights. The result equals the dense layers' output at these
cells, if the input has all cells that the kernels reach (see :func:`dilate`). Neighbours outside
the image are zero in every layer, as with zero padding.

Shapes: N images · C channels · n cells of a set · a list of cells is (n + 1, C): row 0 stands for
        all cells outside the image, and is set to zero where it is read
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .rfe import KERNELS, RFE

Kernel = tuple[int, int]
"""Height and width, both odd."""

MARGIN = max(max(kernel) for kernel in KERNELS) // 2
"""Maximum distance in cells that a kernel reaches from its centre."""

GATHERED_ELEMENTS = 2**22
"""Maximum number of elements of a matrix of neighbourhoods: 16 MiB in float32. From 32 MiB on the C
library maps each block anew, page by page."""


class CellSet:
    """A set of cells of some maps, numbered from 1 by map, image, row and column.

    Args:
        masks: for each map (N, H, W), bool: the cells of the set.
    """

    def __init__(self, masks: Sequence[Tensor]):
        self.masks = list(masks)
        # One canvas stacks all maps of all images vertically, each padded with empty cells, so that
        # a neighbour has the same offset everywhere.
        self._width = max(mask.shape[2] for mask in masks) + MARGIN
        canvas = torch.cat(
            [F.pad(mask, (0, self._width - mask.shape[2], 0, MARGIN)).flatten() for mask in masks]
        )
        canvas = F.pad(canvas, (MARGIN * self._width, 0))
        self._places = canvas.nonzero().squeeze(1)  # (n,)
        self._numbers = canvas.cumsum(0) * canvas  # 0: not in the set

    def __len__(self) -> int:
        return len(self._places)

    def neighbours(self, centres: "CellSet", kernel: Kernel) -> Tensor:
        """Numbers in this set of the cells around each of ``centres``, cells of the same maps.

        Returns:
            (n + 1, kh * kw) int64 for the n centres, by row and column of the kernel; 0 for a
            cell that is not in the set. Row 0 is all 0.
        """
        height, width = kernel
        rows = torch.arange(height, device=self._places.device) - height // 2
        columns = torch.arange(width, device=self._places.device) - width // 2
        offsets = (rows[:, None] * self._width + columns).flatten()
        return F.pad(self._numbers[centres._places[:, None] + offsets], (0, 0, 1, 0))

    def gather(self, maps: Sequence[Tensor]) -> Tensor:
        """The set's cells of maps (N, C, H, W): a list (n + 1, C)."""
        cells = [x.permute(0, 2, 3, 1)[mask] for x, mask in zip(maps, self.masks, strict=True)]
        return F.pad(torch.cat(cells), (0, 0, 1, 0))

    def scatter(self, cells: Tensor) -> list[Tensor]:
        """Maps (N, C, H, W) of a list of cells (n + 1, C), 0 at all other cells."""
        counts = [int(mask.sum()) for mask in self.masks]
        maps = []
        for mask, values in zip(self.masks, cells[1:].split(counts), strict=True):
            x = cells.new_zeros(*mask.shape, cells.shape[1])
            x[mask] = values
            maps.append(x.permute(0, 3, 1, 2))
        return maps


def dilate(mask: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    """Mask (N, H, W), bool, of the cells that any kernel reaches from ``mask``, itself included."""
    cells = mask[:, None].float()
    for height, width in kernels:
        reached = F.max_pool2d(cells, (height, width), 1, (height // 2, width // 2))
        mask = mask | (reached[:, 0] > 0)
    return mask


def kernels_of(layer: nn.Module) -> Sequence[Kernel]:
    """Kernel sizes with which a layer of a subnet reads its input; empty for elementwise layers."""
    if isinstance(layer, RFE):
        return (*KERNELS, (1, 1))  # the input itself is added
    return [layer.kernel_size] if isinstance(layer, nn.Conv2d) else []


def subnet_tables(subnet: nn.Sequential, sets: Sequence[CellSet]) -> list[dict[Kernel, Tensor]]:
    """For each layer of a subnet and each of its kernels, the neighbours that it gathers.

    Args:
        sets: input cells of each layer, then the output cells of the last layer.
    """
    return [
        {}
        if _is_pointwise(layer)
        else {kernel: inputs.neighbours(outputs, kernel) for kernel in kernels_of(layer)}
        for layer, inputs, outputs in zip(subnet, sets[:-1], sets[1:], strict=True)
    ]


def sparse_subnet(
    subnet: nn.Sequential, x: Tensor, tables: Sequence[dict[Kernel, Tensor]]
) -> Tensor:
    """Run a subnet of 3x3, depthwise and 1x1 convolutions, RFE and ReLU on a list of cells.

    Args:
        x: input cells of the first layer. Row 0 is overwritten.
        tables: from ``subnet_tables`` for this subnet or one with the same layers.
    """
    for layer, layer_tables in zip(subnet, tables, strict=True):
        if isinstance(layer, nn.ReLU):
            x = F.relu_(x)
        elif isinstance(layer, RFE):
            x = _sparse_rfe(layer, x, layer_tables)
        else:
            x = sparse_conv(layer, x, layer_tables.get(layer.kernel_size))
    return x


def _is_pointwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)


def sparse_conv(conv: nn.Conv2d, x: Tensor, neighbours: Tensor | None = None) -> Tensor:
    """A convolution (stride 1) at chosen cells: list (n + 1, C) -> (m + 1, C').

    Args:
        x: input cells. Row 0 is overwritten.
        neighbours: (m + 1, kh * kw) from ``CellSet.neighbours``; None: the kernel is 1x1 and m = n.
    """
    if conv.groups > 1:
        return _sparse_depthwise_conv(conv, x, neighbours)
    weight = conv.weight.permute(0, 2, 3, 1).flatten(1)  # (C', kh * kw * C)
    if neighbours is None:
        return F.linear(x, weight, conv.bias)
    x[0] = 0
    parts = [
        F.linear(x.index_select(0, part.flatten()).view(len(part), -1), weight, conv.bias)
        for part in neighbours.split(max(1, GATHERED_ELEMENTS // weight.shape[1]))
    ]
    return torch.cat(parts)


def _sparse_depthwise_conv(conv: nn.Conv2d, x: Tensor, neighbours: Tensor) -> Tensor:
    """``sparse_conv`` of a depthwise convolution: (n + 1, C) -> (m + 1, C)."""
    x[0] = 0
    weight = conv.weight[:, 0].flatten(1).t().to(x.dtype)  # (kh * kw, C)
    parts = [
        (x.index_select(0, part.flatten()).view(*part.shape, -1) * weight).sum(dim=1)
        for part in neighbours.split(max(1, GATHERED_ELEMENTS // weight.numel()))
    ]
    y = torch.cat(parts)
    return y if conv.bias is None else y + conv.bias.to(y.dtype)


def _sparse_rfe(rfe: RFE, x: Tensor, tables: dict[Kernel, Tensor]) -> Tensor:
    outputs = []
    for branch, kernel in zip(rfe.branches, KERNELS, strict=True):
        entry, _, middle, _, exit_, _ = branch
        y = F.relu_(sparse_conv(entry, x))
        y = F.relu_(sparse_conv(middle, y, tables[kernel]))
        outputs.append(F.relu_(sparse_conv(exit_, y)))
    fused = F.relu_(sparse_conv(rfe.fuse[0], torch.cat(outputs, dim=1)))
    return fused.add_(x[tables[1, 1].flatten()])
