"""Frozen batch normalisation as part of the convolution before it.

With fixed statistics and a fixed affine map, batch normalisation is a scale and a shift of each
channel, which the convolution's weights and bias can hold: the same result without two passes over
each map, and without its gradient. Names and values in the state dict stay those of the separate
layers; the scale is applied to the weights in each forward pass, so they can learn.
"""

import itertools
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pair = tuple[int, int]
SMALL_KERNEL = 3
"""Depthwise kernels of up to so many rows and columns have fast gradients in bfloat16."""


def fold_batch_norms(net: nn.Module, shape: tuple[int, ...]) -> int:
    """Replace, in place, each batch normalisation that reads a convolution's output.

    Which convolution it reads is seen by running the network once. What cannot be folded stays as
    it is: normalisation without a convolution right before it, convolutions or normalisations that
    are used more than once, and convolutions of other types than torch's own and timm's "same".

    Args:
        net: a network whose batch normalisation is frozen.
        shape: of an input that it takes, (N, C, H, W).

    Returns:
        How many were folded.
    """
    pairs = _read_by_norm(net, shape)
    names = {module: name for name, module in net.named_modules()}
    for conv, norm in pairs:
        folded = FoldedNorm(norm)
        _replace(net, names[conv], FoldedConv2d(conv, folded))
        _replace(net, names[norm], folded)
    return len(pairs)


class FoldedNorm(nn.BatchNorm2d):
    """What is left of a batch normalisation once its convolution holds it: timm's activation.

    Args:
        norm: the layer whose parameters, buffers and activation this one takes over.
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
        """What it does to each channel: two of (C,)."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(x))


class FoldedConv2d(nn.Conv2d):
    """A convolution followed by the scale and shift of a frozen batch normalisation.

    Args:
        conv: torch's own or timm's Conv2dSame, whose parameters this one takes over.
        norm: the normalisation, which stays registered where it was.
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

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self._norm[0].scale_and_shift()
        weight = self.weight * scale[:, None, None, None]
        bias = shift if self.bias is None else torch.addcmul(shift, self.bias, scale)
        if self.same:
            x = _pad_same(x, self.kernel_size, self.stride, self.dilation)
        settings = self.stride, self.padding, self.dilation, self.groups
        if _has_slow_gradient(self, x):
            return _DepthwiseConv2d.apply(x.to(torch.bfloat16), weight, bias, *settings)
        return F.conv2d(x, weight, bias, *settings)


def _pad_same(x: Tensor, kernel: Pair, stride: Pair, dilation: Pair) -> Tensor:
    """timm's ``pad_same``, in whole numbers: torch.compile takes very long over its quotients."""
    pads: list[int] = []
    for axis in (1, 0):  # F.pad begins with the last one
        side, step = x.shape[2 + axis], stride[axis]
        outputs = -(-side // step)
        pad = max((outputs - 1) * step + (kernel[axis] - 1) * dilation[axis] + 1 - side, 0)
        pads += [pad // 2, pad - pad // 2]
    return F.pad(x, pads)


def _has_slow_gradient(conv: nn.Conv2d, x: Tensor) -> bool:
    """Whether oneDNN has no fast kernel for the gradient of this convolution."""
    return (
        conv.groups == conv.in_channels > 1
        and torch.is_grad_enabled()
        and x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )


class _DepthwiseConv2d(torch.autograd.Function):
    """Depthwise convolution in bfloat16 with gradients that are faster than torch's own.

    With 2 images (AMX, one thread, torch 2.14), for stride 2 and 96 channels of 224 x 224, the
    input's gradient took 99 ms in bfloat16 and 16 ms in float32; for 5 x 5 kernels and 672 channels
    of 28 x 28 the weight's took 68 ms in bfloat16, 13 ms in float32 and 5 ms as four of 3 x 3
    kernels in bfloat16. All others are faster in bfloat16.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, stride, padding, dilation, groups):
        ctx.save_for_backward(x, weight)
        ctx.settings = stride, padding, dilation, groups
        with torch.autocast("cpu", enabled=False):
            return F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype), *ctx.settings)

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        of_x = of_weight = of_bias = None
        if needs_x:
            dtype = torch.float32 if max(ctx.settings[0]) > 1 else x.dtype
            # The gradient depends on the input's shape and memory format only.
            like_x = torch.empty_like(x, dtype=dtype)
            of_x = _gradients(gradient, like_x, weight, ctx.settings, (True, False))[0].to(x.dtype)
        if needs_weight:
            of_weight = _gradient_of_weight(gradient, x, weight, ctx.settings)
        if needs_bias:
            of_bias = gradient.sum((0, 2, 3), dtype=torch.float32)
        return of_x, of_weight, of_bias, None, None, None, None


def _gradient_of_weight(of_output: Tensor, x: Tensor, weight: Tensor, settings: tuple) -> Tensor:
    """The gradient (C, 1, kh, kw) of a depthwise convolution's weight, float32.

    That of a large kernel is put together from small ones: a part of the kernel that begins at
    (row, column) sees the padded input from there on.
    """
    stride, padding, dilation, groups = settings
    if max(weight.shape[2:]) <= SMALL_KERNEL:
        return _gradients(of_output, x, weight, settings, (False, True))[1].float()
    x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    gradient = torch.empty_like(weight, dtype=torch.float32)
    for row, column in itertools.product(*(_parts(size) for size in weight.shape[2:])):
        part = weight[:, :, row, column]
        seen_rows, seen_columns = (
            slice(first, first + (outputs - 1) * step + (taps - 1) * spread + 1)
            for first, outputs, step, taps, spread in zip(
                (row.start * dilation[0], column.start * dilation[1]),
                *(of_output.shape[2:], stride, part.shape[2:], dilation),
                strict=True,
            )
        )
        seen = x[:, :, seen_rows, seen_columns]
        without_padding = stride, (0, 0), dilation, groups
        _, of_part = _gradients(of_output, seen, part, without_padding, (False, True))
        gradient[:, :, row, column] = of_part
    return gradient


def _parts(size: int) -> list[slice]:
    """An axis of a kernel in parts of at most SMALL_KERNEL taps; the last one may overlap."""
    taps = min(size, SMALL_KERNEL)
    starts = (min(start, size - taps) for start in range(0, size, SMALL_KERNEL))
    return [slice(start, start + taps) for start in starts]


def _gradients(
    of_output: Tensor, x: Tensor, weight: Tensor, settings: tuple, wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of a convolution's input and weight, computed in the type of ``x``."""
    stride, padding, dilation, groups = settings
    transposed, output_padding, bias_sizes = False, [0, 0], None
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(
        *(of_output.to(x.dtype), x, weight.to(x.dtype), bias_sizes),
        *(stride, padding, dilation, transposed, output_padding, groups),
        [*wanted, False],
    )
    return of_x, of_weight


def _read_by_norm(net: nn.Module, shape: tuple[int, ...]) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """The pairs of a convolution and the batch normalisation that reads its output."""
    outputs: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # with the tensor, so that its id stays
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
    """timm is slow to import: what needs it imports it."""
    import timm.layers

    return timm.layers


def _replace(net: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, module)
