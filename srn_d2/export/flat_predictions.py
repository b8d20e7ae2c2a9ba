"""The head's predictions by anchors, as the parts of an exported graph pass them on.

With as few nodes as it takes: hundreds of small ones cost milliseconds on any picture.

Shapes: N images · A anchors of a cell · Rl = Hl * Wl * A anchors of a level, row by row, those of a
        cell side by side
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class FlatPredictions(NamedTuple):
    """What a network's outputs are computed from: lists over the levels p2 .. p7.

    Attributes:
        keep: (N, Rl) bool, the anchors that the first step keeps; None on a level without STC.
        deltas_s1: (N, Rl, 4), or None on a level without STR.
        scores_s2: logits (N, Rl).
        deltas_s2: (N, Rl, 4).
        grids: of any content and type, (..., Hl, Wl): they tell the size of the level's map.
    """

    keep: list[Tensor | None]
    deltas_s1: list[Tensor | None]
    scores_s2: list[Tensor]
    deltas_s2: list[Tensor]
    grids: list[Tensor]


def flat_scores(maps: Tensor) -> Tensor:
    """One value per anchor, of any type: (N, A, Hl, Wl) -> (N, Rl)."""
    return maps.permute(0, 2, 3, 1).flatten(1)


def flat_deltas(maps: Tensor) -> Tensor:
    """(N, A * 4, Hl, Wl), anchor-major -> (N, Rl, 4)"""
    return reshape(maps.permute(0, 2, 3, 1), (0, -1, 4))


def reshape(x: Tensor, shape: Sequence[int]) -> Tensor:
    """ONNX' Reshape, in which 0 stands for the size that ``x`` has in the same place.

    torch's would be traced as a dozen nodes that read the size and put it back.
    """
    return _Reshape.apply(x, tuple(shape))


class _Reshape(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        return x.reshape([size or x.shape[place] for place, size in enumerate(shape)])

    @staticmethod
    def symbolic(g: Any, x: Any, shape: tuple[int, ...]) -> Any:
        return g.op("Reshape", x, g.op("Constant", value_t=torch.tensor(shape)))
