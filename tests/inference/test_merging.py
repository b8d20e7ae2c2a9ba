"""NMS and box voting against plain restatements, and their properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srn_d2.inference.detections import Detections, concatenate
from srn_d2.inference.merging import (
    clip_to_pixels,
    group_boxes,
    include_last_pixel,
    merge_by_nms,
    merge_by_voting,
    merge_passes,
    nms,
    vote_boxes,
)


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
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.array(scores, dtype=np.float64),
        **options,
    )
    return np.column_stack([boxes, scores])


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


@settings(max_examples=60, deadline=None)
@given(crowded_boxes(), st.booleans())
def test_it_equals_the_plain_restatement(detections, keep_single):
    np.testing.assert_allclose(
        vote(*detections, keep_single=keep_single),
        plain_vote(*detections, keep_single=keep_single),
        rtol=1e-12,
    )


@settings(max_examples=30, deadline=None)
@given(crowded_boxes(), st.randoms(use_true_random=False))
def test_the_order_of_the_boxes_makes_no_difference(detections, random):
    pairs = list(zip(*detections, strict=True))
    random.shuffle(pairs)
    shuffled = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    np.testing.assert_allclose(vote(*shuffled), vote(*detections), rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(crowded_boxes())
def test_twice_the_same_detections_give_the_same_boxes_and_none_is_single(detections):
    boxes, scores = detections
    twice = vote(boxes + boxes, scores + scores)
    np.testing.assert_allclose(twice, vote(boxes, scores, keep_single=True), rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(crowded_boxes())
def test_boxes_that_nothing_overlaps_stay_as_they_are(detections):
    """Voting the leaders once more changes nothing: by construction they don't overlap."""
    boxes, scores = detections
    ordered = include_last_pixel(np.array(boxes, dtype=np.float64).reshape(-1, 4))
    _, leaders = group_boxes(ordered, 0.5, inclusive=True)
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
    boxes, scores = vote_boxes(np.zeros((0, 4)), np.zeros(0))
    assert (boxes.shape, scores.shape) == ((0, 4), (0,))
    boxes, scores = vote_boxes(
        np.ones((3, 4), np.float32), np.ones(3, np.float32), keep_single=True
    )
    assert (boxes.dtype, scores.dtype) == (np.float32, np.float32)


def test_sums_are_in_double_precision():
    """1000 copies of a box far to the right: float32 would lose its decimals."""
    box = np.array([[4000.1, 4000.2, 4010.3, 4010.4]], dtype=np.float32)
    boxes, _ = vote_boxes(box.repeat(1000, axis=0), np.full(1000, 0.1, dtype=np.float32))
    np.testing.assert_array_equal(boxes, box)


def test_many_boxes():
    """As many as no schedule gives: every box is in one group, whose leader overlaps it."""
    rng = np.random.default_rng(0)
    corners = rng.random((20_000, 2)) * 300
    boxes = np.concatenate([corners, corners + 5 + 60 * rng.random((20_000, 2))], axis=1)
    groups, leaders = group_boxes(boxes, 0.5, inclusive=True)
    np.testing.assert_array_equal(groups[leaders], np.arange(len(leaders)))
    assert (np.diff(leaders) > 0).all()
    led = boxes[leaders[groups]]
    inter = np.minimum(led[:, 2:], boxes[:, 2:]) - np.maximum(led[:, :2], boxes[:, :2])
    inter = inter.clip(min=0).prod(axis=1)
    areas = [(b[:, 2:] - b[:, :2]).prod(axis=1) for b in (led, boxes)]
    assert (inter / (areas[0] + areas[1] - inter)).min() > 0.5 - 1e-6


def test_corners_are_clipped_to_the_first_and_last_pixel():
    boxes = np.array([[-3.0, -2.0, 50.0, 60.0], [1.5, 2.5, 3.5, 4.5], [70.0, 80.0, 90.0, 99.0]])
    wanted = [[0, 0, 39, 29], [1.5, 2.5, 3.5, 4.5], [39, 29, 39, 29]]
    assert clip_to_pixels(boxes, (30, 40)).tolist() == wanted


# --- non-maximum suppression, and whole sets of detections ---------------------------------------


def plain_nms(boxes, scores, threshold):
    """NMS of boxes with whole corners by counting their pixels, in fractions of integers."""
    left = sorted(range(len(boxes)), key=lambda i: -scores[i])
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        ours = pixels(boxes[best])
        left = [
            i
            for i in left
            if len(ours & pixels(boxes[i])) <= threshold * len(ours | pixels(boxes[i]))
        ]
    return kept


@settings(max_examples=60, deadline=None)
@given(crowded_boxes(), st.sampled_from([0.25, 0.5, 0.75]))
def test_nms_equals_the_plain_restatement(detections, threshold):
    boxes, scores = detections
    wide = include_last_pixel(np.array(boxes, dtype=np.float32).reshape(-1, 4))
    kept = nms(wide, np.array(scores, dtype=np.float32), threshold)
    assert kept.tolist() == plain_nms(boxes, scores, threshold)


def set_of(boxes, scores, labels):
    return Detections(
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(scores, dtype=np.float32),
        np.array(labels, dtype=np.int64),
    )


@settings(max_examples=30, deadline=None)
@given(crowded_boxes(), st.randoms(use_true_random=False))
def test_classes_are_merged_by_themselves(detections, random):
    boxes, scores = detections
    found = set_of(boxes, scores, [random.choice([0, 3]) for _ in boxes])
    for merge in (
        lambda x: merge_by_nms(x, 0.3, 1000),
        lambda x: merge_by_voting(x, (90, 90), keep_single=True, max_detections=1000),
    ):
        merged = merge(found)
        assert (np.diff(merged.scores) <= 0).all()
        for label in (0, 3):
            alone = merge(found.take(found.labels == label))
            for values, expected in zip(merged.take(merged.labels == label), alone, strict=True):
                np.testing.assert_array_equal(values, expected)
        assert len(merge_by_nms(found, 0.3, 2).scores) == min(
            2, len(merge_by_nms(found, 0.3, 1000).scores)
        )


def test_passes_are_merged_only_where_a_further_one_found_something():
    first = set_of([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]], [0.9, 0.8, 0.3], [0, 0, 0])
    nothing = first.take(slice(0))
    assert merge_passes([first, nothing], 0.5, 2) is first
    whole = set_of([[0, 0, 40, 40]], [0.95], [0])
    merged = merge_passes([first, nothing, whole], 0.5, 10)
    assert merged.boxes.tolist() == [[0, 0, 40, 40], [50, 50, 60, 60]]
    assert len(merge_passes([first, whole], 0.5, 1).scores) == 1
    assert concatenate([first, whole]).scores.tolist() == [*first.scores, *whole.scores]
