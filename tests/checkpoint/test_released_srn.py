"""The released config with converted weights against a plain restatement of the released code."""

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model

from helpers import plain_released_srn as plain
from helpers.detections import assert_best_first, assert_same_detections
from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.config import build_cfg
from srn_d2.modeling import LEVELS

# Both odd; on the first P4 has 13 x 19 cells and P5 fewer than 120, on the second P4 9 x 6.
SIZES = [(203, 301), (131, 90)]


def picture(size) -> torch.Tensor:
    """Coarse and fine noise, (3, H, W) uint8."""
    generator = torch.Generator().manual_seed(size[0])
    coarse = torch.rand(1, 3, 8, 8, generator=generator)
    coarse = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")[0]
    fine = torch.rand(3, *size, generator=generator)
    return ((0.7 * coarse + 0.3 * fine) * 256).to(torch.uint8)


class Comparison:
    """Features, predictions and detections of one image by both."""

    @torch.no_grad()
    def __init__(self, model, weights, size):
        self.image = picture(size)
        images = model.preprocess_image([{"image": self.image}])
        self.padded_size = tuple(images.tensor.shape[2:])
        self.features = model.backbone(images.tensor)
        maps = [self.features[name] for name in model.head_in_features]
        self.predictions = model.head(maps)
        (self.instances,) = model.forward_inference(images, maps, self.predictions)
        self.plain_features = plain.feature_maps(weights, self.image.float())
        self.plain_predictions = plain.predictions(weights, self.plain_features)


@pytest.fixture(scope="module")
def weights():
    return plain.random_checkpoint()


@pytest.fixture(scope="module")
def model(repo_root, weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "SRN.pth"
    torch.save({"state_dict": weights}, path)
    config = repo_root / "configs" / "srn_R50_released.yaml"
    model = build_model(build_cfg(str(config), ["MODEL.DEVICE", "cpu"])).eval()
    SRNCheckpointer(model, strict=True).load(str(path))
    return model


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def both(request, model, weights):
    return Comparison(model, weights, request.param)


def test_nothing_is_padded(both):
    assert both.padded_size == both.image.shape[1:]


@pytest.mark.numerics
def test_features_are_the_released_ones(both):
    assert set(both.features) == set(both.plain_features)
    for name, expected in both.plain_features.items():
        assert 0.1 < expected.std() < 10  # neither dead nor exploding
        torch.testing.assert_close(both.features[name], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.numerics
def test_predictions_are_the_released_ones(both):
    fields = zip(*both.predictions, strict=True)
    for level, (scores1, deltas1, scores2, deltas2) in zip(LEVELS, fields, strict=True):
        expected = both.plain_predictions[int(level[1])]
        assert (scores1 is None) == (level in ("p5", "p6", "p7"))
        assert (deltas1 is None) == (level in ("p2", "p3", "p4"))
        for ours, theirs in zip((scores1, deltas1, scores2, deltas2), expected, strict=True):
            if ours is not None:
                torch.testing.assert_close(ours, theirs, atol=5e-4, rtol=1e-4)
                torch.testing.assert_close(ours.sigmoid(), theirs.sigmoid(), atol=1e-4, rtol=0)


@pytest.mark.numerics
def test_detections_are_the_released_ones(both):
    expected = plain.detect(both.plain_predictions)
    assert len(expected) > 100
    assert_same_detections(both.instances, expected)
    assert_best_first(both.instances)


@pytest.mark.parametrize(
    "change",
    [
        {"first_threshold": 0.0},
        {"second_threshold": 0.0},
        {"few_cells": 0},
        {"top": 100},
        {"iou": 0.5},
        {"pixel": 0},
        {"keep": 100},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_rule_of_the_post_processing_counts(both, change):
    """Without it other faces are found, so that the comparison above would see it."""
    expected = plain.detect(both.plain_predictions)
    other = plain.detect(both.plain_predictions, **change)
    with pytest.raises(AssertionError):
        assert_same_detections(other, expected)


@pytest.mark.numerics
def test_detections_of_the_whole_model_are_clipped_to_the_image(model, both):
    """What evaluation sees is detectron2's: the same boxes, clipped, those outside left out."""
    height, width = both.image.shape[1:]
    [output] = model([{"image": both.image, "height": height, "width": width}])
    expected = plain.detect(both.plain_predictions)
    expected[:, :4] = expected[:, :4].clip(0, [width, height, width, height])
    inside = (expected[:, 2] > expected[:, 0]) & (expected[:, 3] > expected[:, 1])
    assert_same_detections(output["instances"], expected[inside])


def test_growth_of_boxes_has_no_limit(model):
    """Detectron2's default would stop at a factor of 62.5."""
    box = torch.tensor([[0.0, 0.0, 10.0, 20.0]])
    grown = model.transform.apply_deltas(torch.tensor([[0.0, 0.0, 5.0, 5.0]]), box)
    torch.testing.assert_close(grown[:, 2:] - grown[:, :2], np.e**5 * torch.tensor([[10.0, 20.0]]))
