import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_anchor_generator

from srn_d2.modeling import LEVELS, ReleasedAnchorGenerator

STRIDES = (4, 8, 16, 32, 64, 128)


def shapes():
    return [ShapeSpec(stride=stride) for stride in STRIDES]


def test_paper_anchors_are_exact_and_centred(small_cfg):
    generator = build_anchor_generator(small_cfg(), shapes())
    maps = [torch.zeros(1, 1, 2, 3) for _ in LEVELS]
    for stride, boxes in zip(STRIDES, generator(maps), strict=True):
        boxes = boxes.tensor.view(2, 3, 2, 4)
        width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
        torch.testing.assert_close(height / width, torch.full_like(width, 1.25))
        sides = (width * height).sqrt()[0, 0]
        torch.testing.assert_close(sides, torch.tensor([2.0, 8**0.5]) * stride)
        torch.testing.assert_close(
            (boxes[1, 2, 0, :2] + boxes[1, 2, 0, 2:]) / 2,
            torch.tensor([2.5 * stride, 1.5 * stride]),
        )


# Worked out by hand from the released test code's rule: stride, quantised width and height.
QUANTISED = [(4, 4, 5), (8, 7, 9), (16, 14, 18), (32, 29, 36), (64, 57, 71), (128, 114, 142)]


@pytest.mark.parametrize(("index", "expected"), list(enumerate(QUANTISED)))
def test_released_anchors_are_quantised(index, expected):
    stride, width, height = expected
    generator = ReleasedAnchorGenerator(strides=STRIDES)
    boxes = generator([torch.zeros(1, 1, 2, 2) for _ in STRIDES])[index].tensor.view(2, 2, 2, 4)
    for anchor, scale in enumerate((2.0, 2.828427)):
        x1, y1, x2, y2 = boxes[0, 0, anchor].tolist()
        assert x2 - x1 == pytest.approx(width * scale - 1, abs=1e-4)
        assert y2 - y1 == pytest.approx(height * scale - 1, abs=1e-4)
        assert (x1 + x2) / 2 == pytest.approx(0.5 * (stride - 1), abs=1e-4)
    shift = boxes[1, 1] - boxes[0, 0]
    torch.testing.assert_close(shift, torch.full_like(shift, stride))


def test_released_anchors_build_from_config(small_cfg):
    cfg = small_cfg("MODEL.ANCHOR_GENERATOR.NAME", "ReleasedAnchorGenerator")
    generator = build_anchor_generator(cfg, shapes())
    assert isinstance(generator, ReleasedAnchorGenerator)
    assert generator.num_anchors == [2] * 6
    assert not generator.state_dict()
