"""AP of AFW and PASCAL face: by hand, and against plain restatements of VOC and the toolbox."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.plain_voc_ap import image, plain_ap, plain_toolbox_ap
from srn_d2.evaluation.voc_ap.ap import box_overlaps, evaluate_ap, evaluate_toolbox_ap, match_faces

# --- by hand -------------------------------------------------------------------------------------

FACES = [(0, 0, 40, 40), (100, 0, 140, 40), (200, 0, 240, 40), (300, 0, 340, 40)]


def test_ap_by_hand():
    """By score: right, wrong (second on a face), right, neutral, wrong, right; 4 faces of 5."""
    images = [
        image(
            [*FACES, (400, 0, 440, 40)],
            [FACES[0], FACES[0], FACES[1], (400, 0, 440, 40), (600, 0, 640, 40)],
            [0.9, 0.8, 0.7, 0.6, 0.5],
            [False, False, False, False, True],
        ),
        image([], [], []),
        image([], [(0, 0, 9, 9)], [0.45]),
        image([FACES[0]], [FACES[0]], [0.4]),
    ]
    result = evaluate_ap(images)
    assert result.num_faces == 5
    assert result.scores.tolist() == [0.9, 0.8, 0.7, 0.5, 0.45, 0.4]
    np.testing.assert_allclose(result.precision, [1, 1 / 2, 2 / 3, 2 / 4, 2 / 5, 3 / 6])
    np.testing.assert_allclose(result.recall, [0.2, 0.2, 0.4, 0.4, 0.4, 0.6])
    assert result.ap == pytest.approx(0.2 * 1 + 0.2 * 2 / 3 + 0.2 * 1 / 2)


def test_a_match_needs_more_than_the_threshold():
    half = image([FACES[0]], [(0, 0, 40, 20)], [1])
    assert evaluate_ap([half]).ap == 0
    assert evaluate_ap([half], iou_threshold=0.49).ap == 1
    # 41 x 21 of 41 x 41 pixels
    assert evaluate_ap([half], pixel=1.0).ap == 1


def test_a_detection_belongs_to_the_face_that_it_overlaps_most():
    """Not to the other face, even if that one is free or counts."""
    faces = [(0, 0, 40, 40), (8, 0, 48, 40)]
    both = [(1, 0, 41, 40), (0, 0, 40, 40)]  # each overlaps both faces by more than 0.5
    outcome, face = match_faces(image(faces, both, [0.9, 0.8]))
    assert (outcome.tolist(), face.tolist()) == ([1, 0], [0, 0])
    outcome, _ = match_faces(image(faces, both, [0.9, 0.8], [True, False]))
    assert outcome.tolist() == [-1, -1]


@pytest.mark.parametrize(("ignored", "expected"), [([True, False], 1), ([False, True], -1)])
def test_of_equal_overlaps_the_last_face_wins(ignored, expected):
    outcome, face = match_faces(image([FACES[0]] * 2, [FACES[0]], [0.5], ignored))
    assert (outcome.tolist(), face.tolist()) == ([expected], [1])


def test_no_faces_and_no_detections():
    assert np.isnan(evaluate_ap([image([], [FACES[0]], [0.5])]).ap)
    assert np.isnan(evaluate_toolbox_ap([]).ap)
    assert evaluate_ap([image(FACES, [], [])]).ap == 0
    assert evaluate_toolbox_ap([image(FACES, [], [])]).ap == 0


def test_overlaps_of_boxes_without_area():
    boxes = np.array([[0.0, 0, 40, 40], [10, 10, 10, 30], [30, 30, 10, 10], [40, 0, 60, 40]])
    for pixel in (0.0, 1.0):
        assert box_overlaps(boxes[:1], boxes, pixel).tolist() == [[1, 0, 0, 0]]


# --- properties ----------------------------------------------------------------------------------


def random_images(seed):
    """Crowds of overlapping faces, with detections near them, repeated ones and far ones."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(rng.integers(1, 5)):
        corners = rng.uniform(0, 120, (rng.integers(1, 6), 2))
        faces = np.hstack([corners, corners + rng.uniform(20, 60, corners.shape)])
        near = faces[rng.integers(0, len(faces), 6)]
        near = near + rng.normal(0, 5, near.shape)
        boxes = np.vstack([near, rng.uniform([0, 0, 60, 60], [60, 60, 120, 120], (2, 4))])
        scores = rng.integers(0, 9, len(boxes)) / 8
        images.append(image(faces, boxes, scores, rng.uniform(size=len(faces)) < 0.3))
    images[0].ignored[0] = False
    return images


@settings(deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 1.0]))
def test_ap_is_that_of_the_plain_restatement(seed, pixel):
    images = random_images(seed)
    assert evaluate_ap(images, pixel=pixel).ap == pytest.approx(plain_ap(images, pixel))


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_toolbox_ap_is_that_of_the_plain_restatement(seed):
    images = random_images(seed)
    images[0] = image([(0, 0, 50, 50)], [(0, 0, 50, 50)], [0.5])  # something to fit to
    assert evaluate_toolbox_ap(images).ap == pytest.approx(plain_toolbox_ap(images))


def test_toolbox_forgives_another_idea_of_a_box():
    """All detections reach 40 % above the face; a few are good enough to fit the shift to."""
    faces = np.array(FACES, float)
    boxes = faces + np.array([0, -16, 0, 0])
    worse = faces + np.array([0, -32, 0, -8])
    images = [image(faces, boxes, np.full(4, 0.9)), image(faces, worse, np.full(4, 0.8))]
    assert evaluate_ap(images).ap == 0.5
    assert evaluate_toolbox_ap(images).ap == 1


def test_toolbox_fits_four_times():
    """Group g lies 250 g pixels to the right of its faces and is 4 times the one before it.

    Sides are 1,000, so that a match needs an offset below 333. Each fit moves the detections by
    about 250 and brings one group more into reach: 2 after the first, 5 after the fourth, when
    groups 1 and 2 have gone too far. A fifth would reach group 6.
    """
    images = []
    for group in range(1, 7):
        faces = np.arange(4 ** (group - 1))[:, None] * 10_000 + np.array([0, 0, 1000, 1000])
        boxes = faces + np.array([250, 0, 250, 0]) * group
        images.append(image(faces, boxes, np.ones(len(faces))))
    counts = evaluate_toolbox_ap(images).recall[-1] * sum(4**g for g in range(6))
    assert counts == pytest.approx(4**2 + 4**3 + 4**4)


def test_toolbox_ignores_small_faces_and_drops_small_detections():
    small_face, small_box = (0, 0, 29, 60), (100, 0, 121, 21)
    images = [image([small_face, FACES[1]], [small_face, small_box, FACES[1]], [0.9, 0.8, 0.7])]
    toolbox = evaluate_toolbox_ap(images)
    assert (toolbox.num_faces, toolbox.ap, toolbox.scores.tolist()) == (1, 1, [0.7])
    assert evaluate_ap(images).ap == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
