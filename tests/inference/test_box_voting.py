"""Box voting against a plain restatement, and its properties."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srn_d2.inference.box_voting import clip_to_pixels, group_boxes, vote_boxes


def pixels(box):
    """The pixels of a box whose corners are whole numbers."""
    x1, y1, x2, y2 = (int(value) for value in box)
    return {(x, y) for x in range(x1, x2 + 1) for y in range(y1, y2 + 1)}


def plain_vote(boxes, scores, keep_single=False):
    """Voting on boxes with whole corners by counting pixels: (G, 5), boxes and scores."""
    left = sorted(zip(boxes, scores, strict=True), key=lambda pair: -pair[1])
    voted = []
    while left:
        best = pixels(left[0][0])
        overlaps = [
            2 * len(best & pixels(box)) >= len(best | pixels(box))  # IoU >= 1/2, in integers
            for box, _ in left
        ]
        group = [pair for pair, overlap in zip(left, overlaps, strict=True) if overlap]
        left = [pair for pair, overlap in zip(left, overlaps, strict=True) if not overlap]
        if len(group) > 1 or keep_single:
            total = sum(score for _, score in group)
            mean = [sum(box[i] * score for box, score in group) / total for i in range(4)]
            voted.append([*mean, group[0][1]])
    return np.array(voted).reshape(-1, 5)


def vote(boxes, scores, **options):
    boxes, scores = vote_boxes(
        torch.as_tensor(boxes, dtype=torch.float64).reshape(-1, 4),
        torch.as_tensor(scores, dtype=torch.float64),
        **options,
    )
    return torch.cat([boxes, scores[:, None]], dim=1).numpy()


@st.composite
def crowded_boxes(draw):
    """(n, 4) boxes with whole corners that often overlap by half, and scores that all differ."""
    coordinate, side = st.integers(0, 6), st.integers(1, 6)
    number = draw(st.integers(0, 20))
    corners = np.array(
        [[draw(coordinate), draw(coordinate), draw(side), draw(side)] for _ in range(number)]
    ).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2] - 1
    ranks = draw(st.permutations(range(1, number + 1)))
    return corners.tolist(), [rank / (number + 1) for rank in ranks]


@settings(max_examples=150, deadline=None)
@given(crowded_boxes(), st.booleans())
def test_it_equals_the_plain_restatement(detections, keep_single):
    np.testing.assert_allclose(
        vote(*detections, keep_single=keep_single),
        plain_vote(*detections, keep_single=keep_single),
        rtol=1e-12,
    )


@settings(max_examples=50, deadline=None)
@given(crowded_boxes(), st.randoms(use_true_random=False))
def test_the_order_of_the_boxes_makes_no_difference(detections, random):
    pairs = list(zip(*detections, strict=True))
    random.shuffle(pairs)
    shuffled = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    np.testing.assert_allclose(vote(*shuffled), vote(*detections), rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(crowded_boxes())
def test_twice_the_same_detections_give_the_same_boxes_and_none_is_single(detections):
    boxes, scores = detections
    twice = vote(boxes + boxes, scores + scores)
    np.testing.assert_allclose(twice, vote(boxes, scores, keep_single=True), rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(crowded_boxes())
def test_boxes_that_nothing_overlaps_stay_as_they_are(detections):
    """Voting the leaders once more changes nothing: by construction they don't overlap."""
    boxes, scores = detections
    _, leaders = group_boxes(torch.tensor(boxes).reshape(-1, 4).double(), 0.5)
    boxes, scores = [boxes[i] for i in leaders], [1 / (1 + i) for i in range(len(leaders))]
    once = vote(boxes, scores, keep_single=True)
    np.testing.assert_allclose(once[:, :4], np.reshape(boxes, (-1, 4)), rtol=1e-12)
    assert len(vote(boxes, scores)) == 0


@pytest.mark.parametrize(("last", "merged"), [(4, True), (5, True), (9, True), (3, False)])
def test_half_an_overlap_is_enough_counted_in_pixels(last, merged):
    """Against 10 pixels in a row: 5 are an IoU of exactly 1/2; by x2 - x1 it would be 4 / 9."""
    voted = vote([[0, 0, 9, 0], [0, 0, last, 0]], [0.6, 0.2])
    assert len(voted) == merged
    if merged:
        np.testing.assert_allclose(voted, [[0, 0, (9 * 0.6 + last * 0.2) / 0.8, 0, 0.6]])


