"""The subnets of the head: stacks of convolutions that keep the size of a map.

Shapes: (N, C, H, W) -> (N, C, H, W), any H and W.
"""

from fvcore.nn import weight_init
from torch import nn

from .rfe import RFE

CONVOLUTIONS = ("plain", "separable")
"""Kinds of 3x3 convolution: "plain" [paper]; "separable", a depthwise 3x3 and a 1x1 convolution, as
in EfficientDet (Tan et al., CVPR 2020, section 4.2), which take an eighth of the multiply-adds with
64 channels."""


def subnet(channels: int, use_rfe: bool, convolution: str = "plain") -> nn.Sequential:
    """A 3x3 convolution, RFE, a 3x3 convolution, each with ReLU; four convolutions without RFE.

    Args:
        convolution: one of :data:`CONVOLUTIONS`. RFE stays the same with either.

    Source: paper sections 3.1 and 3.4.
    """
    middle = [RFE(channels)] if use_rfe else list(conv_stack(channels, 2, convolution))
    return nn.Sequential(
        *conv_stack(channels, 1, convolution), *middle, *conv_stack(channels, 1, convolution)
    )


def conv_stack(channels: int, num_convs: int, convolution: str = "plain") -> nn.Sequential:
    """3x3 convolutions, each with ReLU.

    Raises:
        ValueError: an unknown kind of convolution.
    """
    if convolution not in CONVOLUTIONS:
        raise ValueError(
            f"MODEL.SRN.HEAD_CONVOLUTION is {convolution!r}; valid are {list(CONVOLUTIONS)}"
        )
    layers: list[nn.Module] = []
    for _ in range(num_convs):
        if convolution == "separable":
            layers += separable_conv(channels, channels)
        else:
            layers.append(_conv(channels, channels, 3))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def separable_conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A depthwise 3x3 convolution and a 1x1 convolution, without activation."""
    return nn.Sequential(
        _conv(inputs, inputs, 3, stride=stride, groups=inputs, bias=False),
        _conv(inputs, outputs, 1),
    )


def _conv(inputs: int, outputs: int, kernel: int, **options) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)
    weight_init.c2_xavier_fill(conv)
    return conv
