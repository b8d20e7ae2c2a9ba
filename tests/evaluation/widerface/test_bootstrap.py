"""Resamples of images: each equals the protocol on a data set with these images."""

import numpy as np
import pytest

from srn_d2.evaluation.widerface.ap import evaluate_subset
from srn_d2.evaluation.widerface.assignment import FALSE_POSITIVE, IGNORED, assign_detections
from srn_d2.evaluation.widerface.bootstrap import Resamples, draw_resamples
from srn_d2.evaluation.widerface.face_measures import false_positives_at_recall, score_curve

RECALLS = (0.1, 0.5, 0.8)
IOUS = (0.5, 0.7)


def scene(rng, num_images=12):
    """Detections near faces and elsewhere, with ties, empty images and images without faces."""
    boxes, predictions, counted = {}, {}, {}
    for index in range(num_images):
        faces = rng.integers(10, 90, (rng.integers(5), 4))
        near = faces[rng.integers(len(faces), size=8)] if len(faces) else np.zeros((0, 4))
        found = np.concatenate([near + rng.normal(0, 3, near.shape), rng.uniform(5, 90, (6, 4))])
        found = found[rng.random(len(found)) < rng.random()]
        scores = np.round(rng.random(len(found)), 2)
        name = f"event/{index}"
        boxes[name] = faces.astype(np.int32)
        predictions[name] = np.column_stack([found, scores])
        counted[name] = rng.random(len(faces)) < 0.7
    return boxes, predictions, counted


def repeat(per_image, counts):
    """The data set that a resample stands for: each image as often as it counts."""
    return {
        f"{name} {copy}": value
        for (name, value), number in zip(per_image.items(), counts, strict=True)
        for copy in range(number)
    }


def faces_of(counted):
    return np.array([mask.sum() for mask in counted.values()])


@pytest.mark.parametrize("seed", range(12))
def test_a_resample_is_the_protocol_on_its_images(seed):
    boxes, predictions, counted = scene(np.random.default_rng(seed))
    counts = draw_resamples(len(boxes), 20, seed)
    assignments = assign_detections(predictions, boxes, IOUS)
    resamples = Resamples(assignments, counts)
    for iou in IOUS:
        outcomes = assignments.outcomes(counted, iou)
        ap = resamples.average_precision(outcomes, faces_of(counted))
        false = resamples.false_positives_at_recall(outcomes, faces_of(counted), RECALLS)
        for row, number in enumerate(counts):
            own = assign_detections(repeat(predictions, number), repeat(boxes, number), IOUS)
            own_counted = repeat(counted, number)
            expected = evaluate_subset(own, own_counted, iou)
            np.testing.assert_allclose(ap[row], expected.ap, rtol=1e-12, atol=1e-14)
            curve = score_curve(own.scores, own.outcomes(own_counted, iou), expected.num_faces)
            np.testing.assert_array_equal(false[row], false_positives_at_recall(curve, RECALLS))


def test_any_detections_may_be_left_out():
    """Such as false positives of another size: they are IGNORED like those on other faces."""
    boxes, predictions, counted = scene(np.random.default_rng(3))
    assignments = assign_detections(predictions, boxes)
    outcomes = assignments.outcomes(counted)
    whole = np.ones((1, len(boxes)), int)
    faces = faces_of(counted)
    before = Resamples(assignments, whole).average_precision(outcomes, faces)
    outcomes[outcomes == FALSE_POSITIVE] = IGNORED
    after = Resamples(assignments, whole).average_precision(outcomes, faces)
    assert before[0] < after[0] <= 1


def test_resamples_without_faces_or_detections():
    boxes = {"a/1": np.array([[10, 10, 20, 20]], np.int32), "a/2": np.zeros((0, 4), np.int32)}
    predictions = {"a/2": np.array([[1.0, 1, 5, 5, 0.5]])}
    assignments = assign_detections(predictions, boxes)
    resamples = Resamples(assignments, np.array([[2, 0], [0, 2], [1, 1]]))
    outcomes = assignments.outcomes({"a/1": np.array([True]), "a/2": np.zeros(0, bool)})
    np.testing.assert_array_equal(
        resamples.average_precision(outcomes, np.array([1, 0])), [0, np.nan, 0]
    )
    false = resamples.false_positives_at_recall(outcomes, np.array([1, 0]), [0.5])
    assert np.isnan(false).all()


def test_draws_are_as_many_as_the_images():
    counts = draw_resamples(30, 400, seed=1)
    assert counts.shape == (400, 30)
    assert (counts.sum(axis=1) == 30).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(30), abs=0.2)
    np.testing.assert_array_equal(counts, draw_resamples(30, 400, seed=1))