def test_a_group_is_what_overlaps_its_best_box_and_the_rest_goes_on():
    """The third overlaps the second only: the two do not meet in one group, it waits for others."""
    boxes = [[0, 0, 9, 9], [3, 0, 12, 9], [6, 0, 15, 9], [7, 0, 16, 9]]
    voted = vote(boxes, [0.9, 0.3, 0.2, 0.1])
    assert voted.shape == (2, 5)
    np.testing.assert_allclose(voted[0], [0.75, 0, 9.75, 9, 0.9])
    np.testing.assert_allclose(voted[1], [19 / 3, 0, 46 / 3, 9, 0.2])


def test_single_boxes_leave_unless_wanted():
    boxes, scores = [[0, 0, 9, 9], [50, 0, 59, 9], [1, 0, 10, 9]], [0.5, 0.9, 0.5]
    np.testing.assert_allclose(vote(boxes, scores), [[0.5, 0, 9.5, 9, 0.5]])
    wanted = [[50, 0, 59, 9, 0.9], [0.5, 0, 9.5, 9, 0.5]]
    np.testing.assert_allclose(vote(boxes, scores, keep_single=True), wanted)


def test_groups_of_score_zero_leave():
    assert len(vote([[0, 0, 9, 9], [0, 0, 9, 9]], [0.0, 0.0], keep_single=True)) == 0


def test_a_box_that_is_no_number_is_a_group_of_its_own():
    boxes = [[0, 0, float("inf"), 9], [0, 0, 9, 9], [float("nan")] * 4, [0, 0, 9, 9]]
    np.testing.assert_allclose(vote(boxes, [0.9, 0.8, 0.7, 0.6]), [[0, 0, 9, 9, 0.8]])


def test_of_nothing_comes_nothing_in_the_types_of_the_input():
    boxes, scores = vote_boxes(torch.zeros(0, 4), torch.zeros(0))
    assert (boxes.shape, scores.shape) == ((0, 4), (0,))
    boxes, scores = vote_boxes(torch.rand(3, 4), torch.rand(3), keep_single=True)
    assert (boxes.dtype, scores.dtype) == (torch.float32, torch.float32)


def test_sums_are_in_double_precision():
    """1000 copies of a box far to the right: float32 would lose its decimals."""
    box = torch.tensor([[4000.1, 4000.2, 4010.3, 4010.4]])
    boxes, _ = vote_boxes(box.expand(1000, 4), torch.full((1000,), 0.1))
    assert torch.equal(boxes, box)


def test_many_boxes():
    """As many as no schedule gives: every box is in one group, whose leader overlaps it."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(20_000, 2, generator=generator) * 300
    boxes = torch.cat([corners, corners + 4 + 60 * torch.rand(20_000, 2, generator=generator)], 1)
    groups, leaders = group_boxes(boxes, 0.5)
    assert torch.equal(groups[leaders], torch.arange(len(leaders)))
    assert (leaders.diff() > 0).all()
    led = boxes.double()[leaders[groups]]
    inter = torch.minimum(led[:, 2:], boxes[:, 2:]) - torch.maximum(led[:, :2], boxes[:, :2]) + 1
    inter = inter.clamp(min=0).prod(dim=1)
    areas = [(b[:, 2:] - b[:, :2] + 1).double().prod(dim=1) for b in (led, boxes)]
    assert (inter / (areas[0] + areas[1] - inter)).min() > 0.5 - 1e-6


def test_corners_are_clipped_to_the_first_and_last_pixel():
    boxes = torch.tensor([[-3.0, -2.0, 50.0, 60.0], [1.5, 2.5, 3.5, 4.5], [70.0, 80.0, 90.0, 99.0]])
    wanted = [[0, 0, 39, 29], [1.5, 2.5, 3.5, 4.5], [39, 29, 39, 29]]
    assert clip_to_pixels(boxes, (30, 40)).tolist() == wanted
