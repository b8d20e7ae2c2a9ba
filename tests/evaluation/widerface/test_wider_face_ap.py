"""The official WIDER FACE protocol: rules 2, 6 and 7, and against a plain re-statement."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.plain_wider_face import plain_python_port, plain_wider_face
from helpers.wider_face_cases import FACE, OTHER_FACE, evaluate, first_threshold
from srn_d2.evaluation.widerface.ap import (
    THRESHOLDS,
    WiderFaceResult,
    average_precision,
    precision_recall,
)
from srn_d2.evaluation.widerface.assignment import assign_detections

# --- rule 2: scores ------------------------------------------------------------------------------


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


# --- rules 6 and 7: counts and AP ----------------------------------------------------------------


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


# --- subsets, errors -----------------------------------------------------------------------------


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


# --- the popular Python ports --------------------------------------------------------------------


def test_float_arithmetic_on_unsorted_files_counts_all_before_the_last_that_reaches():
    rows = [[*FACE, 0.1], [*OTHER_FACE, 0.9], [*FACE, 0.0]]
    result = evaluate({"a": rows}, {"a": [FACE]}, arithmetic="float", sort=False)
    assert result.counts[[0, 999]].tolist() == [[2, 1], [3, 1]]


# --- against the plain re-statement --------------------------------------------------------------


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
@settings(max_examples=60, deadline=None)
def test_official_arithmetic_equals_the_plain_restatement(data, iou_threshold):
    predictions, boxes, counted = data
    result = evaluate(predictions, boxes, counted, iou_thresholds=(iou_threshold,))
    plain = plain_wider_face(predictions, boxes, counted, iou_threshold)
    assert_equal_results(result, plain)


@given(data_sets(), st.booleans(), st.sampled_from([0.5, 0.7]))
@settings(max_examples=30, deadline=None)
def test_float_arithmetic_equals_the_plain_restatement(data, sort, iou_threshold):
    predictions, boxes, counted = data
    options = {"iou_thresholds": (iou_threshold,), "arithmetic": "float", "sort": sort}
    result = evaluate(predictions, boxes, counted, **options)
    plain = plain_python_port(predictions, boxes, counted, iou_threshold, sort)
    assert_equal_results(result, plain)
