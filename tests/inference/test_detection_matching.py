"""Detections as sets: what makes no difference, what does, and what a cut may explain."""

import time
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.detections import assert_same_detections
from srn_d2.inference.detection_matching import compare_detections

BOX, SCORE = 0.05, 1e-3
LIMITS = {"box_tolerance": BOX, "score_tolerance": SCORE}


@st.composite
def detection_sets(draw, least=0):
    """Boxes (n, 4) and scores (n,), many of the same place, the same score, or both."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    number = draw(st.integers(least, 40))
    places = rng.uniform(0, 300, (draw(st.integers(1, 40)), 4))
    values = rng.uniform(0, 1, draw(st.integers(1, 40)))
    return places[rng.integers(0, len(places), number)], values[
        rng.integers(0, len(values), number)
    ]


def changed(detections, index, *, box=0.0, score=0.0):
    """With one detection's box moved to the right and its score raised."""
    boxes, scores = (values.copy() for values in detections)
    boxes[index] += [box, 0, box, 0]
    scores[index] += score
    return boxes, scores


def without(detections, index):
    boxes, scores = detections
    return np.delete(boxes, index, axis=0), np.delete(scores, index)


@given(detection_sets(), st.randoms(use_true_random=False))
def test_neither_the_order_nor_small_differences_count(detections, random):
    boxes, scores = detections
    order = random.sample(range(len(scores)), len(scores))
    rng = np.random.default_rng(random.randrange(2**32))
    moved = boxes[order] + rng.uniform(-0.9 * BOX, 0.9 * BOX, boxes.shape)
    nearly = scores[order] + rng.uniform(-0.9 * SCORE, 0.9 * SCORE, scores.shape)
    comparison = compare_detections(detections, (moved, nearly), **LIMITS)
    assert comparison.is_same, comparison.description
    assert comparison.num_expected == comparison.num_found == len(scores)
    assert comparison.num_cut == 0
    assert comparison.box_difference < BOX
    assert comparison.score_difference < SCORE
    exact = compare_detections(
        detections, (boxes[order], scores[order]), box_tolerance=0, score_tolerance=0
    )
    assert exact.is_same
    assert exact.box_difference == exact.score_difference == 0


@given(detection_sets(least=1), st.data())
def test_every_change_is_found_on_both_sides(detections, data):
    index = data.draw(st.integers(0, len(detections[1]) - 1))
    far = 1000.0  # beyond all places
    for other in (
        changed(detections, index, box=far),
        changed(detections, index, score=2.0),
    ):
        comparison = compare_detections(detections, other, **LIMITS)
        assert not comparison.is_same
        assert len(comparison.missing) == 1
        assert comparison.surplus.tolist() == [index]
    fewer = compare_detections(detections, without(detections, index), **LIMITS)
    assert (len(fewer.missing), len(fewer.surplus)) == (1, 0)
    doubled = tuple(np.concatenate([values, values[[index]]]) for values in detections)
    more = compare_detections(detections, doubled, **LIMITS)
    assert (len(more.missing), len(more.surplus)) == (0, 1)


