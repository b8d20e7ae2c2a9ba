import pytest
import torch

from srn_d2.modeling import RFE


def receptive_field(module: torch.nn.Module, channels: int, size: int = 15) -> torch.Tensor:
    """Which input pixels the centre output of ``module`` depends on, (size, size) bool."""
    x = torch.rand(1, channels, size, size, requires_grad=True)
    module(x)[0, :, size // 2, size // 2].sum().backward()
    return x.grad[0].abs().sum(0) > 0


def test_shape_is_kept_for_odd_sizes():
    assert RFE(8)(torch.rand(2, 8, 5, 13)).shape == (2, 8, 5, 13)


@pytest.mark.parametrize("height_width", list(enumerate([(1, 5), (5, 1), (1, 3), (3, 1)])))
def test_each_branch_sees_the_shape_of_its_kernel(height_width):
    index, (height, width) = height_width
    torch.manual_seed(0)
    branch = RFE(32).branches[index]
    for conv in branch[::2]:
        torch.nn.init.uniform_(conv.weight, 0.1, 1.0)  # positive: no ReLU hides a pixel
    field = receptive_field(branch, 32)
    assert field.sum() == height * width
    assert field[7 - height // 2 : 8 + height // 2, 7 - width // 2 : 8 + width // 2].all()


def test_is_the_identity_where_the_branches_are_silent():
    rfe = RFE(8)
    for parameter in rfe.fuse.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(1, 8, 4, 4)
    assert torch.equal(rfe(x), x)


def test_channels_must_be_a_multiple_of_four():
    with pytest.raises(ValueError, match="multiple of 4"):
        RFE(30)


@pytest.mark.numerics
def test_joint_first_convolutions_equal_separate_branches():
    torch.manual_seed(0)
    rfe, x = RFE(16), torch.randn(2, 16, 7, 9)
    for bias in (p for p in rfe.parameters() if p.dim() == 1):
        torch.nn.init.normal_(bias)
    separate = x + rfe.fuse(torch.cat([branch(x) for branch in rfe.branches], dim=1))
    torch.testing.assert_close(rfe(x), separate, atol=1e-5, rtol=1e-5)
    parameters = list(rfe.parameters())
    joint_grads = torch.autograd.grad(rfe(x).square().sum(), parameters)
    grads = torch.autograd.grad(separate.square().sum(), parameters)
    torch.testing.assert_close(joint_grads, grads, atol=1e-4, rtol=1e-4)
