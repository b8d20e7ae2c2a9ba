"""TensorFlow's SAME padding by constant amounts, which runtimes can make part of a convolution.

timm's "tf_" networks pad a map before a strided convolution, below and on the right more than above
and on the left, and compute by how much from the map's size. As a node of its own the padding
copies the map, and ONNX Runtime leaves its blocked layout before it and enters it again after it: a
fifth of EfficientNet-Lite0's time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from srn_d2.modeling import SRN
from srn_d2.modeling.folded_norm import FoldedConv2d

LARGEST_STRIDE = 32
"""Stride of the coarsest map of the bottom-up network."""


@contextmanager
def constant_same_padding(model: SRN) -> Iterator[None]:
    """While it lasts, SAME padding of ``model`` does not depend on a map's size.

    The strided convolutions of a network whose input is padded to a multiple of 32 see maps whose
    sides are multiples of their strides. If it is not padded, nothing changes.
    """
    convolutions = []
    if model.backbone.size_divisibility % LARGEST_STRIDE == 0:
        convolutions = [module for module in model.backbone.modules() if _pads_same(module)]
    for conv in convolutions:
        conv.forward = partial(_forward, conv)
    try:
        yield
    finally:
        for conv in convolutions:
            del conv.forward


def _pads_same(module: nn.Module) -> bool:
    if isinstance(module, FoldedConv2d):
        return module.same
    # By its name: importing timm takes seconds, and other networks do without it.
    return type(module).__name__ == "Conv2dSame"


def _forward(conv: nn.Conv2d, x: Tensor) -> Tensor:
    sides = []  # left, right, top, bottom
    for kernel, stride, dilation in zip(
        conv.kernel_size[::-1], conv.stride[::-1], conv.dilation[::-1], strict=True
    ):
        total = max((kernel - 1) * dilation + 1 - stride, 0)
        sides += [total // 2, total - total // 2]
    weight, bias = conv.folded() if isinstance(conv, FoldedConv2d) else (conv.weight, conv.bias)
    return F.conv2d(F.pad(x, sides), weight, bias, conv.stride, 0, conv.dilation, conv.groups)
