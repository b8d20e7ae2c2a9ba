"""AP over groups of faces, on one image that is computed by hand."""

import math

import numpy as np
import pytest

from srn_d2.evaluation.widerface.ap import WiderFaceGroundTruth, evaluate_subset
from srn_d2.evaluation.widerface.assignment import assign_detections
from srn_d2.evaluation.widerface.face_groups import (
    ATTRIBUTE_VALUES,
    HEIGHT_BINS,
    attribute_faces,
    detection_heights,
    evaluate_height_bin,
    height_bin_faces,
    valid_faces,
)

IMAGE = "0--Parade/a"
# XYWH: a low face, a high one, an invalid one, one without area.
LOW, HIGH, INVALID, EMPTY = (0, 0, 20, 10), (100, 0, 20, 40), (200, 0, 20, 20), (300, 0, 0, 0)
GROUND_TRUTH = WiderFaceGroundTruth(
    boxes={IMAGE: np.array([LOW, HIGH, INVALID, EMPTY], np.int32)},
    counted={"hard": {IMAGE: np.array([True, True, False, False])}},
    attributes={
        "invalid": {IMAGE: np.array([0, 0, 1, 0])},
        "blur": {IMAGE: np.array([2, 0, 0, 0])},
    },
)
# A false positive 12 high above both faces, one 50 high below both. Not in order of score.
PREDICTIONS = {
    IMAGE: np.array(
        [
            (*LOW, 0.9),
            (500, 500, 12, 12, 0.95),
            (*HIGH, 0.8),
            (700, 500, 50, 50, 0.7),
            (*INVALID, 0.6),
        ],
        dtype=np.float64,
    )
}


@pytest.fixture
def assignments():
    return assign_detections(PREDICTIONS, GROUND_TRUTH.boxes)


def test_valid_faces():
    np.testing.assert_array_equal(valid_faces(GROUND_TRUTH)[IMAGE], [True, True, False, False])
    unknown = WiderFaceGroundTruth(GROUND_TRUTH.boxes, GROUND_TRUTH.counted)
    np.testing.assert_array_equal(valid_faces(unknown)[IMAGE], [True, True, True, False])


def test_bins_are_half_open_and_meet():
    heights = [7, 8, 15, 16, 31, 32, 95, 96, 2000]
    boxes = {IMAGE: np.array([(0, 0, 9, h) for h in heights])}
    every = {IMAGE: np.ones(len(heights), bool)}
    members = [height_bin_faces(boxes, every, *height_bin)[IMAGE] for height_bin in HEIGHT_BINS]
    np.testing.assert_array_equal(np.argmax(members, axis=0)[1:], [0, 0, 1, 1, 2, 2, 3, 3])
    np.testing.assert_array_equal(np.sum(members, axis=0), [0] + 8 * [1])


def test_detection_heights_follow_the_assignments(assignments):
    np.testing.assert_array_equal(assignments.scores, [0.95, 0.9, 0.8, 0.7, 0.6])
    np.testing.assert_array_equal(detection_heights(assignments, PREDICTIONS), [12, 10, 40, 50, 20])


@pytest.mark.parametrize(
    ("height_bin", "expected"),
    [
        # The false positive 12 high comes first: precision 1/2 at recall 1.
        ((8, 16), 0.5),
        # It is not of this bin, and the one 50 high comes last.
        ((32, 96), 1.0),
        ((8, 96), 2 / 3),
        ((16, 32), math.nan),  # the only face of this height is invalid
    ],
)
def test_height_bin_by_hand(assignments, height_bin, expected):
    result = evaluate_height_bin(
        assignments, PREDICTIONS, GROUND_TRUTH.boxes, valid_faces(GROUND_TRUTH), height_bin
    )
    np.testing.assert_allclose(result.ap, expected)
    assert result.num_faces == {0.5: 1, 1.0: 1, 2 / 3: 2}.get(expected, 0)


def test_attributes_by_hand(assignments):
    groups = attribute_faces(GROUND_TRUTH.attributes, GROUND_TRUTH.counted["hard"])
    assert list(groups) == [("blur", "clear"), ("blur", "normal"), ("blur", "heavy")]
    ap = {value: evaluate_subset(assignments, group).ap for (_, value), group in groups.items()}
    # One face each, found below the first false positive.
    np.testing.assert_allclose([ap["clear"], ap["heavy"]], [0.5, 0.5])
    assert math.isnan(ap["normal"])


def test_attributes_split_the_faces():
    rng = np.random.default_rng(0)
    faces = {"a": rng.random(50) < 0.7}
    attributes = {
        name: {"a": rng.integers(0, len(values), 50)} for name, values in ATTRIBUTE_VALUES.items()
    }
    groups = attribute_faces(attributes, faces)
    for attribute in ATTRIBUTE_VALUES:
        members = [group["a"] for (name, _), group in groups.items() if name == attribute]
        np.testing.assert_array_equal(np.sum(members, axis=0), faces["a"])
