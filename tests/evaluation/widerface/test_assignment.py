"""Rules 1, 4 and 5 of the official WIDER FACE protocol: order and assignment of detections."""

import numpy as np
import pytest

from helpers.wider_face_cases import FACE, OTHER_FACE, assigned_face, evaluate, first_threshold
from srn_d2.evaluation.widerface.ap import evaluate_subset
from srn_d2.evaluation.widerface.assignment import (
    FALSE_POSITIVE,
    IGNORED,
    TRUE_POSITIVE,
    assign_detections,
)

# --- rule 1: order -------------------------------------------------------------------------------


def test_rule_1_detections_are_sorted_by_score():
    rows = [[*FACE, 0.2], [*OTHER_FACE, 0.9], [*FACE, 0.6]]
    assignments = assign_detections({"a": np.array(rows)}, {"a": np.array([FACE, OTHER_FACE])})
    assert assignments.row.tolist() == [1, 2, 0]
    assert assignments.scores.tolist() == [0.9, 0.6, 0.2]
    assert assignments.is_first[0].tolist() == [True, True, False]


def test_rule_1_equal_scores_keep_the_order_of_the_file():
    rows = [[*FACE, 0.5]] * 40 + [[*FACE, 0.7]] + [[*FACE, 0.5]] * 40
    assignments = assign_detections({"a": np.array(rows)}, {"a": np.array([FACE])})
    assert assignments.row.tolist() == [40, *range(40), *range(41, 81)]


def test_rule_1_there_is_no_nms_and_no_score_threshold():
    result = evaluate({"a": [[*FACE, 1.0], [*FACE, 1.0], [*FACE, 0.0]]}, {"a": [FACE]})
    assert result.counts[0].tolist() == [2, 1]
    assert result.counts[-1].tolist() == [3, 1]


# --- rules 4 and 5: assignment -------------------------------------------------------------------


def outcomes(rows: list, faces: list, counted: list[bool]) -> list[int]:
    assignments = assign_detections({"a": np.array(rows)}, {"a": np.array(faces)})
    return assignments.outcomes({"a": np.array(counted)}).tolist()


LOW, HIGH = [0, 0, 9, 15], [0, 0, 9, 9]  # the detection HIGH matches both (10 / 16 and 10 / 10)


def test_rule_4_lowest_index_wins_over_best_overlap():
    assert assigned_face(HIGH, LOW, HIGH) == 0
    assert assigned_face(HIGH, HIGH, LOW) == 0
    assert assigned_face(HIGH, [90, 90, 9, 9], LOW, HIGH) == 1


def test_rule_4_other_iou_thresholds_use_the_lowest_index_too():
    assert assigned_face(HIGH, LOW, HIGH, iou_threshold=0.6) == 0
    assert assigned_face(HIGH, LOW, HIGH, iou_threshold=0.7) == 1


def test_other_iou_thresholds_use_the_quotient_of_the_same_integers():
    assert assigned_face([0, 0, 5, 0], [0, 0, 9, 0], iou_threshold=0.6) == 0  # 6 / 10
    # 6 / (round(10 + 6.4) - 6) = 0.6; in float it would be 6.4 / 10.
    assert assigned_face([0, 0, 5.4, 0], [0, 0, 9, 0], iou_threshold=0.6) == 0
    assert assigned_face([0, 0, 5.4, 0], [0, 0, 9, 0], iou_threshold=0.61) == -1


def test_rule_4_a_quotient_above_one_wins():
    # Rounded corners make the tiny detection 4 x 4: 16 / (20 + 10.24 -> 30 - 16) -> 1 and
    # 16 / (16 + 10.24 -> 26 - 16) = 1.6 -> 2.
    assert assigned_face([10.4, 10.4, 2.2, 2.2], [10, 10, 3, 4], [10, 10, 3, 3]) == 1


def test_rule_4_a_face_that_does_not_count_takes_the_detection():
    assert outcomes([[*HIGH, 0.9]], [LOW, HIGH], [False, True]) == [IGNORED]


def test_rule_4_no_other_face_is_tried_where_one_is_taken():
    rows = [[*LOW, 0.9], [*HIGH, 0.8]]
    assert outcomes(rows, [LOW, HIGH], [True, True]) == [TRUE_POSITIVE, FALSE_POSITIVE]


def test_rule_5_second_detection_on_a_face_that_counts_stays_a_proposal():
    rows = [[*FACE, 0.9], [*FACE, 0.8], [90, 90, 9, 9, 0.7]]
    assert outcomes(rows, [FACE], [True]) == [TRUE_POSITIVE, FALSE_POSITIVE, FALSE_POSITIVE]


def test_rule_5_all_detections_on_a_face_that_does_not_count_leave():
    rows = [[*FACE, 0.9], [*FACE, 0.8], [*OTHER_FACE, 0.7]]
    assert outcomes(rows, [FACE, OTHER_FACE], [False, True]) == [IGNORED, IGNORED, TRUE_POSITIVE]
    result = evaluate({"a": rows}, {"a": [FACE, OTHER_FACE]}, {"a": [2]})
    assert result.counts[-1].tolist() == [1, 1]
    assert result.num_faces == 1


def test_rule_5_detections_on_an_image_without_faces_are_no_proposals():
    predictions = {"a": [[*FACE, 0.5]], "b": [[*FACE, 1.0], [*FACE, 0.0]]}
    result = evaluate(predictions, {"a": [FACE], "b": []})
    assert result.counts[-1].tolist() == [1, 1]
    assert first_threshold(result, 1) == 500  # but the range of scores includes them


def test_outcomes_serve_any_choice_of_faces():
    rows = {"a": np.array([[*FACE, 0.9], [*OTHER_FACE, 0.8]])}
    assignments = assign_detections(rows, {"a": np.array([FACE, OTHER_FACE])}, (0.5, 0.7))
    for counted in ([True, False], [False, True]):
        result = evaluate_subset(assignments, {"a": np.array(counted)}, 0.7)
        assert result.counts[-1].tolist() == [1, 1]
        assert result.num_faces == 1
    with pytest.raises(ValueError, match="a: 1 values for 2 faces"):
        assignments.outcomes({"a": np.array([True])})


def test_float_arithmetic_takes_the_best_overlap():
    predictions = {"a": np.array([[*HIGH, 0.5]])}
    boxes = {"a": np.array([LOW, HIGH])}
    assert assign_detections(predictions, boxes, arithmetic="float").faces.tolist() == [[1]]


# --- errors --------------------------------------------------------------------------------------


def test_scores_that_are_not_finite_are_named():
    rows = np.array([[*FACE, 0.9], [*FACE, np.nan]])
    with pytest.raises(ValueError, match="image a: score of detection 1 is nan"):
        assign_detections({"image a": rows}, {"image a": np.array([FACE])})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": ["a", "x"]}, r"1 images without ground truth, for example \['x'\]"),
        ({"iou_thresholds": [0.5, 1.5]}, "IoU thresholds"),
        ({"iou_thresholds": []}, "IoU thresholds"),
        ({"arithmetic": "int"}, "arithmetic"),
        ({"sort": False}, "sorts"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        assign_detections({}, {"a": np.array([FACE])}, **options)


def test_wrong_arrays_are_refused():
    with pytest.raises(ValueError, match=r"a: detections of shape \(1, 4\)"):
        assign_detections({"a": np.zeros((1, 4))}, {"a": np.array([FACE])})
    with pytest.raises(ValueError, match="int32"):
        assign_detections({}, {"a": np.array([[0.5, 0, 9, 9]])})
