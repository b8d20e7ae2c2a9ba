import pytest
import torch
import torch.nn.functional as F
from torch import nn

from srn_d2.modeling import RFE, cell_lists
from srn_d2.modeling.cell_lists import (
    CellSet,
    dilate,
    kernels_of,
    sparse_conv,
    sparse_subnet,
    subnet_tables,
)

SIZES = [(7, 9), (1, 4), (2, 1)]  # of three levels, some smaller than a kernel
KERNELS = [(3, 3), (1, 5), (5, 1), (1, 3), (3, 1), (1, 1)]


def random_masks(share: float, images: int = 2) -> list[torch.Tensor]:
    return [torch.rand(images, *size) < share for size in SIZES]


def random_maps(channels: int, images: int = 2) -> list[torch.Tensor]:
    return [torch.randn(images, channels, *size) for size in SIZES]


def with_biases(module: nn.Module) -> nn.Module:
    """New layers have biases of 0, which would hide what zero padding does to later layers."""
    for parameter in module.parameters():
        if parameter.dim() == 1:
            nn.init.uniform_(parameter, 0.2, 1.0)
    return module


def expect_at(masks: list, actual: list, expected: list) -> None:
    for mask, x, y in zip(masks, actual, expected, strict=True):
        assert x.shape == y.shape
        x, y = x.permute(0, 2, 3, 1), y.permute(0, 2, 3, 1)
        torch.testing.assert_close(x[mask], y[mask], atol=1e-5, rtol=1e-5)
        assert not x[~mask].any()


def test_cells_are_numbered_by_map_image_row_and_column():
    masks = [torch.zeros(2, 2, 3, dtype=torch.bool), torch.zeros(2, 1, 1, dtype=torch.bool)]
    masks[0][1, 0, 2] = masks[0][1, 1, 1] = masks[0][0, 1, 0] = masks[1][1, 0, 0] = True
    maps = [torch.arange(12.0).view(2, 1, 2, 3), torch.arange(12.0, 14).view(2, 1, 1, 1)]
    cells = CellSet(masks)
    assert len(cells) == 4
    assert cells.gather(maps)[1:].flatten().tolist() == [3, 8, 10, 13]
    # In one image (0, 2) and (1, 1) touch by a corner; the others are of other images and maps.
    table = cells.neighbours(cells, (3, 3))
    assert table.tolist() == [
        [0] * 9,
        [0, 0, 0, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 2, 0, 3, 0, 0],
        [0, 0, 2, 0, 3, 0, 0, 0, 0],
        [0, 0, 0, 0, 4, 0, 0, 0, 0],
    ]


def test_scattering_undoes_gathering():
    torch.manual_seed(0)
    masks, maps = random_masks(0.4), random_maps(3)
    cells = CellSet(masks)
    expect_at(masks, cells.scatter(cells.gather(maps)), maps)


@pytest.mark.parametrize("kernel", KERNELS)
def test_growing_reaches_exactly_the_kernel(kernel):
    mask = torch.zeros(2, 11, 11, dtype=torch.bool)
    mask[1, 5, 5] = True
    height, width = kernel
    dilated = dilate(mask, [kernel])
    assert dilated[1, 5 - height // 2 : 6 + height // 2, 5 - width // 2 : 6 + width // 2].all()
    assert dilated.sum() == height * width


@pytest.mark.numerics
@pytest.mark.parametrize("share", [0, 0.1, 0.6, 1])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_convolution_at_cells_equals_the_dense_one(monkeypatch, kernel, share):
    torch.manual_seed(1)
    monkeypatch.setattr(cell_lists, "GATHERED_ELEMENTS", 100)  # several chunks
    masks, maps = random_masks(share), random_maps(4)
    conv = with_biases(nn.Conv2d(4, 6, kernel, padding=(kernel[0] // 2, kernel[1] // 2)))
    outputs = CellSet(masks)
    inputs = CellSet([dilate(mask, [kernel]) for mask in masks])
    x = inputs.gather(maps)
    x[0] = 9  # whatever is there, it counts as 0
    with torch.no_grad():
        cells = sparse_conv(conv, x, inputs.neighbours(outputs, kernel))
        expect_at(masks, outputs.scatter(cells), [conv(x) for x in maps])


@pytest.mark.numerics
@pytest.mark.parametrize("share", [0, 0.02, 0.3, 1])
@pytest.mark.parametrize("rfe", [True, False])
def test_a_subnet_at_cells_equals_the_dense_one(rfe, share):
    torch.manual_seed(2)
    middle = [RFE(8)] if rfe else [nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    subnet = nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), *middle, nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()
    )
    with_biases(subnet)
    maps = random_maps(8)
    masks = [random_masks(share)]
    for layer in reversed(subnet):
        masks.insert(0, [dilate(mask, kernels_of(layer)) for mask in masks[0]])
    sets = [CellSet(level_masks) for level_masks in masks]
    with torch.no_grad():
        cells = sparse_subnet(subnet, sets[0].gather(maps), subnet_tables(subnet, sets))
        expect_at(masks[-1], sets[-1].scatter(cells), [subnet(x) for x in maps])


def test_a_pointwise_convolution_needs_no_neighbours():
    conv = nn.Conv2d(4, 2, 1)
    x = torch.randn(5, 4)
    expected = F.conv2d(x[:, :, None, None], conv.weight, conv.bias).flatten(1)
    torch.testing.assert_close(sparse_conv(conv, x), expected)
