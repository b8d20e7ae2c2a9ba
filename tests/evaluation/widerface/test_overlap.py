"""Rule 3 of the official WIDER FACE protocol: overlaps in integer arithmetic."""

import itertools

import numpy as np
import pytest

from helpers.wider_face_cases import FACE, assigned_face
from srn_d2.evaluation.widerface.assignment import assign_detections

# Boxes one pixel high (h = 0), so that the sides are the areas.


def test_rule_3_sides_are_plus_one():
    assert assigned_face([5, 5, 0, 0], [5, 5, 0, 0]) == 0  # 1 / 1
    assert assigned_face([0, 0, 4, 0], [0, 0, 9, 0]) == 0  # 5 / 10; 4 / 9 without + 1


def test_rule_3_quotient_of_one_half_matches():
    assert assigned_face([0, 0, 4, 0], [0, 0, 9, 0]) == 0  # 5 / 10
    assert assigned_face([0, 0, 4, 0], [0, 0, 10, 0]) == -1  # 5 / 11


def test_rule_3_corners_are_rounded_half_away_from_zero():
    # 4.5 -> 5: 5 / (round(10 + 5.5) - 5) = 5 / 11; half to even would give 6 / 10.
    assert assigned_face([4.5, 0, 4.5, 0], [0, 0, 9, 0]) == -1
    # -0.5 -> -1: 2 / (5 - 2); rounded up to 0 it would be 1 / 4.
    assert assigned_face([-0.5, 0, 0.5, 0], [-1, 0, 2, 0]) == 0


def test_rule_3_area_of_the_detection_stays_in_float():
    # Corners 4.5 -> 5 and 9: of the rounded corners it would be 5 / (10 + 5 - 5).
    assert assigned_face([4.5, 0, 4.5, 0], [0, 0, 9, 0]) == -1


def test_rule_3_second_corner_is_rounded_after_the_sum():
    # x2 = 0.5 + 4.5 = 5 and 5 / (10 + 5.5 -> 16 - 5); rounding x and w first gives x2 = 6.
    assert assigned_face([0.5, 0, 4.5, 0], [0, 0, 9, 0]) == -1


def test_rule_3_sum_of_areas_is_rounded():
    # 5 / (round(10 + 5.4) - 5) = 5 / 10; without rounding 5 / 10.4.
    assert assigned_face([4.6, 0, 4.4, 0], [0, 0, 9, 0]) == 0
    # 4 / (round(12.5) - 4) = 4 / 9; half to even would give 4 / 8.
    assert assigned_face([4.4, 0, 3.5, 0], [0, 0, 7, 0]) == -1


def test_rule_3_boxes_apart_in_both_directions_do_not_match():
    # Both sides are -14: their product, 196, would give 196 / (200 - 196).
    assert assigned_face([24, 24, 9, 9], [0, 0, 9, 9]) == -1


@pytest.mark.parametrize("gap", [[10, 0], [0, 10], [-10, 0], [0, -10]])
def test_rule_3_boxes_that_only_touch_do_not_match(gap):
    assert assigned_face([*gap, 9, 9], [0, 0, 9, 9], iou_threshold=1e-6) == -1


def test_rule_3_arithmetic_saturates():
    # The true overlap is 1 / 3. Intersection and sum of areas are both 2 ** 31 - 1: union 0.
    assert assigned_face([0, 0, 100000, 300000], [0, 0, 100000, 100000]) == 0
    assert assigned_face([-1e12, -1e12, 2e12, 2e12], FACE) == -1
    assert assigned_face([5e9, 5e9, 10, 10], FACE) == -1


def test_rule_3_faces_and_detections_without_width_take_part():
    assert assigned_face([5, 5, 0, 9], [5, 5, 0, 9]) == 0
    assert assigned_face([5, 5, -1, 9], [5, 5, 0, 9]) == -1
    assert assigned_face([5, 5, 9, 9], [5, 5, -1, 9]) == -1


def test_rule_3_a_face_of_negative_width_is_never_found():
    """As the one of width -2 in the validation set, which counts in Hard: the intersection ends two
    columns before it begins, whatever the detection."""
    face = [500, 300, -2, 40]
    for x, width in itertools.product((400, 498, 499, 500, 501), (-3, -2, -1, 0, 1, 2, 40, 200)):
        assert assigned_face([x, 300, width, 40], face) == -1
    assert assigned_face([500, 300, 2, 40], [500, 300, 2, 40]) == 0


def test_boxes_that_are_not_finite_match_nothing():
    for value in (np.nan, np.inf, -np.inf):
        for column in range(4):
            detection = [0.0, 0.0, 9.0, 9.0]
            detection[column] = value
            assert assigned_face(detection, [0, 0, 9, 9]) == -1
    assert assigned_face([0, 0, np.nan, 0], [0, 0, 1, 0]) == -1  # x2 = 0, union 0 - 1


def test_crowded_images_are_handled_in_chunks(monkeypatch):
    rng = np.random.default_rng(0)
    boxes = {i: rng.integers(0, 60, (30, 4)) for i in "abcd"}
    rows = {
        i: np.column_stack([b + rng.normal(0, 1, b.shape), rng.random(30)])
        for i, b in boxes.items()
    }
    whole = assign_detections(rows, boxes, (0.5, 0.7))
    for size in (1, 7, 50, 1000):
        monkeypatch.setattr("srn_d2.evaluation.widerface.overlap._PAIRS_PER_CHUNK", size)
        np.testing.assert_array_equal(assign_detections(rows, boxes, (0.5, 0.7)).faces, whole.faces)
