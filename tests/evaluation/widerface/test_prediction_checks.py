"""Each sign of spoiled predictions is reported, and good predictions give none."""

import numpy as np
import pytest

from srn_d2.evaluation.widerface.prediction_checks import prediction_warnings


def image(num, lowest=0.01, highest=0.99):
    boxes = np.tile([[1.0, 2.0, 30.0, 40.0]], (num, 1))
    return np.hstack([boxes, np.linspace(highest, lowest, num)[:, None]])


def faces(num):
    return np.ones((num, 4), dtype=np.int32)


def warnings_of(predictions, num_faces=5):
    return prediction_warnings(predictions, {key: faces(num_faces) for key in predictions})


def test_good_predictions_give_no_warning():
    assert warnings_of({"a": image(300), "b": image(40), "c": image(0)}) == []


def test_cut_at_one_hundred():
    (warning,) = warnings_of({"a": image(100), "b": image(40)})
    assert "cut at 100 an image (1 images)" in warning
    assert "COCO's default" in warning


def test_other_cut_is_told_by_lost_faces():
    predictions = {"a": image(50), "b": image(50), "c": image(7)}
    (warning,) = warnings_of(predictions, num_faces=53)
    assert "cut at 50 an image (2 images); 9 annotated faces lie beyond" in warning
    assert warnings_of(predictions, num_faces=20) == []


def test_score_floor():
    assert warnings_of({"a": image(9, lowest=0.05)}) == []
    (warning,) = warnings_of({"a": image(9, lowest=0.3), "b": image(4, lowest=0.2)})
    assert "no score is below 0.2:" in warning


def test_scores_outside_the_unit_interval():
    (warning,) = warnings_of({"a": image(5, lowest=-3, highest=5)})
    assert "outside [0, 1] (-3 to 5)" in warning


def test_unsorted_files_are_counted():
    (warning,) = warnings_of({"a": image(5)[::-1], "b": image(5)})
    assert warning.startswith("1 files are not sorted")


def test_equal_scores():
    assert any("all scores are 0.5" in w for w in warnings_of({"a": image(5, 0.5, 0.5)}))


@pytest.mark.parametrize("predictions", [{}, {"a": image(0)}])
def test_nothing_at_all(predictions):
    assert warnings_of(predictions) == ["there is not a single detection"]
