"""Measures of a run: the official protocol's, kept in its folder."""

import numpy as np
import pytest

from ablation.measures import (
    COARSE,
    FINE,
    FINE_SIZE,
    IOUS,
    RECALLS,
    interval,
    measure_predictions,
    measure_run,
)
from image_lists import ImageList
from srn_d2.evaluation.widerface.ap import evaluate_wider_face
from srn_d2.evaluation.widerface.bootstrap import draw_resamples
from srn_d2.evaluation.widerface.face_report import measure_predictions as face_report
from srn_d2.evaluation.widerface.prediction_files import write_predictions


@pytest.fixture
def predictions(scene):
    _, predict = scene
    return predict(np.random.default_rng(5), 4)


def whole(truth):
    return ImageList("all", truth.image_ids)


def test_the_first_values_are_those_of_the_images_themselves(scene, predictions):
    truth, _ = scene
    images = ImageList("some", truth.image_ids[2:])
    measures = measure_predictions(predictions, images, truth, draw_resamples(8, 5))
    expected = evaluate_wider_face(predictions, truth, IOUS, images.image_ids)
    curves = face_report("x", predictions, truth, images=images.image_ids)
    for setting in truth.counted:
        aps = [expected[setting][iou].ap for iou in IOUS]
        np.testing.assert_allclose(measures.ap[setting][0], aps, rtol=1e-12)
        assert measures.ap[setting].shape == (6, len(IOUS))
        np.testing.assert_array_equal(
            measures.false_positives[setting][0], curves.false_positives(setting)
        )


def test_faces_by_size_are_those_of_the_last_setting(scene, predictions):
    """With perfect boxes of one size, false positives of the other size do not count."""
    truth, _ = scene
    faces = {
        i: np.column_stack([boxes, np.full(len(boxes), 0.9)]) for i, boxes in truth.boxes.items()
    }
    small = {i: np.vstack([x, [[250.0, 0, 9, 9, 1.0]]]) for i, x in faces.items()}
    measures = measure_predictions(small, whole(truth), truth, draw_resamples(10, 0))
    assert measures.ap[COARSE][0, 0] == 1
    assert measures.ap[FINE][0, 0] < 1
    assert measures.false_positives[COARSE][0, 0] == 0
    assert measures.false_positives[FINE][0, 0] == 10
    sizes = np.concatenate([np.sqrt(boxes[:, 2:].prod(axis=1)) for boxes in truth.boxes.values()])
    assert 0 < (sizes <= FINE_SIZE).mean() < 1


def test_measures_are_kept_until_what_they_depend_on_changes(
    scene, predictions, make_run, monkeypatch
):
    truth, _ = scene
    run = make_run()
    write_predictions(run.predictions, predictions)
    settings = run.predictions.with_name(f"{run.predictions.name}.json")
    settings.write_text('{"weights_sha256": "1"}')
    first = measure_run(run, whole(truth), truth, 5)

    calls = []
    monkeypatch.setattr(
        "ablation.measures.measure_predictions",
        lambda *arguments: calls.append(arguments) or measure_predictions(*arguments),
    )
    again = measure_run(run, whole(truth), truth, 5)
    assert calls == []
    for kind in ("ap", "false_positives"):
        for group, values in getattr(first, kind).items():
            np.testing.assert_array_equal(values, getattr(again, kind)[group])
    measure_run(run, ImageList("all", truth.image_ids[1:]), truth, 5)
    measure_run(run, whole(truth), truth, 6)
    settings.write_text('{"weights_sha256": "2"}')
    measure_run(run, whole(truth), truth, 6)
    assert len(calls) == 3
    assert len(list(run.folder.glob("measures-all-*.npz"))) == 1


def test_boxes_that_are_no_whole_numbers_are_measured_too(scene, predictions):
    truth, _ = scene
    moved = {i: boxes + 0.5 for i, boxes in truth.boxes.items()}
    own = type(truth)(moved, {"all": truth.counted["hard"]})
    measures = measure_predictions(predictions, whole(own), own, draw_resamples(10, 3))
    assert 0 < measures.ap["all"][0, 0] < 1
    assert set(measures.ap) == {"all", FINE, COARSE}
    assert measures.false_positives["all"].shape == (4, len(RECALLS))


def test_intervals():
    assert interval(np.arange(1001)) == (25, 975)
    assert interval([1.0, np.nan]) == pytest.approx((np.nan, np.nan), nan_ok=True)
    assert interval([]) == pytest.approx((np.nan, np.nan), nan_ok=True)
