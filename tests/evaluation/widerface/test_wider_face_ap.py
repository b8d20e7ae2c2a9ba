"""The official WIDER FACE protocol, rule by rule and against a plain re-statement."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.plain_wider_face import plain_python_port, plain_wider_face
from helpers.wider_face_mat import make_ground_truth
from srn_d2.evaluation.widerface.ap import (
    THRESHOLDS,
    WiderFaceResult,
    average_precision,
    evaluate_subset,
    evaluate_wider_face,
    precision_recall,
)
from srn_d2.evaluation.widerface.assignment import (
    FALSE_POSITIVE,
    IGNORED,
    TRUE_POSITIVE,
    assign_detections,
)

FACE = [10, 10, 9, 9]
OTHER_FACE = [40, 10, 9, 9]


def evaluate(
    predictions: dict, boxes: dict, counted: dict | None = None, **options
) -> WiderFaceResult:
    """The result on one setting; ``counted``: image -> 1-based indices, default all."""
    truth = make_ground_truth(boxes, {"easy": counted or {}})
    arrays = {i: np.array(rows, dtype=np.float64) for i, rows in predictions.items()}
    (threshold,) = options.get("iou_thresholds", (0.5,))
    return evaluate_wider_face(arrays, truth, **options)["easy"][threshold]


def assigned_face(detection: list[float], *faces: list[int], iou_threshold: float = 0.5) -> int:
    """The index of the face that a detection is assigned to in an image, or -1."""
    predictions = {"a": np.array([[*detection, 0.5]])}
    assignments = assign_detections(predictions, {"a": np.array(faces)}, (iou_threshold,))
    return int(assignments.faces[0, 0])


def first_threshold(result: WiderFaceResult, num_proposals: int) -> int:
    """t of the first threshold 1 - t / 1000 with at least this many proposals; 1001: none."""
    return int(np.searchsorted(result.counts[:, 0], num_proposals)) + 1


# --- rule 1: order ------------------------------------------------------------------------------


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


# --- rule 2: scores -----------------------------------------------------------------------------


def test_rule_2_scores_are_normalised_over_the_whole_data_set():
    boxes = {"a": [FACE], "b": [FACE]}
    result = evaluate({"a": [[*FACE, 2.0], [*FACE, 6.0]], "b": [[*FACE, 4.0]]}, boxes)
    assert [first_threshold(result, n) for n in (1, 2, 3)] == [1, 500, 1000]


def test_rule_2_scores_are_float32():
    # float32(0.9) is below 0.9, the threshold at t = 100.
    rows = [[*FACE, 0.0], [*FACE, 0.9], [*FACE, 1.0]]
    assert first_threshold(evaluate({"a": rows}, {"a": [FACE]}), 2) == 101
    assert first_threshold(evaluate({"a": rows}, {"a": [FACE]}, arithmetic="float"), 2) == 100


def test_rule_2_each_operation_is_float32():
    # (s - min) / (max - min) of float32 values, 0.89999998...; one division in float64 of the
    # same float32 values gives 0.9000000059..., which reaches t = 100.
    low, score, high = 0.1, 0.91, 1.0
    rows = [[*FACE, low], [*FACE, score], [*FACE, high]]
    assignments = assign_detections({"a": np.array(rows)}, {"a": np.array([FACE])})
    f32 = np.float32
    expected = (f32(score) - f32(low)) / (f32(high) - f32(low))
    assert assignments.normalised_scores.tolist() == [1.0, float(expected), 0.0]


def test_rule_2_negative_scores_never_reach_one():
    result = evaluate({"a": [[*FACE, -2.0], [*FACE, -1.0]]}, {"a": [FACE]})
    assert [first_threshold(result, n) for n in (1, 2)] == [500, 1000]


def test_rule_2_equal_scores_give_no_detection_and_ap_0():
    result = evaluate({"a": [[*FACE, 0.5], [*OTHER_FACE, 0.5]]}, {"a": [FACE]})
    assert result.counts.sum() == 0
    assert result.ap == 0


def test_rule_2_equal_scores_that_are_not_positive_reach_the_last_threshold():
    # The maximum is the smallest normal float32, not the scores': 0 / positive is 0, not NaN.
    result = evaluate({"a": [[*FACE, 0.0]]}, {"a": [FACE]})
    assert result.counts[-2:].tolist() == [[0, 0], [1, 1]]
    assert result.ap == 1


def test_rule_2_detection_with_undefined_score_is_counted_before_a_later_one():
    # 1e39 is infinite in float32, inf / inf is NaN, and all others are 0.
    result = evaluate({"a": [[*FACE, 1e39], [*OTHER_FACE, 1.0], [*FACE, 0.0]]}, {"a": [FACE]})
    assert result.counts[-2:].tolist() == [[0, 0], [3, 1]]


# --- rule 3: overlap ----------------------------------------------------------------------------
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


def test_boxes_that_are_not_finite_match_nothing():
    for value in (np.nan, np.inf, -np.inf):
        for column in range(4):
            detection = [0.0, 0.0, 9.0, 9.0]
            detection[column] = value
            assert assigned_face(detection, [0, 0, 9, 9]) == -1
    assert assigned_face([0, 0, np.nan, 0], [0, 0, 1, 0]) == -1  # x2 = 0, union 0 - 1


# --- rules 4 and 5: assignment ------------------------------------------------------------------


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


# --- rules 6 and 7: counts and AP ---------------------------------------------------------------


def test_rule_6_thresholds_have_the_official_floating_point_form():
    assert THRESHOLDS.tolist() == [1 - t / 1000 for t in range(1, 1001)]


def test_rule_6_a_score_equal_to_a_threshold_reaches_it():
    rows = [[*FACE, 1.0], [*FACE, 0.5], [*FACE, 0.0]]
    assert first_threshold(evaluate({"a": rows}, {"a": [FACE]}), 2) == 500


def test_rule_6_counts_are_summed_over_images():
    boxes = {"a": [FACE], "b": [FACE, OTHER_FACE], "c": [FACE]}
    predictions = {
        "a": [[*FACE, 1.0], [90, 90, 5, 5, 0.0]],
        "b": [[*OTHER_FACE, 0.75], [*FACE, 0.75]],
        "c": [[90, 90, 5, 5, 0.75]],
    }
    result = evaluate(predictions, boxes)
    assert result.counts[[0, 248, 249, 998, 999]].tolist() == [
        [1, 1],
        [1, 1],
        [4, 3],
        [4, 3],
        [5, 3],
    ]


def test_rule_6_recall_divides_by_the_faces_of_images_without_detections_too():
    result = evaluate({"a": [[*FACE, 0.0]]}, {"a": [FACE], "b": [FACE, OTHER_FACE], "c": []})
    assert result.num_faces == 3
    assert result.recall[-1] == 1 / 3
    assert np.isnan(result.precision[0])  # 0 / 0
    assert result.precision[-1] == 1


def test_rule_7_ap_is_the_area_under_the_envelope():
    recall = np.array([0.25, 0.25, 0.5, 0.75])
    precision = np.array([0.5, 0.4, 0.8, 0.6])
    # Envelope 0.8, 0.8, 0.8, 0.6 and 0 from recall 0.75 to 1.
    assert average_precision(recall, precision) == pytest.approx(0.5 * 0.8 + 0.25 * 0.6, abs=1e-15)


def test_rule_7_precision_without_proposals_is_passed_over():
    counts = np.array([[0, 0], [0, 0], [2, 1], [2, 2]])
    precision, recall = precision_recall(counts, 4)
    assert np.isnan(precision[:2]).all()
    assert average_precision(recall, precision) == 0.5
    curve = np.array([0.5, 0.5, 1.0]), np.array([1.0, np.nan, 0.5])
    assert average_precision(*curve) == 0.75


def test_rule_7_without_a_counted_face_ap_is_undefined():
    result = evaluate({"a": [[*FACE, 0.5], [*FACE, 0.6]]}, {"a": [FACE]}, {"a": []})
    assert result.num_faces == 0
    assert np.isnan(result.ap)


def test_rule_7_without_any_detection_ap_is_0():
    assert evaluate({}, {"a": [FACE], "b": []}).ap == 0
    assert evaluate({"a": []}, {"a": [FACE]}).ap == 0


# --- subsets, errors ----------------------------------------------------------------------------


def test_only_the_chosen_images_count():
    boxes = {"a": [FACE], "b": [FACE, OTHER_FACE], "c": [FACE]}
    predictions = {
        "a": [[*FACE, 0.9], [*FACE, 0.1]],
        "b": [[*FACE, 100.0], [*FACE, -100.0]],
        "c": [[*FACE, 0.5]],
    }
    chosen = evaluate(predictions, boxes, images=["c", "a"])
    kept = {i: predictions[i] for i in "ac"}
    alone = evaluate(kept, {i: boxes[i] for i in "ac"})
    np.testing.assert_array_equal(chosen.counts, alone.counts)
    assert (chosen.num_faces, chosen.ap) == (2, alone.ap)


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


# --- the popular Python ports -------------------------------------------------------------------


def test_float_arithmetic_takes_the_best_overlap():
    predictions = {"a": np.array([[*HIGH, 0.5]])}
    boxes = {"a": np.array([LOW, HIGH])}
    assert assign_detections(predictions, boxes, arithmetic="float").faces.tolist() == [[1]]


def test_float_arithmetic_on_unsorted_files_counts_all_before_the_last_that_reaches():
    rows = [[*FACE, 0.1], [*OTHER_FACE, 0.9], [*FACE, 0.0]]
    result = evaluate({"a": rows}, {"a": [FACE]}, arithmetic="float", sort=False)
    assert result.counts[[0, 999]].tolist() == [[2, 1], [3, 1]]


# --- against the plain re-statement -------------------------------------------------------------

_QUARTERS = st.integers(-8, 80).map(lambda n: n / 4)
_SIZES = st.integers(-4, 48).map(lambda n: n / 4)
_FACES = st.lists(
    st.tuples(st.integers(-2, 12), st.integers(-2, 12), st.integers(-1, 9), st.integers(-1, 9)),
    max_size=6,
)
_SCORES = st.one_of(
    st.integers(0, 10).map(lambda n: n / 10), st.floats(-1, 1), st.sampled_from([-2.0, 5.0, 1e39])
)


@st.composite
def data_sets(draw) -> tuple[dict, dict, dict]:
    """Detections (half of them beside a face), faces and indices of those that count."""
    predictions, boxes, counted = {}, {}, {}
    for image in "abc"[: draw(st.integers(1, 3))]:
        boxes[image] = [list(face) for face in draw(_FACES)]
        counted[image] = [n for n in range(1, len(boxes[image]) + 1) if draw(st.booleans())]
        rows = []
        for _ in range(draw(st.integers(0, 8))):
            if boxes[image] and draw(st.booleans()):
                face = draw(st.sampled_from(boxes[image]))
                rows.append([v + draw(st.sampled_from([0, 0, -1, 0.3, 0.5])) for v in face])
            else:
                rows.append([draw(_QUARTERS), draw(_QUARTERS), draw(_SIZES), draw(_SIZES)])
            rows[-1].append(draw(_SCORES))
        predictions[image] = rows
    return predictions, boxes, counted


def assert_equal_results(result: WiderFaceResult, plain: tuple) -> None:
    ap, counts, num_faces = plain
    assert result.num_faces == num_faces
    assert result.counts.tolist() == counts
    np.testing.assert_allclose(result.ap, ap, rtol=0, atol=1e-12)


@given(data_sets(), st.sampled_from([0.5, 0.5, 0.3, 0.6, 0.8]))
@settings(max_examples=150, deadline=None)
def test_official_arithmetic_equals_the_plain_restatement(data, iou_threshold):
    predictions, boxes, counted = data
    result = evaluate(predictions, boxes, counted, iou_thresholds=(iou_threshold,))
    plain = plain_wider_face(predictions, boxes, counted, iou_threshold)
    assert_equal_results(result, plain)


@given(data_sets(), st.booleans(), st.sampled_from([0.5, 0.7]))
@settings(max_examples=60, deadline=None)
def test_float_arithmetic_equals_the_plain_restatement(data, sort, iou_threshold):
    predictions, boxes, counted = data
    options = {"iou_thresholds": (iou_threshold,), "arithmetic": "float", "sort": sort}
    result = evaluate(predictions, boxes, counted, **options)
    plain = plain_python_port(predictions, boxes, counted, iou_threshold, sort)
    assert_equal_results(result, plain)


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
