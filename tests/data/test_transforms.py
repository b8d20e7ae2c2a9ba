"""Boxes follow the pixels, and each augmentation does what the paper says."""

import colorsys

import numpy as np
import pytest
from detectron2.config import get_cfg
from detectron2.data import transforms as T
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.painted_images import noise, painted_box, painted_images
from srn_d2.config import add_srn_config
from srn_d2.data.build import numpy_seed
from srn_d2.data.patches import AnchorSampledPatch, ExpandedSquarePatch
from srn_d2.data.transforms import (
    FastResizeTransform,
    PhotometricDistortion,
    PhotometricTransform,
    ResizeShortestEdge,
    ResizeSquare,
    build_face_augmentation,
)

seeds = st.integers(0, 2**32 - 1)
sides = st.integers(1, 60)


# --- boxes follow pixels -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("augmentation", "tolerance"),
    [
        (ExpandedSquarePatch((1.0, 2.0), (0.5, 1.0), 0.5), 0),
        (AnchorSampledPatch(60, (8, 50), 3.0, 1.0, T.NoOpTransform()), 0),
        (T.RandomFlip(), 0),
        (ResizeSquare(256), 1.5),  # enlarged up to 6.4 times: half of an input pixel blurs
        (ResizeSquare(64), 1.0),
        (ResizeSquare(20), 1.0),  # reduced up to 6 times
        (ResizeShortestEdge(100, 150), 1.0),
    ],
    ids=["patch", "around a face", "flip", "enlarge", "near", "reduce", "shortest edge"],
)
@given(painted=painted_images(), seed=seeds)
def test_the_box_still_bounds_the_paint(augmentation, tolerance, painted, seed):
    image, boxes = painted
    augmented = T.AugInput(image, boxes=boxes)
    with numpy_seed(seed):
        augmentation(augmented)
    h, w = augmented.image.shape[:2]
    clipped = np.clip(augmented.boxes[0], 0, (w, h, w, h))
    if (clipped[2:] - clipped[:2]).min() <= 2:  # the paint is outside, or too little of it
        return
    np.testing.assert_allclose(painted_box(augmented.image), clipped, atol=tolerance)


@given(painted=painted_images(), seed=seeds)
def test_the_whole_augmentation_keeps_boxes_on_the_paint(painted, seed):
    image, boxes = painted
    cfg = get_cfg()
    add_srn_config(cfg)
    cfg.INPUT.FACE_CROP_SIZE = 96
    cfg.INPUT.FACE_PHOTOMETRIC = False  # it would change what is white
    augmented = T.AugInput(image, boxes=boxes)
    with numpy_seed(seed):
        T.AugmentationList(build_face_augmentation(cfg, is_train=True))(augmented)
    assert augmented.image.shape == (96, 96, 3)
    clipped = np.clip(augmented.boxes[0], 0, 96)
    if (clipped[2:] - clipped[:2]).min() > 2:
        np.testing.assert_allclose(painted_box(augmented.image), clipped, atol=1.5)


@given(seed=seeds)
def test_flip_twice_is_identity_on_boxes_and_pixels(seed):
    boxes = np.random.default_rng(seed).uniform(0, 20, (7, 4))
    boxes[:, 2:] += boxes[:, :2]
    flip = T.RandomFlip(prob=1.0)
    augmented = T.AugInput(noise(), boxes=boxes.copy())
    flip(augmented)
    assert not np.array_equal(augmented.image, noise())
    flip(augmented)
    np.testing.assert_allclose(augmented.boxes, boxes)
    np.testing.assert_array_equal(augmented.image, noise())


@pytest.mark.parametrize("size", [(30, 40), (1, 40), (10_000, 3)])
def test_no_box_at_all(size):
    cfg = get_cfg()
    add_srn_config(cfg)
    cfg.INPUT.FACE_CROP_SIZE = 16
    augmented = T.AugInput(noise(*size), boxes=np.zeros((0, 4)))
    T.AugmentationList(build_face_augmentation(cfg, is_train=True))(augmented)
    assert augmented.boxes.shape == (0, 4)
    assert augmented.image.shape == (16, 16, 3)


