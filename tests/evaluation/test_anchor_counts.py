"""Positives and negatives with and without STC, on a tiny network with random weights."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances

from srn_d2.evaluation.anchor_counts import (
    AnchorCounts,
    anchor_table,
    count_anchors,
    plot_anchor_counts,
)

SIDE = 128
# Two anchors in each cell of P2 .. P7.
NUM_ANCHORS = 2 * sum((SIDE // stride) ** 2 for stride in (4, 8, 16, 32, 64, 128))
NUM_STC_ANCHORS = 2 * sum((SIDE // stride) ** 2 for stride in (4, 8, 16))


def sample(*boxes, ignore=()):
    generator = torch.Generator().manual_seed(len(boxes))
    instances = Instances((SIDE, SIDE))
    instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    instances.gt_classes = torch.zeros(len(boxes), dtype=torch.int64)
    instances.gt_ignore = torch.tensor([i in ignore for i in range(len(boxes))], dtype=torch.bool)
    pixels = torch.randint(0, 256, (3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    return {"image": pixels, "height": SIDE, "width": SIDE, "instances": instances}


# The 8 x 10 anchor of a P2 cell (stride 4, twice the stride): this face is one anchor exactly.
FACE = (58.0, 57.0, 66.0, 67.0)


def make_model(small_cfg, theta):
    torch.manual_seed(0)
    return build_model(small_cfg("MODEL.SRN.STC_THRESHOLD", theta, "MODEL.SRN.STR_LEVELS", []))


def test_image_without_faces(small_cfg):
    counts = count_anchors(make_model(small_cfg, 0.0), [[sample()]])
    # theta 0 removes all anchors of STC levels, and no other one.
    assert counts == AnchorCounts(1, 0, NUM_ANCHORS, 0, NUM_ANCHORS - NUM_STC_ANCHORS)
    assert "| without STC | 0.0 " in " ".join(anchor_table(counts).split())


def test_theta_one_removes_nothing(small_cfg):
    counts = count_anchors(make_model(small_cfg, 1.0), [[sample(FACE)]])
    assert counts.positives_before_stc == counts.positives_after_stc > 0
    assert counts.negatives_before_stc == counts.negatives_after_stc < NUM_ANCHORS


def test_means_over_images(small_cfg):
    model = make_model(small_cfg, 0.99)
    samples = [sample(), sample(FACE), sample(FACE, (10.0, 10.0, 90.0, 110.0), ignore=[1])]
    each = [count_anchors(model, [[one]]) for one in samples]
    together = count_anchors(model, [samples[:2], samples[2:]])
    assert together.num_images == 3
    for name in ("positives_before_stc", "negatives_before_stc", "negatives_after_stc"):
        mean = sum(getattr(counts, name) for counts in each) / 3
        assert getattr(together, name) == pytest.approx(mean)


def test_model_is_left_as_it_was(small_cfg):
    model = make_model(small_cfg, 0.99).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_anchors(model, [[sample(FACE)]])
    assert all(module.training for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())


def test_no_image_is_an_error(small_cfg):
    with pytest.raises(ValueError, match="no image"):
        count_anchors(make_model(small_cfg, 0.99), [])


def test_table_and_plot_show_the_ratio():
    counts = AnchorCounts(100, 22, 339700, 22, 8895)
    table = anchor_table(counts)
    assert "1 : 15440.9" in table
    assert "1 : 404.3" in table
    bars = plot_anchor_counts(counts).axes[0].containers
    heights = [bar.get_height() for container in bars for bar in container]
    assert heights == [22, 22, 339700, 8895]
