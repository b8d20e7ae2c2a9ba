"""Sizes that a trace reads from maps, replaced by constants that runtimes compute faster with.

The maps of a network whose input is padded to a multiple of 32 have sides that are multiples of
their strides. Then two amounts do not depend on the input's size:

- TensorFlow's SAME padding of timm's "tf_" networks, which pad a map before a strided convolution,
  below and on the right more than above and on the left. As a node of its own the padding copies
  the map, and ONNX Runtime leaves its blocked layout before it and enters it again after it: a
  fifth of EfficientNet-Lite0's time.
- the factor of 2 by which the pyramid enlarges a map, without which ONNX Runtime leaves its blocked
  layout, too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from srn_d2.modeling import SRN
from srn_d2.modeling.folded_norm import FoldedConv2d

LARGEST_STRIDE = 32
"""Stride of the coarsest map of the bottom-up network."""


@contextmanager
def constant_sizes(model: SRN) -> Iterator[None]:
    """While it lasts, neither of the two depends on a map's size.

    If the input is not padded to a multiple of 32, nothing changes.
    """
    replaced: list[tuple[nn.Module, str, Callable[..., Tensor]]] = []
    backbone = model.backbone
    if backbone.size_divisibility % LARGEST_STRIDE == 0:
        replaced += [
            (module, "forward", partial(_forward, module))
            for module in backbone.modules()
            if _pads_same(module)
        ]
        if backbone.upsample == "nearest":
            replaced.append((backbone, "_enlarge", _enlarge))
    for module, name, function in replaced:
        setattr(module, name, function)
    try:
        yield
    finally:
        for module, name, _ in replaced:
            delattr(module, name)


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


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
