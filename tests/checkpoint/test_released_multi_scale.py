"""Multi-scale testing with the released config against a plain restatement, image to boxes."""

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from test_released_srn import picture

from helpers import plain_multi_scale, plain_released_srn
from helpers.detections import arrays, assert_best_first, assert_same_detections
from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.config import build_cfg
from srn_d2.inference.test_time_augmentation import SRNWithTTA

# The first image is enlarged twice, the second reduced: sizes are odd, and so are most views'.
CASES = {(59, 77): 111, (131, 90): 81}


@pytest.fixture(scope="module")
def weights():
    return plain_released_srn.random_checkpoint()


@pytest.fixture(scope="module")
def cfg(repo_root):
    return build_cfg(str(repo_root / "configs" / "srn_R50_released.yaml"), ["MODEL.DEVICE", "cpu"])


@pytest.fixture(scope="module")
def model(cfg, weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "SRN.pth"
    torch.save({"state_dict": weights}, path)
    model = build_model(cfg).eval()
    SRNCheckpointer(model, strict=True).load(str(path))
    return model


@pytest.fixture(scope="module", params=CASES, ids=lambda size: f"{size[0]}x{size[1]}")
def both(request, cfg, model, weights):
    """The image's size, our detections, and the plain ones of all views before voting."""
    size, max_size = request.param, CASES[request.param]

    @torch.no_grad()
    def plain_detector(pixels):
        image = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
        maps = plain_released_srn.feature_maps(weights, image.float())
        return plain_released_srn.detect(plain_released_srn.predictions(weights, maps))

    image = picture(size)
    cfg = cfg.clone()
    cfg.TEST.SRN_TTA.MAX_SIZE = max_size
    [output] = SRNWithTTA(cfg, model).eval()([{"image": image}])
    pixels = image.permute(1, 2, 0).numpy()
    in_views = plain_multi_scale.detect_in_views(plain_detector, pixels, max_size)
    return size, np.column_stack(arrays(output["instances"])), in_views


def test_detections_are_the_released_ones(both):
    size, ours, in_views = both
    expected = plain_multi_scale.vote(in_views, size)
    assert_same_detections(ours, expected, at_least=21)
    assert_best_first(ours)


@pytest.mark.parametrize(
    "change",
    [{"iou": 0.45}, {"keep_single": True}, {"pixel": 0}, {"keep": 10}],
    ids=lambda change: next(iter(change)),
)
def test_every_rule_of_the_voting_counts(both, change):
    """Without it other faces are found, so that the comparison above would see it."""
    size, ours, in_views = both
    with pytest.raises(AssertionError):
        assert_same_detections(ours, plain_multi_scale.vote(in_views, size, **change))


def test_boxes_are_clipped_after_voting(both):
    (height, width), ours, in_views = both
    assert (in_views[:, :4] < -1).any()
    assert ours[:, :4].min() == 0
    assert (ours[:, [0, 2]] <= width - 1).all()
    assert (ours[:, [1, 3]] <= height - 1).all()
    assert (ours[:, 2] == width - 1).any()
    too_early = np.column_stack([in_views[:, :4].clip(0, max(height, width)), in_views[:, 4]])
    with pytest.raises(AssertionError):
        assert_same_detections(ours, plain_multi_scale.vote(too_early, (height, width)))
