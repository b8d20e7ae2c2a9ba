"""Post-processing on made-up predictions."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.modeling.box_regression import Box2BoxTransform
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_iou, nms

from srn_d2.inference import array_postprocessing, merging
from srn_d2.modeling.postprocessing import (
    FEW_CELLS,
    MAX_SIZE_EXPONENT,
    PaperPostprocessing,
    ReleasedPostprocessing,
    build_postprocessing,
    inclusive_nms,
    scores_by_size,
    vote_kept_boxes,
)

TRANSFORM = Box2BoxTransform(weights=(1.0, 1.0, 1.0, 1.0), scale_clamp=math.inf)


def released(**changes):
    options = {"score_threshold": 0.05, "topk_candidates": 6000, "nms_threshold": 0.4}
    return ReleasedPostprocessing(TRANSFORM, **{**options, "max_detections": 750, **changes})


def far_apart(number):
    """Boxes of 8 x 8 that do not touch: (number, 4)."""
    x = 20.0 * torch.arange(number)
    return torch.stack([x, torch.zeros(number), x + 8, torch.full((number,), 8.0)], dim=1)


def detect(postprocessing, scores, level_cells):
    scores = torch.as_tensor(scores)
    boxes = far_apart(len(scores))
    return postprocessing(scores, torch.zeros_like(boxes), boxes, level_cells, (10, 10))


def random_boxes(number, seed):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(number, 2, generator=generator) * 60
    sides = torch.rand(number, 2, generator=generator) * 30
    return torch.cat([corner, corner + sides], dim=1), torch.rand(number, generator=generator)


def plain_iou(a, b):
    """IoU of the pixels of two boxes with integer corners, counted one by one."""

    def pixels(box):
        x1, y1, x2, y2 = box
        return {(x, y) for x in range(x1, x2 + 1) for y in range(y1, y2 + 1)}

    return len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b))


def plain_inclusive_nms(boxes, scores, threshold):
    kept = []
    for i in scores.argsort(descending=True).tolist():
        if all(plain_iou(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("seed", range(3))
def test_inclusive_nms_counts_pixels(seed):
    boxes, scores = random_boxes(120, seed)
    boxes = boxes.round()
    expected = plain_inclusive_nms(boxes.int().tolist(), scores, 0.4)
    assert inclusive_nms(boxes, scores, 0.4).tolist() == expected
    assert nms(boxes, scores, 0.4).tolist() != expected  # the pixel makes a difference


@pytest.mark.parametrize(("width", "kept"), [(4, [0]), (3, [0]), (2, [0, 1]), (1, [0, 1])])
def test_inclusive_nms_removes_above_the_threshold_only(width, kept):
    """Against 5 pixels: an IoU of 0.8, 0.6, just 0.4 and 0.2."""
    boxes = torch.tensor([[0, 0, 4, 0], [0, 0, width - 1, 0]], dtype=torch.float32)
    assert inclusive_nms(boxes, torch.tensor([0.9, 0.8]), 0.4).tolist() == kept


def test_inclusive_nms_of_nothing():
    assert inclusive_nms(torch.zeros(0, 4), torch.zeros(0), 0.4).tolist() == []


def test_a_level_of_few_cells_has_no_threshold():
    """120 cells are enough, however many anchors they have; zero and below is no candidate."""
    many, few = FEW_CELLS, FEW_CELLS - 1
    scores = torch.full((2 * (many + few),), -1.0)
    scores[0], scores[1], scores[2] = 0.06, 0.05, 0.04
    scores[2 * many], scores[2 * many + 1], scores[2 * many + 2] = 0.03, 1e-6, 0.0
    found = detect(released(), scores, [many, few])
    torch.testing.assert_close(found.scores, torch.tensor([0.06, 0.03, 1e-6]))
    wanted = far_apart(len(scores))[[0, 2 * many, 2 * many + 1]]
    torch.testing.assert_close(found.pred_boxes.tensor, wanted)


def test_released_candidates_are_the_best_of_each_level():
    scores = [0.9, 0.8, 0.7, 0.6, 0.3, 0.2]  # four anchors of the first level, two of the other
    found = detect(released(topk_candidates=3), scores, [2, 1])
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.8, 0.7, 0.3, 0.2]))
    found = detect(released(topk_candidates=3, max_detections=4), scores, [2, 1])
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.8, 0.7, 0.3]))


def test_paper_candidates_are_the_best_of_all_levels():
    paper = PaperPostprocessing(TRANSFORM, 0.65, 3, 0.5, 750)
    found = detect(paper, [0.5, 0.6, 0.7, 0.9], [1, 1])
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.7]))  # 0.6 is below 0.65
    assert found.pred_boxes.tensor[:, 0].tolist() == [60.0, 40.0]
    assert found.pred_classes.tolist() == [0, 0]


@pytest.mark.parametrize("postprocessing", [released(), PaperPostprocessing(TRANSFORM, 0, 9, 1, 9)])
def test_no_candidate_gives_no_detection(postprocessing):
    found = detect(postprocessing, [-1.0, -1.0], [1])
    assert len(found) == 0
    assert found.pred_boxes.tensor.shape == (0, 4)


def plain_voting(kept, boxes, scores, none, full):
    """Box voting, box by box."""
    voted = []
    for box in kept:
        total, weight = torch.zeros(4), 0.0
        for other, score, iou in zip(boxes, scores, box_iou(box[None], boxes)[0], strict=True):
            share = score * min(max((iou - none) / (full - none), 0), 1)
            total, weight = total + share * other, weight + share
        voted.append(total / weight)
    return torch.stack(voted)


@pytest.mark.parametrize("seed", range(3))
def test_box_voting_equals_the_plain_restatement(seed):
    boxes, scores = random_boxes(150, seed)
    boxes += 1000.0 * (torch.arange(150) % 2)[:, None]  # two crowds far apart
    kept = boxes[nms(boxes, scores, 0.5)]
    expected = plain_voting(kept, boxes, scores, 0.4, 0.7)
    assert (expected - kept).abs().max() > 1
    voted = vote_kept_boxes(kept, boxes, scores, (0.4, 0.7))
    torch.testing.assert_close(voted, expected, rtol=0, atol=1e-3)
    arrays = (kept.numpy(), boxes.numpy(), scores.numpy())
    voted = merging.vote_kept_boxes(*arrays, (0.4, 0.7))
    np.testing.assert_allclose(voted, expected.numpy(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("shift", [0.0, 10_000.0])
def test_box_voting_leaves_a_box_that_no_other_overlaps_or_only_the_same(shift):
    boxes = far_apart(3).repeat(2, 1) + shift
    scores = torch.tensor([0.9, 0.8, 0.7, 0.3, 0.2, 1e-6])
    assert torch.equal(vote_kept_boxes(boxes[:3], boxes, scores, (0.6, 0.8)), boxes[:3])


def test_box_voting_under_autocast_is_in_full_precision():
    boxes, scores = random_boxes(50, 1)
    expected = vote_kept_boxes(boxes, boxes, scores, (0.3, 0.6))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(vote_kept_boxes(boxes, boxes, scores, (0.3, 0.6)), expected)


def test_a_candidate_without_bounds_moves_no_other_box():
    boxes = torch.tensor([[0, 0, 8, 8], [1, 0, 9, 8], [-math.inf, 0, math.inf, 8]])
    voted = vote_kept_boxes(boxes[:1], boxes, torch.tensor([0.5, 0.5, 0.5]), (0.6, 0.7))
    expected = [[0.5, 0, 8.5, 8]]
    torch.testing.assert_close(voted, torch.tensor(expected))
    scores = np.full(3, 0.5, np.float32)
    voted = merging.vote_kept_boxes(boxes[:1].numpy(), boxes.numpy(), scores, (0.6, 0.7))
    np.testing.assert_allclose(voted, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [PaperPostprocessing, ReleasedPostprocessing])
def test_detections_are_voted_for_if_the_config_says_so(kind):
    anchors = torch.tensor([[0.0, 0, 10, 10], [2, 0, 12, 10], [0, 0, 10, 5]])
    scores, deltas = torch.tensor([0.6, 0.3, 0.5]), torch.zeros(3, 4)
    found = kind(TRANSFORM, 0.0, 9, 0.4, 9)(scores, deltas, anchors, [1, 1, 1], (12, 12))
    assert found.pred_boxes.tensor.tolist() == [[0, 0, 10, 10]]
    voting = kind(TRANSFORM, 0.0, 9, 0.4, 9, voting_ious=(0.6, 0.65))
    found = voting(scores, deltas, anchors, [1, 1, 1], (12, 12))
    torch.testing.assert_close(
        found.pred_boxes.tensor, torch.tensor([[2 / 3, 0, 10 + 2 / 3, 10]])
    )  # IoU 2/3 with the second, 1/2 with the third
    assert found.scores.tolist() == [pytest.approx(0.6)]


@given(
    sizes=st.lists(st.floats(1, 1000), min_size=2, max_size=20),
    score=st.floats(0.001, 0.999),
    exponent=st.floats(0, 2),
)
def test_scores_by_size_add_a_term_of_the_size_to_the_logit(sizes, score, exponent):
    sizes = torch.tensor(sizes)
    boxes = torch.stack([0 * sizes, 0 * sizes, 0.5 * sizes, 2 * sizes], dim=1) + 7
    scores = torch.full((len(sizes),), score)
    found = scores_by_size(boxes, scores, exponent)
    expected = scores.logit() + exponent * (sizes.clamp(8, 48) / 16).log()
    torch.testing.assert_close(found, expected.sigmoid(), rtol=1e-4, atol=1e-5)
    metadata = SimpleNamespace(size_exponent=exponent, size_reference=16.0, size_limits=(8.0, 48.0))
    arrays = array_postprocessing.scores_by_size(boxes.numpy(), scores.numpy(), metadata)
    np.testing.assert_allclose(arrays, found, rtol=1e-5)
    assert arrays.dtype == np.float32


def test_scores_by_size_keep_zero_one_and_the_order_of_boxes_of_one_size():
    boxes = torch.tensor([[3.0, 5, 12, 14]]).repeat(101, 1)
    scores = torch.linspace(0, 1, 101)
    lower = scores_by_size(boxes, scores, 0.5)
    assert lower[0] == 0
    assert lower[-1] == 1
    assert (lower.diff() > 0).all()
    assert (lower[1:-1] < scores[1:-1]).all()
    assert torch.equal(scores_by_size(boxes, scores, 0.0), scores)


def test_scores_by_size_of_boxes_without_bounds_and_without_area():
    boxes = torch.tensor([[-math.inf, 3, math.inf, 3], [0, 0, math.inf, 9], [4, 4, 4, 9]])
    scores = torch.tensor([0.5, 0.5, 1.0])
    found = scores_by_size(boxes, scores, MAX_SIZE_EXPONENT)
    highest = 3.0**MAX_SIZE_EXPONENT
    expected = [1 / (1 + 2.0**MAX_SIZE_EXPONENT), highest / (1 + highest), 1.0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    metadata = SimpleNamespace(
        size_exponent=MAX_SIZE_EXPONENT, size_reference=16.0, size_limits=(8.0, 48.0)
    )
    arrays = array_postprocessing.scores_by_size(boxes.numpy(), scores.numpy(), metadata)
    np.testing.assert_allclose(arrays, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", [PaperPostprocessing, ReleasedPostprocessing])
def test_scores_are_changed_by_size_before_nms_if_the_config_says_so(kind):
    boxes = torch.tensor([[0.0, 0, 30, 30], [0, 0, 40, 40], [70, 70, 78, 78]])
    scores, deltas = torch.tensor([0.52, 0.5, 0.6]), torch.zeros(3, 4)
    found = kind(TRANSFORM, 0.0, 9, 0.4, 9)(scores, deltas, boxes, [1, 1, 1], (90, 90))
    assert found.pred_boxes.tensor[:, 3].tolist() == [78, 30]
    by_size = kind(TRANSFORM, 0.0, 9, 0.4, 9, size_exponent=1.0)
    found = by_size(scores, deltas, boxes, [1, 1, 1], (90, 90))
    assert found.pred_boxes.tensor[:, 3].tolist() == [40, 78]
    assert found.scores.tolist() == pytest.approx([2.5 / 3.5, 0.75 / 1.75])


@pytest.mark.parametrize("exponent", [-0.1, 10.1, math.inf, math.nan])
def test_a_wrong_exponent_of_the_size_is_named(small_cfg, exponent):
    cfg = small_cfg("MODEL.SRN.SCORE_SIZE_EXPONENT_TEST", exponent)
    with pytest.raises(ValueError, match="SCORE_SIZE_EXPONENT_TEST is"):
        build_postprocessing(cfg, TRANSFORM)


@pytest.mark.parametrize("ious", [[0.5], [0.7, 0.7], [0.8, 0.6], [-0.1, 0.5], [0.5, 1.5]])
def test_wrong_ious_of_box_voting_are_named(small_cfg, ious):
    cfg = small_cfg("MODEL.SRN.BOX_VOTING_IOUS_TEST", ious)
    with pytest.raises(ValueError, match=r"BOX_VOTING_IOUS_TEST is \["):
        build_postprocessing(cfg, TRANSFORM)


def test_the_config_chooses(small_cfg):
    assert isinstance(build_postprocessing(small_cfg(), TRANSFORM), PaperPostprocessing)
    cfg = small_cfg("MODEL.SRN.POSTPROCESSING", "released", "MODEL.SRN.NMS_THRESH_TEST", 0.3)
    cfg.MODEL.SRN.SCORE_SIZE_EXPONENT_TEST = 0.25
    chosen = build_postprocessing(cfg, TRANSFORM)
    assert isinstance(chosen, ReleasedPostprocessing)
    assert chosen.size_exponent == 0.25
    assert chosen.nms_threshold == 0.3
    cfg = small_cfg("MODEL.SRN.POSTPROCESSING", "soft")
    with pytest.raises(ValueError, match=r"POSTPROCESSING is 'soft'.*paper.*released"):
        build_postprocessing(cfg, TRANSFORM)