# --- resizing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("new_size", [(20, 20), (45, 70), (7, 5)])
def test_fast_resize_is_near_to_pillow(new_size):
    y, x = np.mgrid[:40, :60]
    image = np.stack([6 * y, 4 * x, 3 * y + 2 * x], axis=-1).astype(np.uint8)  # smooth
    size = (*image.shape[:2], *new_size)
    difference = FastResizeTransform(*size).apply_image(image).astype(int)
    difference -= T.ResizeTransform(*size).apply_image(image)
    assert np.abs(difference).max() <= 12
    assert np.abs(difference).mean() <= 3


@pytest.mark.parametrize("reduction", [2, 3, 7])
def test_fast_resize_lets_every_pixel_count(reduction):
    image = np.zeros((reduction * 10, reduction * 10, 3), np.uint8)
    image[::reduction, ::reduction] = 255
    small = FastResizeTransform(*image.shape[:2], 10, 10).apply_image(image)
    np.testing.assert_allclose(small, 255 / reduction**2, atol=1)


def test_fast_resize_of_a_segmentation_makes_no_new_labels():
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    resized = FastResizeTransform(3, 4, 7, 9).apply_segmentation(labels)
    assert resized.shape == (7, 9)
    assert set(resized.ravel()) <= set(labels.ravel())


@pytest.mark.parametrize(
    ("size", "expected"),
    [((100, 200), (50, 100)), ((1, 10_000), (1, 133)), ((10_000, 1), (133, 1))],
)
def test_shortest_edge_never_becomes_zero(size, expected):
    augmented = T.AugInput(np.zeros((*size, 3), np.uint8))
    ResizeShortestEdge(50, 133)(augmented)
    assert augmented.image.shape[:2] == expected


def test_shortest_edge_zero_is_the_original_size():
    image = noise()
    augmented = T.AugInput(image)
    ResizeShortestEdge(0, 133)(augmented)
    assert augmented.image is image


# --- photometric distortion ----------------------------------------------------------------------


def test_neutral_distortion_is_identity():
    np.testing.assert_array_equal(PhotometricTransform().apply_image(noise()), noise())


def test_brightness_and_contrast_by_their_formulas():
    image = noise().astype(float)
    brighter = PhotometricTransform(brightness=31.6).apply_image(noise())
    np.testing.assert_array_equal(brighter, np.clip(np.rint(image + 31.6), 0, 255))
    sharper = PhotometricTransform(contrast=1.43).apply_image(noise())
    np.testing.assert_array_equal(sharper, np.clip(np.rint(image * 1.43), 0, 255))


@pytest.mark.parametrize("contrast_first", [True, False])
def test_brightness_is_cut_off_before_contrast(contrast_first):
    tfm = PhotometricTransform(brightness=30, contrast=0.5, contrast_first=contrast_first)
    white = np.full((1, 1, 3), 250, np.uint8)
    np.testing.assert_array_equal(tfm.apply_image(white), 128)  # 255 / 2, not 280 / 2


def test_contrast_before_or_after_saturation():
    image = np.array([[[200, 100, 100]]], np.uint8)
    first, last = (
        PhotometricTransform(contrast=1.5, saturation=1.5, contrast_first=first).apply_image(image)
        for first in (True, False)
    )
    np.testing.assert_allclose(first, [[[255, 97, 97]]], atol=2)  # 300 cut off, then 1.5 x 0.41
    np.testing.assert_allclose(last, [[[255, 75, 75]]], atol=2)  # 1.5 x 0.5, then 1.5 x 50