@given(detection_sets(), detection_sets())
def test_it_is_symmetric(detections, others):
    near = tuple(
        np.concatenate([a[: len(a) // 2], b[: len(b) // 2]])
        for a, b in zip(detections, others, strict=True)
    )
    there = compare_detections(detections, near, **LIMITS)
    back = compare_detections(near, detections, **LIMITS)
    assert there.is_same == back.is_same
    assert len(there.missing) == len(back.surplus)
    assert len(there.surplus) == len(back.missing)
    assert there.box_difference == back.box_difference
    assert there.score_difference == back.score_difference


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_as_many_as_possible_are_matched(seed, number):
    """Crowded detections, each with several possible partners, against all assignments."""
    rng = np.random.default_rng(seed)
    sets = [
        (rng.integers(0, 3, (number, 4)) * 0.03, rng.integers(0, 4, number) * 6e-4)
        for _ in range(2)
    ]
    (boxes, scores), (other_boxes, other_scores) = sets
    possible = (np.abs(boxes[:, None] - other_boxes).max(axis=2) <= BOX) & (
        np.abs(scores[:, None] - other_scores) <= SCORE
    )
    most = max(possible[range(number), order].sum() for order in permutations(range(number)))
    assert number - len(compare_detections(*sets, **LIMITS).missing) == most


def test_scores_decide_between_boxes_that_coincide():
    box = [10.0, 10, 30, 30]
    expected = ([box, box, box], [0.9, 0.5, 0.4])
    assert_same_detections(([box, box, box], [0.4, 0.9, 0.5]), expected)
    swapped = compare_detections(expected, ([box, box, box], [0.9, 0.5, 0.5]), **LIMITS)
    assert swapped.missing.tolist() == [2]
    assert len(swapped.surplus) == 1


@pytest.mark.parametrize(
    ("cut", "is_same"),
    [(0.5, True), (0.6, False), ((0.2, 0.7), True), ((0.5, 0.5), True), ((0.51, 0.7), False)],
)
def test_a_cut_in_a_range_of_scores_explains_a_detection(cut, is_same):
    one = ([[10.0, 10, 30, 30]], [0.5])
    none = (np.zeros((0, 4)), np.zeros(0))
    assert compare_detections(one, none, cut_scores=[cut], **LIMITS).is_same == is_same
    assert compare_detections(none, one, cut_scores=[cut], **LIMITS).is_same == is_same


def test_chains_do_not_mislead():
    """The nearest partner of the one is the only partner of the other."""
    boxes = np.array([[0.0, 0, 9, 9], [0.06, 0, 9, 9]])
    others = np.array([[0.04, 0, 9, 9], [-0.02, 0, 9, 9]])
    assert compare_detections((boxes, [0.5] * 2), (others, [0.5] * 2), **LIMITS).is_same


def test_empty_sets():
    nothing, something = (np.zeros((0, 4)), np.zeros(0)), ([[0, 0, 9, 9]], [0.5])
    both = compare_detections(nothing, nothing, **LIMITS)
    assert both.is_same
    assert both.box_difference == both.score_difference == 0
    assert compare_detections(something, nothing, **LIMITS).missing.tolist() == [0]
    assert compare_detections(nothing, something, **LIMITS).surplus.tolist() == [0]
    with pytest.raises(AssertionError):
        assert_same_detections(nothing, nothing)
    assert_same_detections(nothing, nothing, at_least=0)


def test_what_is_not_a_number_has_no_partner():
    broken = ([[np.nan, 0, 9, 9], [20, 20, 40, 40]], [0.5, np.nan])
    comparison = compare_detections(broken, broken, **LIMITS)
    assert comparison.missing.tolist() == comparison.surplus.tolist() == [0, 1]
    assert "2 of 2 expected" in comparison.description


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 4\).*\(3,\)"):
        compare_detections(
            (np.zeros((2, 4)), np.zeros(3)), (np.zeros((2, 4)), np.zeros(2)), **LIMITS
        )


# --- cuts ----------------------------------------------------------------------------------------


def row_of(scores):
    """Detections side by side."""
    return [[30.0 * index, 0, 30 * index + 20, 20] for index in range(len(scores))], scores


def test_a_score_at_the_threshold_may_be_on_one_side_only():
    expected = row_of([0.9, 0.7, 0.0502])
    found = row_of([0.9, 0.7])
    assert not compare_detections(expected, found, **LIMITS).is_same
    for one, other in ((expected, found), (found, expected)):
        comparison = compare_detections(one, other, cut_scores=[0.05], **LIMITS)
        assert comparison.is_same
        assert comparison.num_cut == 1
        assert "1 more without a partner may have been cut" in comparison.description
    clearly = row_of([0.9, 0.7, 0.0512])
    assert not compare_detections(clearly, found, cut_scores=[0.05], **LIMITS).is_same
    assert not compare_detections(expected, row_of([0.9]), cut_scores=[0.05], **LIMITS).is_same


def test_of_nearly_equal_last_scores_any_may_fill_a_full_set():
    boxes, scores = row_of(np.array([0.9, 0.7, 0.5004, 0.5]))
    boxes = np.array(boxes)
    one, other = (boxes[[0, 1, 2]], scores[[0, 1, 2]]), (boxes[[0, 1, 3]], scores[[0, 1, 3]])
    assert not compare_detections(one, other, **LIMITS).is_same
    comparison = compare_detections(one, other, max_detections=3, **LIMITS)
    assert comparison.is_same
    assert comparison.num_cut == 2
    # One too many is a difference.
    assert not compare_detections(one, (boxes, scores), max_detections=3, **LIMITS).is_same
    # Neither is full.
    assert not compare_detections(one, other, max_detections=4, **LIMITS).is_same
    # The other one's last score says that it has left out a better one.
    weaker = (other[0], np.array([0.9, 0.7, 0.4]))
    assert compare_detections(one, weaker, max_detections=3, **LIMITS).missing.tolist() == [2]
    # A difference further up is no matter of the cut.
    assert compare_detections(
        one, changed(other, 0, box=1.0), max_detections=3, **LIMITS
    ).missing.tolist() == [0]


# --- description and speed -----------------------------------------------------------------------


def test_the_description_names_who_is_alone():
    expected, found = row_of([0.9, 0.8, 0.7, 0.6, 0.5]), row_of([0.9, 0.8])
    text = compare_detections(expected, found, **LIMITS).description
    assert "3 of 5 expected and 0 of 2 found detections have no partner within 0.05 pixels" in text
    assert "expected [60.00, 0.00, 80.00, 20.00] of score 0.7, whose nearest is 30 pixels" in text
    crowd = compare_detections(row_of([0.5] * 9), (np.zeros((0, 4)), []), **LIMITS).description
    assert "6 more expected" in crowd
    assert "nearest" not in crowd
    with pytest.raises(AssertionError, match="3 of 5 expected"):
        assert_same_detections(found, expected)


@pytest.mark.parametrize("kind", ["apart", "in one place", "in one place, of one score"])
def test_the_most_detections_of_an_image_take_little_time(kind):
    rng = np.random.default_rng(0)
    boxes, scores = rng.uniform(0, 1000, (2000, 4)), rng.uniform(0, 1, 2000)
    if kind != "apart":
        boxes[:750] = boxes[0]
    if kind == "in one place, of one score":
        scores[:750] = 0.5
    order = rng.permutation(2000)
    start = time.perf_counter()
    assert compare_detections((boxes, scores), (boxes[order], scores[order]), **LIMITS).is_same
    assert time.perf_counter() - start < 20  # it takes 0.3 on one core
