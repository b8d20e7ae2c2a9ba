"""Receptive field enhancement (RFE)."""

import torch
import torch.nn.functional as F
from fvcore.nn import weight_init
from torch import Tensor, nn

KERNELS = ((1, 5), (5, 1), (1, 3), (3, 1))
"""Height and width of the branches' kernels, in the order of the released checkpoint."""


class RFE(nn.Module):
    """Add the outputs of four branches with elongated kernels to the input.

    Faces are not square, and under a rotated head or an occlusion less so: kernels that are wide
    or high give the shared head receptive fields of other shapes than the square. Each branch is
    1x1 -> kernel -> 1x1, each followed by ReLU, on a quarter of the channels; a 1x1 convolution
    with ReLU fuses them.

    Source: paper section 3.4 and figure 4.

    Args:
        channels: channels C of input and output, a multiple of 4.

    Shapes: (N, C, H, W) -> (N, C, H, W), any H and W.
    """

    def __init__(self, channels: int):
        super().__init__()
        if channels % len(KERNELS):
            raise ValueError(f"RFE needs a multiple of {len(KERNELS)} channels, got {channels}")
        self.branches = nn.ModuleList(_branch(channels, kernel) for kernel in KERNELS)
        self.fuse = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU(inplace=True))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                weight_init.c2_xavier_fill(module)

    def forward(self, x: Tensor) -> Tensor:
        # All branches read the same map: their first convolutions are one with more channels.
        weight = torch.cat([branch[0].weight for branch in self.branches])
        bias = torch.cat([branch[0].bias for branch in self.branches])
        entries = F.relu_(F.conv2d(x, weight, bias)).chunk(len(KERNELS), dim=1)
        exits = [branch[2:](y) for branch, y in zip(self.branches, entries, strict=True)]
        return x + self.fuse(torch.cat(exits, dim=1))


def _branch(channels: int, kernel: tuple[int, int]) -> nn.Sequential:
    inner = channels // len(KERNELS)
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Sequential(
        nn.Conv2d(channels, inner, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(inner, inner, kernel, padding=padding),
        nn.ReLU(inplace=True),
        nn.Conv2d(inner, inner, 1),
        nn.ReLU(inplace=True),
    )
