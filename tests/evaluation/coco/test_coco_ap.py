"""COCO-style AP on hand-computed cases, its properties, and both COCO implementations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from srn_d2.evaluation.coco import ap as coco_ap
from srn_d2.evaluation.coco.ap import (
    ImageDetections,
    ImageFaces,
    coco_average_precision,
    coco_average_precisions,
)

IOUS = [0.5, 0.6, 0.7, 0.8]


def faces_of(*boxes, crowd=(), outside=()):
    crowd_mask = np.isin(np.arange(len(boxes)), crowd)
    outside_mask = np.isin(np.arange(len(boxes)), outside)
    return ImageFaces(np.reshape(boxes, (-1, 4)), crowd_mask, ~crowd_mask & ~outside_mask)


def detections_of(*boxes_and_scores):
    rows = np.reshape(np.asarray(boxes_and_scores, np.float64), (-1, 5))
    return ImageDetections(rows[:, :4], rows[:, 4])


FACE, FAR = (10, 10, 30, 40), (100, 100, 120, 130)


@pytest.fixture(params=["installed", "pycocotools"])
def implementation(request, monkeypatch):
    """Run a test with the preferred implementation and with the fall-back."""
    if request.param == "pycocotools":
        monkeypatch.setattr(coco_ap, "COCO", COCO)
        monkeypatch.setattr(coco_ap, "COCOeval", COCOeval)
    return request.param


@pytest.mark.usefixtures("implementation")
class TestByHand:
    def test_perfect_detections_give_one(self):
        ap = coco_average_precision(
            [faces_of(FACE, FAR)], [detections_of((*FACE, 1), (*FAR, 1))], IOUS
        )
        np.testing.assert_allclose(ap, 1)

    def test_iou_decides(self):
        # 20 x 30 face; a box of the same top left corner, 20 x 20: IoU 2/3.
        found = [detections_of((10, 10, 30, 30, 0.9))]
        ap = coco_average_precision([faces_of(FACE)], found, IOUS)
        np.testing.assert_allclose(ap, [1, 1, 0, 0])

    def test_iou_equal_to_the_threshold_matches(self):
        found = [detections_of((10, 10, 30, 25, 0.9))]  # half of the face
        np.testing.assert_allclose(coco_average_precision([faces_of(FACE)], found, [0.5]), 1)

    def test_false_positive_above_the_face(self):
        # Precision at recall 1 is 1/2, and so is its envelope at all 101 recall points.
        found = [detections_of((*FAR, 0.9), (*FACE, 0.8))]
        np.testing.assert_allclose(coco_average_precision([faces_of(FACE)], found, [0.5]), 0.5)

    def test_one_of_two_faces(self):
        # Precision 1 at the recall points 0.00 .. 0.50: 51 of 101.
        found = [detections_of((*FACE, 0.9))]
        ap = coco_average_precision([faces_of(FACE, FAR)], found, [0.5])
        np.testing.assert_allclose(ap, 51 / 101)

    def test_second_detection_of_a_face_is_false(self):
        found = [detections_of((*FACE, 0.9), (*FACE, 0.8), (*FAR, 0.7))]
        ap = coco_average_precision([faces_of(FACE, FAR)], found, [0.5])
        np.testing.assert_allclose(ap, (51 + 50 * 2 / 3) / 101)

    def test_crowd_takes_any_number_of_detections(self):
        inside = [(100, 100, 110, 110, 0.9), (100, 100, 110, 120, 0.8)]
        faces = [faces_of(FACE, FAR, crowd=[1])]
        found = [detections_of(*inside, (*FACE, 0.7))]
        np.testing.assert_allclose(coco_average_precision(faces, found, [0.5]), 1)

    def test_face_outside_the_setting_takes_one_detection(self):
        faces = [faces_of(FACE, FAR, outside=[1])]
        one = [detections_of((*FAR, 0.9), (*FACE, 0.7))]
        np.testing.assert_allclose(coco_average_precision(faces, one, [0.5]), 1)
        two = [detections_of((*FAR, 0.9), (*FAR, 0.8), (*FACE, 0.7))]
        np.testing.assert_allclose(coco_average_precision(faces, two, [0.5]), 0.5)

    def test_counted_face_is_preferred_to_one_outside(self):
        # The detection equals the face outside but also overlaps the counted one by 2/3.
        counted, outside = (10, 10, 30, 40), (10, 10, 30, 30)
        faces = [faces_of(counted, outside, outside=[1])]
        found = [detections_of((*outside, 0.9))]
        np.testing.assert_allclose(coco_average_precision(faces, found, [0.5]), 1)

    def test_more_than_a_hundred_detections_count(self):
        boxes = [(30 * i, 0, 30 * i + 20, 20) for i in range(300)]
        found = [detections_of(*[(*box, 0.5) for box in boxes])]
        np.testing.assert_allclose(coco_average_precision([faces_of(*boxes)], found, [0.5]), 1)
        cut = coco_average_precision([faces_of(*boxes)], found, [0.5], max_detections=150)
        np.testing.assert_allclose(cut, 51 / 101)

    def test_no_detections_give_zero(self):
        np.testing.assert_array_equal(
            coco_average_precision([faces_of(FACE)], [detections_of()], IOUS), np.zeros(4)
        )

    def test_no_faces_give_nan(self):
        found = [detections_of((*FAR, 0.5))]
        for faces in (faces_of(), faces_of(FACE, outside=[0]), faces_of(FACE, crowd=[0])):
            assert np.isnan(coco_average_precision([faces], found, IOUS)).all()


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="1 images with faces, but 0"):
        coco_average_precision([faces_of(FACE)], [], IOUS)


def random_images(seed, num_images=6):
    rng = np.random.default_rng(seed)
    faces, detections = [], []
    for _ in range(num_images):
        num_faces, num_false = rng.integers(0, 8), rng.integers(0, 8)
        corners = rng.uniform(0, 150, (num_faces, 2))
        boxes = np.hstack([corners, corners + rng.uniform(8, 60, (num_faces, 2))])
        corners = rng.uniform(0, 150, (num_false, 2))
        false = np.hstack([corners, corners + rng.uniform(8, 60, (num_false, 2))])
        found = np.vstack([boxes + rng.normal(0, 3, boxes.shape), false])
        crowd = rng.random(num_faces) < 0.2
        faces.append(ImageFaces(boxes, crowd, ~crowd & (rng.random(num_faces) < 0.8)))
        detections.append(ImageDetections(found, rng.permutation(len(found)) / 100 + 0.1))
    # One sure face and one sure detection, so that AP is a number in every case.
    faces.append(faces_of(FACE))
    detections.append(detections_of((*FACE, 0.05)))
    return faces, detections


seeds = st.integers(0, 2**32 - 1)


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_both_implementations_agree(seed):
    faces, detections = random_images(seed)
    ours = coco_average_precision(faces, detections, IOUS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_ap, "COCO", COCO)
        patch.setattr(coco_ap, "COCOeval", COCOeval)
        reference = coco_average_precision(faces, detections, IOUS)
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-12)


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_properties(seed):
    faces, detections = random_images(seed)
    ap = coco_average_precision(faces, detections, IOUS)
    assert (ap >= 0).all()
    assert (ap <= 1).all()
    # Order of the detections of an image does not matter (no equal scores within an image).
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(d.scores)) for d in detections]
    shuffled = [
        ImageDetections(d.boxes[o], d.scores[o]) for d, o in zip(detections, orders, strict=True)
    ]
    np.testing.assert_array_equal(coco_average_precision(faces, shuffled, IOUS), ap)
    # A false positive below all other scores does not matter.
    last = ImageDetections(
        np.vstack([detections[0].boxes, [[900, 900, 950, 950]]]),
        np.append(detections[0].scores, 0.001),
    )
    np.testing.assert_array_equal(coco_average_precision(faces, [last, *detections[1:]], IOUS), ap)
    # The faces themselves as detections are perfect.
    perfect = [ImageDetections(f.boxes, np.ones(len(f.boxes))) for f in faces]
    np.testing.assert_allclose(coco_average_precision(faces, perfect, IOUS), 1)


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("seed", range(3))
def test_subsets_give_the_same_together_as_alone(seed, monkeypatch):
    """Subsets of the same boxes with other flags, the first one again, and other boxes."""
    faces, detections = random_images(seed)
    rng = np.random.default_rng(seed)
    subsets = [faces]
    for _ in range(2):
        crowd = [rng.random(len(image.boxes)) < 0.3 for image in faces]
        counted = [~mask & (rng.random(len(mask)) < 0.6) for mask in crowd]
        counted[-1][:] = True
        subsets.append(
            [ImageFaces(i.boxes, c, n) for i, c, n in zip(faces, crowd, counted, strict=True)]
        )
    nothing = [ImageFaces(i.boxes, i.crowd, np.zeros(len(i.boxes), bool)) for i in faces]
    moved = [ImageFaces(i.boxes + 1, i.crowd, i.counted) for i in faces]
    subsets += [nothing, faces, moved]
    alone = [coco_average_precision(subset, detections, IOUS) for subset in subsets]

    indexed = []
    index = coco_ap.COCO.createIndex
    monkeypatch.setattr(coco_ap.COCO, "createIndex", lambda coco: indexed.append(index(coco)))
    together = coco_average_precisions(subsets, detections, IOUS)
    np.testing.assert_array_equal(together, alone)
    assert len({tuple(ap) for ap in alone[:3]}) == 3
    assert len(indexed) == 3  # detections, faces, moved faces
