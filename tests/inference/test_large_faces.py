"""The passes for large faces: their geometry, and real portraits of all sizes."""

import cv2
import numpy as np
import pytest

from srn_d2 import FaceDetector
from srn_d2.config import build_cfg
from srn_d2.inference.large_faces import (
    FACE_ASPECT,
    MAX_REDUCTION,
    downscaled_passes,
    frame_filling_size,
    inside_larger_face,
    largest_learned_face,
)


@pytest.mark.parametrize(
    ("frame", "face"),
    [
        ((500, 400), (500, 400)),
        ((400, 500), (400, 500)),
        ((400, 400), (400, 320)),
        ((300, 900), (300, 375)),  # lying; upright it would be 300 x 240
        ((900, 300), (375, 300)),
    ],
)
def test_the_largest_face_fits_the_frame(frame, face):
    assert frame_filling_size(*frame) == pytest.approx(np.sqrt(np.prod(face)))


def test_faces_of_every_size_are_seen_small_enough_and_count():
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = rng.integers(1, 6000, 2)
        largest_face = float(rng.uniform(50, 400))
        filling = frame_filling_size(height, width)
        passes = downscaled_passes(height, width, largest_face)
        reductions = np.array([1.0, *(p.reduction for p in passes)])
        min_sizes = np.array([0.0, *(p.min_size for p in passes)])
        assert (np.diff(reductions) > 0).all()
        assert (reductions[1:] <= MAX_REDUCTION * reductions[:-1] + 1e-9).all()
        largest_seen = largest_face if passes else largest_face * np.sqrt(2)
        for size in np.linspace(0, filling, 50):
            is_found = (size / reductions <= largest_seen + 1e-6) & (size >= min_sizes)
            assert is_found.any()
        # What counts in a further pass is not among the smallest faces there.
        assert (min_sizes[1:] / reductions[1:] >= largest_face / 9).all()


def test_small_images_get_one_look_and_large_ones_three():
    assert downscaled_passes(640, 640, 362) != []
    assert downscaled_passes(572, 572, 362) == []
    assert downscaled_passes(400, 4000, 362) == []  # no face of this height is too large
    assert downscaled_passes(0, 0, 362) == []
    [further] = downscaled_passes(700, 500, 200)
    assert further == pytest.approx((2 * 500 * np.sqrt(1.25) / 200, 200 / np.sqrt(2)))
    assert len(downscaled_passes(3000, 3000, 200)) == 2
    assert len(downscaled_passes(9000, 9000, 200)) == 3


def test_a_face_in_the_last_look_has_an_anchor():
    """A face that fills a square frame, in the middle: IoU with the best anchor of SRN."""
    [further] = downscaled_passes(1000, 1000, 362.0)
    side = 1000 / further.reduction
    ious = []
    for stride, size in ((64, 128.0), (64, 181.0), (128, 256.0), (128, 362.0)):
        anchor = np.array([size * np.sqrt(FACE_ASPECT), size / np.sqrt(FACE_ASPECT)])
        face = np.array([side, side / FACE_ASPECT])
        centres = (np.arange(np.ceil(side / stride)) + 0.5) * stride
        offset = np.abs(centres - side / 2).min()
        common = np.prod(np.minimum((face + anchor) / 2 - offset, np.minimum(face, anchor)))
        ious.append(common / (face.prod() + anchor.prod() - common))
    assert max(ious) > 0.7


@pytest.mark.parametrize(
    ("config", "opts", "size"),
    [
        ("srn_R50", [], 128 * 2 * np.sqrt(2)),  # the largest anchor
        ("srn_R18", [], 320 / np.sqrt(FACE_ASPECT)),  # what the crops have room for
        ("srn_efflite0", ["INPUT.FACE_SAMPLED_SIZES", (8, 200)], 200),
        ("srn_efflite0", ["INPUT.FACE_SAMPLED_SIZES", (8, 1000)], 128 * 2 * np.sqrt(2)),
    ],
)
def test_the_largest_face_of_a_training(repo_root, config, opts, size):
    cfg = build_cfg(str(repo_root / "configs" / f"{config}.yaml"), opts)
    assert largest_learned_face(cfg) == pytest.approx(size, rel=1e-3)


def test_parts_are_what_lies_in_a_better_and_larger_face_of_a_downscaled_pass():
    face = (100, 100, 500, 600)
    boxes_and_scores = [
        (face, 0.9),
        ((150, 200, 220, 280), 0.7),  # within it
        ((50, 200, 200, 300), 0.7),  # two thirds within it
        ((49, 200, 199, 300), 0.7),  # a little less
        ((150, 200, 220, 280), 0.95),  # better
        ((90, 90, 510, 610), 0.5),  # around it
        ((600, 0, 700, 100), 0.8),  # elsewhere
    ]
    boxes, scores = (np.array(x, dtype=np.float32) for x in zip(*boxes_and_scores, strict=True))
    is_downscaled = np.arange(len(boxes)) == 0
    expected = [False, True, True, False, False, False, False]
    assert inside_larger_face(boxes, scores, is_downscaled).tolist() == expected
    assert not inside_larger_face(boxes, scores, np.zeros(len(boxes), dtype=bool)).any()
    empty = np.zeros((0, 4), dtype=np.float32)
    assert inside_larger_face(empty, empty[:, 0], empty[:, 0] > 0).shape == (0,)


# --- real portraits ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photographs(load_tool):
    pytest.importorskip("skimage", reason="scikit-image is not installed: pip install scikit-image")
    return load_tool("demo_photographs").load_photographs()


@pytest.fixture(scope="module")
def detector():
    return FaceDetector(device="cpu", score_threshold=0.2)


def portrait(photograph, share, side):
    """A square cut from a photograph in which the face has a share of the height, and its box."""
    x1, y1, x2, y2 = photograph.face
    height, width = photograph.pixels.shape[:2]
    cut = round((y2 - y1) / share)
    left = min(max((x1 + x2 - cut) // 2, 0), width - cut)
    top = min(max((y1 + y2 - cut) // 2, 0), height - cut)
    pixels = photograph.pixels[top : top + cut, left : left + cut]
    box = np.array([x1 - left, y1 - top, x2 - left, y2 - top]) * (side / cut)
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_CUBIC), box


def iou(box, other):
    common = np.clip(
        np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None
    ).prod()
    return common / (np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2]) - common)


@pytest.mark.parametrize(
    ("share", "side"),
    [(0.4, 400), (0.6, 400), (0.8, 400), (0.6, 900), (0.8, 900), (0.6, 1500)],
)
def test_a_large_face_is_found_once(photographs, detector, share, side):
    for photograph in photographs:
        pixels, box = portrait(photograph, share, side)
        faces = detector(pixels)
        assert len(faces) > 0
        assert iou(faces.boxes[0], box) > 0.5
        assert (faces.scores > 0.7 * faces.scores[0]).sum() == 1