@pytest.mark.parametrize("saturation", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("hue", [-18.0, 0.0, 7.0, 18.0])
def test_hue_and_saturation_against_colorsys(hue, saturation):
    image = noise()
    expected = np.empty(image.shape)
    for index in np.ndindex(image.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*image[index] / 255)
        expected[index] = colorsys.hsv_to_rgb((h + hue / 360) % 1, min(1, s * saturation), v)
    changed = PhotometricTransform(hue=hue, saturation=saturation).apply_image(image)
    # The hue of the pixel and the turn are rounded, by 0.7 degrees each at most. Together that is
    # up to 255 / 60 * 1.4 = 6 grey levels, times the saturation, and the rounding of that.
    np.testing.assert_allclose(changed, expected * 255, atol=10)
    assert np.abs(changed - expected * 255).mean() < 2


def test_grey_has_no_hue():
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    tfm = PhotometricTransform(hue=18.0, saturation=1.5)
    np.testing.assert_array_equal(tfm.apply_image(grey), grey)


@settings(max_examples=30)
@given(seed=seeds)
def test_distortion_changes_each_pixel_by_itself_and_not_its_input(seed):
    image = noise()
    shuffled_index = np.random.default_rng(seed).permutation(20 * 30)

    def shuffle(img: np.ndarray) -> np.ndarray:
        return img.reshape(-1, 3)[shuffled_index].reshape(img.shape)

    with numpy_seed(seed):
        tfm = PhotometricDistortion().get_transform(image)
    np.testing.assert_array_equal(tfm.apply_image(shuffle(image)), shuffle(tfm.apply_image(image)))
    np.testing.assert_array_equal(image, noise())
    boxes = np.array([[1.0, 2.0, 3.0, 4.0]])
    np.testing.assert_array_equal(tfm.apply_box(boxes), boxes)


def test_each_distortion_comes_half_of_the_time_within_its_range():
    with numpy_seed(0):
        drawn = [PhotometricDistortion().get_transform(noise()) for _ in range(1000)]
    for name, neutral, low, high in [
        ("brightness", 0.0, -32.0, 32.0),
        ("contrast", 1.0, 0.5, 1.5),
        ("saturation", 1.0, 0.5, 1.5),
        ("hue", 0.0, -18.0, 18.0),
    ]:
        values = np.array([getattr(tfm, name) for tfm in drawn])
        assert 0.45 < np.mean(values != neutral) < 0.55, name
        assert low <= values.min() < low + 0.05 * (high - low), name
        assert high - 0.05 * (high - low) < values.max() <= high, name
    assert 0.45 < np.mean([tfm.contrast_first for tfm in drawn]) < 0.55


@pytest.mark.parametrize("image", [np.zeros((4, 5, 3), np.float32), np.zeros((4, 5), np.uint8)])
def test_distortion_refuses_other_images(image):
    with pytest.raises(ValueError, match="expected uint8"):
        PhotometricTransform(hue=3.0).apply_image(image)


def test_photometric_can_be_switched_off_and_padding_stays_zero():
    cfg = get_cfg()
    add_srn_config(cfg)
    cfg.INPUT.FACE_CROP_SIZE = 50
    cfg.INPUT.FACE_EXPAND_RANGE = (2.0, 2.0)
    cfg.INPUT.FACE_FULL_PATCH_PROB = 1.0
    image = np.full((50, 50, 3), 128, np.uint8)
    seen = set()
    for seed in range(40):
        augmented = T.AugInput(image)
        with numpy_seed(seed):
            T.AugmentationList(build_face_augmentation(cfg, is_train=True))(augmented)
        corners = augmented.image[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert (corners == 0).all(axis=1).sum() >= 3  # at most one corner is the image's
        seen.add(int(augmented.image.max()))
    assert len(seen) > 10
    cfg.INPUT.FACE_PHOTOMETRIC = False
    augmentations = build_face_augmentation(cfg, is_train=True)
    assert not any(
        isinstance(augmentation, PhotometricDistortion) for augmentation in augmentations
    )
