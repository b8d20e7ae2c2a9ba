"""Rotation, perspective and losses of quality: ellipses stay in their boxes."""

import cv2
import numpy as np
import pytest
from detectron2.data import transforms as T
from hypothesis import given
from hypothesis import strategies as st

from helpers.painted_images import painted_box
from srn_d2.data.build import numpy_seed
from srn_d2.data.degradations import DegradationTransform, RandomDegradation
from srn_d2.data.transforms import build_face_augmentation
from srn_d2.data.warps import RandomWarp, WarpTransform

SIZE = 160


def ellipse(x0: int, y0: int, w: int, h: int) -> tuple[np.ndarray, np.ndarray]:
    """A white ellipse on black, and its box (1, 4)."""
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    shift = 4  # OpenCV's fractional bits
    centre = ((x0 + w / 2 - 0.5) * 2**shift, (y0 + h / 2 - 0.5) * 2**shift)
    axes = w / 2 * 2**shift, h / 2 * 2**shift
    cv2.ellipse(
        image,
        tuple(round(c) for c in centre),
        tuple(round(a) for a in axes),
        *(0, 0, 360),
        (255, 255, 255),
        -1,
        cv2.LINE_AA,
        shift,
    )
    return image, np.array([[x0, y0, x0 + w, y0 + h]], dtype=np.float64)


@given(
    st.integers(50, 80),
    st.integers(50, 80),
    st.integers(12, 40),
    st.integers(12, 40),
    st.integers(0, 2**32 - 1),
)
def test_the_box_bounds_the_turned_ellipse(x0, y0, w, h, seed):
    image, boxes = ellipse(x0, y0, w, h)
    augmented = T.AugInput(image, boxes=boxes)
    with numpy_seed(seed):
        RandomWarp(180.0, 0.05, 1.0)(augmented)
    assert augmented.image.shape == image.shape
    np.testing.assert_allclose(painted_box(augmented.image), augmented.boxes[0], atol=1.6)


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_right_angles_keep_every_pixel(degrees):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    matrix = np.vstack([cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), degrees, 1), [0, 0, 1]])
    warp = WarpTransform(matrix, SIZE, SIZE)
    expected = np.rot90(image, degrees // 90)
    assert np.abs(warp.apply_image(image).astype(int) - expected).max() <= 1
    np.testing.assert_allclose(
        warp.apply_box(np.array([[10.0, 20, 30, 60]]))[:, 2:]
        - warp.apply_box(np.array([[10.0, 20, 30, 60]]))[:, :2],
        [[40, 20]] if degrees % 180 else [[20, 40]],
        atol=1e-9,
    )


def test_no_boxes_stay_no_boxes():
    assert WarpTransform(np.eye(3), 8, 8).apply_box(np.zeros((0, 4))).shape == (0, 4)


@pytest.mark.parametrize("prob", [0.0, 0.3])
def test_the_share_of_warped_images(prob):
    image = np.full((16, 16, 3), 200, np.uint8)
    with numpy_seed(0):
        kinds = [type(RandomWarp(30, 0.05, prob).get_transform(image)) for _ in range(400)]
    assert np.mean([kind is WarpTransform for kind in kinds]) == pytest.approx(prob, abs=0.07)


@pytest.mark.parametrize(("kind", "degree"), [("blur", 1.5), ("reduce", 2.0), ("jpeg", 30.0)])
def test_a_degradation_loses_detail_and_keeps_colour_shape_and_boxes(kind, degree):
    rng = np.random.default_rng(0)
    image = (rng.random((60, 80, 3)) * [40, 120, 250]).astype(np.uint8)
    transform = DegradationTransform(kind, degree)
    result = transform.apply_image(image)
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    assert result.std(axis=(0, 1)).sum() < image.std(axis=(0, 1)).sum()
    np.testing.assert_allclose(result.mean(axis=(0, 1)), image.mean(axis=(0, 1)), atol=4)
    box = np.array([[1.0, 2, 3, 4]])
    np.testing.assert_array_equal(transform.apply_box(box), box)


def test_grey_has_no_colour():
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    grey = DegradationTransform("none", 0.0, is_grey=True).apply_image(image)
    assert np.ptp(grey, axis=2).max() == 0 < np.ptp(image, axis=2).max()


def test_the_share_of_degraded_images():
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    with numpy_seed(0):
        transforms = [RandomDegradation(0.4).get_transform(image) for _ in range(600)]
    degraded = [x for x in transforms if isinstance(x, DegradationTransform)]
    assert np.mean([x in degraded and x.kind != "none" for x in transforms]) == pytest.approx(
        0.4, abs=0.07
    )
    assert np.mean([x in degraded and x.is_grey for x in transforms]) == pytest.approx(
        0.2, abs=0.06
    )
    assert {x.kind for x in degraded} == {"blur", "reduce", "jpeg", "none"}
    assert {x.apply_image(image).shape for x in degraded} == {image.shape}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("FACE_WARP_PROB", 1.5),
        ("FACE_WARP_DEGREES", -1.0),
        ("FACE_WARP_PERSPECTIVE", 0.5),
        ("FACE_DEGRADATION_PROB", 2.0),
    ],
)
def test_a_wrong_value_names_its_key(small_cfg, key, value):
    cfg = small_cfg("INPUT.FACE_WARP_PROB", 0.5, f"INPUT.{key}", value)
    with pytest.raises(ValueError, match=key):
        build_face_augmentation(cfg, is_train=True)


def test_neither_is_there_by_default(small_cfg):
    kinds = {type(x).__name__ for x in build_face_augmentation(small_cfg(), is_train=True)}
    assert not kinds & {"RandomWarp", "RandomDegradation"}
