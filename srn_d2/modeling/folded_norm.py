"""Frozen batch normalisation as part of the convolution before it.

With fixed statistics and a fixed affine map, batch normalisation is a scale and a shift of each
channel, which can be folded into the convolution's weights and bias: the same result without two
passes over each map, and without its gradient. Names and values in the state dict stay those of
the separate layers; the scale is applied to the weights in each forward pass, so they can learn.
"""

from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .depthwise_conv import DepthwiseConv2d, has_slow_gradient


def fold_batch_norms(net: nn.Module, shape: tuple[int, ...]) -> int:
    """Fold, in place, each batch normalisation into the convolution before it.

    Pairs are found by running the network once. Layers that cannot be folded stay unchanged:
    normalisation without a convolution right before it, convolutions or normalisations that are
    used more than once, and convolutions of other types than torch's own and timm's "same".

    Args:
        net: a network whose batch normalisation is frozen.
        shape: shape of a valid input, (N, C, H, W).

    Returns:
        number of folded layers.
    """
    pairs = _read_by_norm(net, shape)
    names = {module: name for name, module in net.named_modules()}
    for conv, norm in pairs:
        folded = FoldedNorm(norm)
        _replace(net, names[conv], FoldedConv2d(conv, folded))
        _replace(net, names[norm], folded)
    return len(pairs)


class FoldedNorm(nn.BatchNorm2d):
    """Batch normalisation folded into its convolution; applies only timm's activation.

    Args:
        norm: the original layer, whose parameters, buffers and activation are taken over.
    """

    def __init__(self, norm: nn.BatchNorm2d):
        super().__init__(norm.num_features, eps=norm.eps, momentum=norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        # timm's BatchNormAct2d has them, torch's own does not.
        self.drop = getattr(norm, "drop", nn.Identity())
        self.act = getattr(norm, "act", nn.Identity())
        self.train(norm.training)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Scale and shift of each channel: two tensors (C,)."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(x))


class FoldedConv2d(nn.Conv2d):
    """A convolution followed by the scale and shift of a frozen batch normalisation.

    Args:
        conv: torch's Conv2d or timm's Conv2dSame, whose parameters are taken over.
        norm: the normalisation, which stays registered under its own name.
    """

    def __init__(self, conv: nn.Conv2d, norm: FoldedNorm):
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            stride=conv.stride,
            padding=conv.padding,
            dilation=conv.dilation,
            groups=conv.groups,
            bias=conv.bias is not None,
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.same = type(conv) is not nn.Conv2d
        # In a tuple, so that it is not registered a second time, under another name.
        self._norm = (norm,)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Scale and shift of each output channel: two tensors (C,)."""
        return self._norm[0].scale_and_shift()

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias (C,) of the one convolution that does both."""
        scale, shift = self.scale_and_shift()
        weight = self.weight * scale[:, None, None, None]
        return weight, shift if self.bias is None else torch.addcmul(shift, self.bias, scale)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.folded()
        if self.same:
            x = _timm_layers().pad_same(x, self.kernel_size, self.stride, self.dilation)
        settings = self.stride, self.padding, self.dilation, self.groups
        if has_slow_gradient(self, x):
            return DepthwiseConv2d.apply(x.to(torch.bfloat16), weight, bias, *settings)
        return F.conv2d(x, weight, bias, *settings)


def _read_by_norm(net: nn.Module, shape: tuple[int, ...]) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """The pairs of a convolution and the batch normalisation that reads its output."""
    outputs: dict[
        int, tuple[nn.Conv2d, Tensor]
    ] = {}  # keeps the tensor, so that its id stays unique
    uses: dict[nn.Module, int] = {}
    pairs = []

    def after_conv(conv: nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> None:
        uses[conv] = uses.get(conv, 0) + 1
        outputs[id(output)] = conv, output

    def before_norm(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        uses[norm] = uses.get(norm, 0) + 1
        if id(inputs[0]) in outputs:
            pairs.append((outputs[id(inputs[0])][0], norm))

    handles = []
    for module in net.modules():
        if type(module) in _foldable_convolutions():
            handles.append(module.register_forward_hook(after_conv))
        elif isinstance(module, nn.BatchNorm2d) and module.affine and module.track_running_stats:
            handles.append(module.register_forward_pre_hook(before_norm))
    was_training = net.training
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(shape))
    finally:
        net.train(was_training)
        for handle in handles:
            handle.remove()
    return [(conv, norm) for conv, norm in pairs if uses[conv] == uses[norm] == 1]


def _foldable_convolutions() -> tuple[type, ...]:
    return nn.Conv2d, _timm_layers().Conv2dSame


def _timm_layers() -> ModuleType:
    """Import timm's layers lazily: timm is slow to import."""
    import timm.layers

    return timm.layers


def _replace(net: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, module)
