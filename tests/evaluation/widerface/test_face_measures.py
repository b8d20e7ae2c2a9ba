"""False positives at a recall and operating points: by hand, by brute force, properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srn_d2.evaluation.widerface.assignment import FALSE_POSITIVE, IGNORED, TRUE_POSITIVE
from srn_d2.evaluation.widerface.face_measures import (
    OperatingPoint,
    false_positives_at_recall,
    operating_points,
    recommended_points,
    score_curve,
)

T, F, X = TRUE_POSITIVE, FALSE_POSITIVE, IGNORED
# Not in order; 0.8 occurs twice; four faces, one of which is not found.
SCORES = np.array([0.5, 0.8, 0.9, 0.7, 0.8, 0.6])
OUTCOMES = np.array([F, F, T, X, T, T])
NUM_FACES, NUM_IMAGES = 4, 2


@pytest.fixture
def curve():
    return score_curve(SCORES, OUTCOMES, NUM_FACES)


def test_curve_by_hand(curve):
    np.testing.assert_array_equal(curve.scores, [0.9, 0.8, 0.6, 0.5])
    np.testing.assert_array_equal(curve.true_positives, [1, 2, 3, 3])
    np.testing.assert_array_equal(curve.false_positives, [0, 1, 1, 2])
    np.testing.assert_allclose(curve.recall, [0.25, 0.5, 0.75, 0.75])
    np.testing.assert_allclose(curve.precision, [1, 2 / 3, 3 / 4, 3 / 5])


def test_false_positives_by_hand(curve):
    found = false_positives_at_recall(curve, [0.1, 0.25, 0.26, 0.75, 0.76])
    np.testing.assert_array_equal(found, [0, 0, 1, 1, np.nan])


def test_recall_levels_are_exact():
    # 3 of 30 faces are 10 %, although 0.1 * 30 > 3 in floating point.
    scores, outcomes = np.array([0.9, 0.8, 0.7, 0.6]), np.array([T, T, T, F])
    curve = score_curve(scores, outcomes, 30)
    np.testing.assert_array_equal(false_positives_at_recall(curve, [0.1]), [0])


def test_operating_points_by_hand(curve):
    above, at, between, below = operating_points(curve, NUM_IMAGES, [0.95, 0.8, 0.65, 0.1])
    assert (above.recall, above.false_positives_per_image) == (0, 0)
    assert np.isnan(above.precision)
    assert at == OperatingPoint(0.8, 2 / 3, 0.5, 0.5)
    assert between == OperatingPoint(0.65, 2 / 3, 0.5, 0.5)
    assert below == OperatingPoint(0.1, 0.6, 0.75, 1.0)


def test_recommended_points_by_hand(curve):
    points = recommended_points(curve, NUM_IMAGES)
    # F1 = 2 TP / (kept + faces): 2/5, 4/7, 6/8, 6/9.
    assert points["best F1"] == OperatingPoint(0.6, 0.75, 0.75, 0.5)
    assert points["precision of at least 90 %"].score == 0.9
    assert points["at most 1 false positives an image"].score == 0.6
    assert points["at most 0.1 false positives an image"].score == 0.9


def test_aim_that_nothing_serves():
    curve = score_curve(np.array([0.9, 0.8]), np.array([F, T]), 1)
    point = recommended_points(curve, num_images=1)["precision of at least 90 %"]
    assert np.isnan(point.score)
    assert np.isnan(point.precision)
    assert point.recall == 0


@pytest.mark.parametrize("num_faces", [0, 3])
def test_no_detections(num_faces):
    curve = score_curve(np.zeros(0), np.zeros(0, np.int8), num_faces)
    assert np.isnan(false_positives_at_recall(curve)).all()
    (point,) = operating_points(curve, 0, [0.5])
    assert np.isnan(point.recall) == (num_faces == 0)
    assert all(np.isnan(point.score) for point in recommended_points(curve, 0).values())


def test_no_faces():
    curve = score_curve(np.array([0.5]), np.array([F]), 0)
    assert np.isnan(curve.recall).all()
    assert np.isnan(false_positives_at_recall(curve)).all()
    assert operating_points(curve, 1, [0.5])[0].false_positives_per_image == 1


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="2 scores are NaN or infinite"):
        score_curve(np.array([np.nan, np.inf, 1]), np.array([F, F, F]), 1)
    with pytest.raises(ValueError, match="2 true positives, but 1 faces"):
        score_curve(np.array([0.1, 0.2]), np.array([T, T]), 1)


@st.composite
def detections(draw):
    outcomes = draw(st.lists(st.sampled_from([T, F, X]), max_size=25))
    # Few distinct scores, so that many are equal.
    scores = draw(st.lists(st.integers(1, 8), min_size=len(outcomes), max_size=len(outcomes)))
    missed = draw(st.integers(0, 4))
    outcomes = np.array(outcomes, dtype=np.int8)
    return np.array(scores) / 10, outcomes, int((outcomes == T).sum()) + missed


@given(detections())
@settings(max_examples=80, deadline=None)
def test_false_positives_equal_brute_force(case):
    scores, outcomes, num_faces = case
    recalls = (0.1, 0.3, 0.5, 0.8, 0.9, 0.95, 1.0)
    expected = []
    for recall in recalls:
        reached = [
            sum((outcomes == F) & (scores >= threshold))
            for threshold in scores
            if num_faces and sum((outcomes == T) & (scores >= threshold)) / num_faces >= recall
        ]
        expected.append(min(reached, default=np.nan))
    found = false_positives_at_recall(score_curve(scores, outcomes, num_faces), recalls)
    np.testing.assert_array_equal(found, expected)
    assert (np.diff(found[~np.isnan(found)]) >= 0).all()  # more recall costs more


@given(detections(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_order_and_weak_false_positives_do_not_matter(case, random):
    scores, outcomes, num_faces = case
    found = false_positives_at_recall(score_curve(scores, outcomes, num_faces))
    order = random.sample(range(len(scores)), len(scores))
    shuffled = score_curve(scores[order], outcomes[order], num_faces)
    np.testing.assert_array_equal(false_positives_at_recall(shuffled), found)
    weaker = score_curve(np.append(scores, 0.01), np.append(outcomes, F), num_faces)
    np.testing.assert_array_equal(false_positives_at_recall(weaker), found)


@given(detections(), st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_operating_point_equals_counting(case, threshold):
    scores, outcomes, num_faces = case
    (point,) = operating_points(score_curve(scores, outcomes, num_faces), 5, [threshold])
    kept = outcomes[scores >= threshold]
    true, false = (kept == T).sum(), (kept == F).sum()
    assert point.false_positives_per_image == false / 5
    if true + false:
        assert point.precision == true / (true + false)
    if num_faces:
        assert point.recall == true / num_faces
