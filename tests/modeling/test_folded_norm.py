import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

pytest.importorskip("timm", reason="timm is not installed: pip install timm")

import timm

from srn_d2.modeling.folded_norm import FoldedConv2d, FoldedNorm, fold_batch_norms

SHAPE = (1, 3, 64, 64)


def off_the_start(net: nn.Module) -> nn.Module:
    """Normalisation that does something to each channel, and frozen."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.requires_grad_(False)
    return net.eval()


def kinds(net: nn.Module, kind: type) -> int:
    return sum(isinstance(module, kind) for module in net.modules())


@pytest.mark.numerics
@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "mobilenetv3_small_050"])
@pytest.mark.parametrize("size", [(64, 96), (57, 75)])
def test_maps_gradients_and_names_are_those_of_the_separate_layers(name, size):
    torch.manual_seed(0)
    plain = off_the_start(timm.create_model(name, features_only=True))
    folded = copy.deepcopy(plain)
    assert fold_batch_norms(folded, SHAPE) == kinds(plain, nn.BatchNorm2d)
    assert kinds(folded, FoldedConv2d) == kinds(folded, FoldedNorm) == kinds(plain, nn.BatchNorm2d)
    shapes = [[(k, v.shape) for k, v in net.state_dict().items()] for net in (plain, folded)]
    assert shapes[0] == shapes[1]

    image = torch.randn(2, 3, *size)
    of = {}
    for net in (plain.double(), folded.double()):
        maps = net(image.double())
        sum(x.square().mean() for x in maps).backward()
        of[net] = maps
    for expected, computed in zip(of[plain], of[folded], strict=True):
        torch.testing.assert_close(computed, expected)
    computed = dict(folded.named_parameters())
    for key, value in plain.named_parameters():
        if value.requires_grad:
            torch.testing.assert_close(computed[key].grad, value.grad, msg=key)


class Sum(nn.Module):
    """A normalisation that reads a sum, not a convolution's output."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(x + self.conv(x))


class Twice(Sum):
    """A normalisation for two convolutions."""

    def __init__(self):
        super().__init__()
        self.other = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.norm(self.conv(x)) + self.norm(self.other(x))


class Circular(nn.Conv2d):
    """A convolution that does more than torch's own."""

    def forward(self, x):
        return super().forward(x.roll(1, dims=-1))


@pytest.mark.parametrize(
    "net", [Sum(), Twice(), nn.Sequential(Circular(3, 4, 3), nn.BatchNorm2d(4))]
)
def test_what_cannot_be_folded_stays(net):
    off_the_start(net)
    image = torch.randn(SHAPE)
    expected = net(image)
    assert fold_batch_norms(net, SHAPE) == 0
    torch.testing.assert_close(net(image), expected)


@pytest.mark.numerics
def test_a_bias_is_kept_and_the_network_stays_in_its_mode():
    net = off_the_start(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()))
    image = torch.randn(SHAPE)
    expected = net(image)
    net[2].train()
    net.training = True
    assert fold_batch_norms(net, SHAPE) == 1
    assert net.training
    torch.testing.assert_close(net.eval()(image), expected)


def test_a_copy_has_normalisation_of_its_own():
    net = off_the_start(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    fold_batch_norms(net, SHAPE)
    image = torch.randn(SHAPE)
    expected = net(image)
    other = copy.deepcopy(net)
    with torch.no_grad():
        other[1].bias += 1
    torch.testing.assert_close(net(image), expected)
    torch.testing.assert_close(other(image), expected + 1)


@pytest.mark.parametrize("kernel", [3, 5, (2, 7)])
@pytest.mark.parametrize("stride", [1, 2, (1, 3)])
@pytest.mark.parametrize("dilation", [1, (2, 1)])
@pytest.mark.parametrize("bias", [False, True])
def test_depthwise_gradients_in_bfloat16_are_near_those_in_float32(kernel, stride, dilation, bias):
    torch.manual_seed(0)
    settings = {"stride": stride, "padding": (1, 2), "dilation": dilation, "groups": 8}
    conv = nn.Conv2d(8, 8, kernel, bias=bias, **settings)
    net = off_the_start(nn.Sequential(conv, nn.BatchNorm2d(8)))
    fold_batch_norms(net, (1, 8, 16, 16))
    net.to(memory_format=torch.channels_last)
    image = torch.randn(2, 8, 17, 20).to(memory_format=torch.channels_last).requires_grad_()
    weighting = torch.randn_like(net(image))
    gradients = {}
    for bfloat16 in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            output = net(image)
        assert output.dtype == (torch.bfloat16 if bfloat16 else torch.float32)
        values = [image, *conv.parameters()]
        gradients[bfloat16] = torch.autograd.grad((output.float() * weighting).sum(), values)
    for expected, computed in zip(gradients[False], gradients[True], strict=True):
        assert computed.dtype == torch.float32
        assert F.cosine_similarity(computed.flatten(), expected.flatten(), dim=0) > 0.999
        torch.testing.assert_close(computed.norm(), expected.norm(), rtol=0.02, atol=0)
