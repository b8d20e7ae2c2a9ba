"""The anchors of the authors' released code."""

import math
from collections.abc import Sequence

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import ANCHOR_GENERATOR_REGISTRY
from detectron2.structures import Boxes
from torch import Tensor, nn

RELEASED_SCALES = (2.0, 2.828427)
RELEASED_ASPECT_RATIO = 1.25


@ANCHOR_GENERATOR_REGISTRY.register()
class ReleasedAnchorGenerator(nn.Module):
    """The released code's two anchors per cell, scaled from a box rounded to whole pixels.

    With stride S: w = round(sqrt(S^2 / 1.25)), h = round(1.25 w), half to even, times 2 and times
    2.828427; centre 0.5 (S - 1) + i S, corners at +- 0.5 (side - 1). Detectron2's
    DefaultAnchorGenerator gives the paper's exact anchors instead.

    Source: the authors' released test code.

    Args:
        strides: pixels between the cells of each level.

    Shapes: list over levels of (N, C, Hl, Wl) -> list of Boxes (Hl * Wl * 2, 4), XYXY, cells row
    by row, the anchors of a cell side by side.
    """

    box_dim: int = 4

    @configurable
    def __init__(self, *, strides: Sequence[int]):
        super().__init__()
        self.strides = tuple(strides)
        for index, stride in enumerate(self.strides):
            self.register_buffer(f"cell_anchors_{index}", _cell_anchors(stride), persistent=False)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: list[ShapeSpec]) -> dict:
        return {"strides": [shape.stride for shape in input_shape]}

    @property
    def num_anchors(self) -> list[int]:
        """Anchors of a cell, for each level."""
        return [len(RELEASED_SCALES)] * len(self.strides)

    def forward(self, features: list[Tensor]) -> list[Boxes]:
        return [
            Boxes(_on_grid(getattr(self, f"cell_anchors_{index}"), x.shape[-2:], stride))
            for index, (x, stride) in enumerate(zip(features, self.strides, strict=True))
        ]


def _cell_anchors(stride: int) -> Tensor:
    """Anchors of the cell at the origin, (2, 4)."""
    width = round(math.sqrt(stride**2 / RELEASED_ASPECT_RATIO))  # Python rounds half to even
    height = round(width * RELEASED_ASPECT_RATIO)
    centre = 0.5 * (stride - 1)
    boxes = []
    for scale in RELEASED_SCALES:
        half_w, half_h = 0.5 * (width * scale - 1), 0.5 * (height * scale - 1)
        boxes.append([centre - half_w, centre - half_h, centre + half_w, centre + half_h])
    return torch.tensor(boxes)


def _on_grid(cell_anchors: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    device = cell_anchors.device
    y, x = torch.meshgrid(
        torch.arange(size[0], device=device) * stride,
        torch.arange(size[1], device=device) * stride,
        indexing="ij",
    )
    shifts = torch.stack((x, y, x, y), dim=-1).reshape(-1, 1, 4)  # (H * W, 1, 4)
    return (shifts + cell_anchors).reshape(-1, 4)  # (H * W * 2, 4)
