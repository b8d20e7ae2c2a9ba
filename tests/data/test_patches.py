"""Patches of the training: expansion with square crops, and data-anchor sampling."""

import numpy as np
import pytest
from detectron2.config import get_cfg
from detectron2.data import transforms as T
from hypothesis import given
from hypothesis import strategies as st

from helpers.painted_images import noise, painted_images
from srn_d2.config import add_srn_config
from srn_d2.data.build import numpy_seed
from srn_d2.data.patches import AnchorSampledPatch, ExpandedSquarePatch, PaddedCropTransform
from srn_d2.data.transforms import build_face_augmentation

seeds = st.integers(0, 2**32 - 1)
sides = st.integers(1, 60)


# --- expansion and patches -----------------------------------------------------------------------


@given(
    x0=st.integers(-70, 70), y0=st.integers(-70, 70), w=sides, h=sides, size=st.tuples(sides, sides)
)
def test_padded_crop_is_padding_then_cropping(x0, y0, w, h, size):
    image = noise(*size)
    margin = 140
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)))
    expected = padded[margin + y0 : margin + y0 + h, margin + x0 : margin + x0 + w]
    np.testing.assert_array_equal(PaddedCropTransform(x0, y0, w, h).apply_image(image), expected)


def draw_patches(augmentation: ExpandedSquarePatch, image: np.ndarray, count: int = 400) -> list:
    with numpy_seed(0):
        return [augmentation.get_transform(image) for _ in range(count)]


def test_a_full_patch_without_expansion_lies_anywhere_in_the_image():
    patches = draw_patches(ExpandedSquarePatch((1.0, 1.0), (0.5, 1.0), 1.0), noise(20, 30))
    assert {(p.w, p.h) for p in patches} == {(20, 20)}
    assert {p.y0 for p in patches} == {0}
    assert {p.x0 for p in patches} == set(range(11))


def test_smaller_patches_have_every_allowed_side_and_lie_in_the_image():
    patches = draw_patches(ExpandedSquarePatch((1.0, 1.0), (0.5, 1.0), 0.0), noise(20, 30))
    assert {p.w for p in patches} == set(range(10, 21))
    assert all(p.w == p.h for p in patches)
    assert all(0 <= p.x0 <= 30 - p.w and 0 <= p.y0 <= 20 - p.h for p in patches)


def test_a_canvas_of_twice_the_size():
    patches = draw_patches(ExpandedSquarePatch((2.0, 2.0), (0.5, 1.0), 1.0), noise(20, 30))
    assert {(p.w, p.h) for p in patches} == {(40, 40)}
    # The patch spans the canvas from top to bottom, and so has the whole image's height.
    assert {p.y0 for p in patches} == set(range(-20, 1))
    assert all(-30 <= p.x0 <= 20 for p in patches)
    assert len({p.x0 for p in patches}) > 30


def test_both_patches_are_chosen_by_the_probability():
    patches = draw_patches(ExpandedSquarePatch((1.0, 1.0), (0.5, 0.5), 0.25), noise(20, 30), 2000)
    full_share = np.mean([p.w == 20 for p in patches])
    assert 0.2 < full_share < 0.3


def test_expansion_is_zero_around_the_image():
    image = np.full((20, 20, 3), 200, np.uint8)
    augmented = T.AugInput(image)
    with numpy_seed(3):
        patch = ExpandedSquarePatch((2.0, 2.0), (1.0, 1.0), 1.0)(augmented)
    expected = np.zeros((40, 40, 3), np.uint8)
    expected[-patch.y0 : 20 - patch.y0, -patch.x0 : 20 - patch.x0] = image
    np.testing.assert_array_equal(augmented.image, expected)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (((0.5, 2.0), (0.5, 1.0), 0.5), "FACE_EXPAND_RANGE"),
        (((2.0, 1.0), (0.5, 1.0), 0.5), "FACE_EXPAND_RANGE"),
        (((1.0, 2.0), (0.0, 1.0), 0.5), "FACE_PATCH_SCALES"),
        (((1.0, 2.0), (0.5, 1.5), 0.5), "FACE_PATCH_SCALES"),
        (((1.0, 2.0), (0.5, 1.0), 1.5), "FACE_FULL_PATCH_PROB"),
    ],
)
def test_a_value_out_of_range_names_its_key(arguments, key):
    with pytest.raises(ValueError, match=key):
        ExpandedSquarePatch(*arguments)


# --- data-anchor sampling ------------------------------------------------------------------------


def sample_around(image, boxes, seed=0, **options):
    options = {
        "crop_size": 100,
        "face_sizes": (10, 40),
        "max_enlargement": 4.0,
        "prob": 1.0,
    } | options
    augmentation = AnchorSampledPatch(
        **options, otherwise=ExpandedSquarePatch((1.0, 1.0), (1.0, 1.0), 1.0)
    )
    with numpy_seed(seed):
        return augmentation.get_transform(image, np.asarray(boxes, dtype=float).reshape(-1, 4))


@given(painted=painted_images(), seed=seeds)
def test_the_patch_holds_a_whole_face_at_a_size_within_the_range(painted, seed):
    image, boxes = painted
    h, w = image.shape[:2]
    patch = sample_around(image, boxes, seed)
    assert patch.w == patch.h <= max(h, w)
    x0, y0, x1, y1 = boxes[0]
    assert patch.x0 <= x0 <= x1 <= patch.x0 + patch.w
    assert patch.y0 <= y0 <= y1 <= patch.y0 + patch.h
    for start, length in ((patch.x0, w), (patch.y0, h)):
        assert (start >= 0 and start + patch.w <= length) or (
            start <= 0 and patch.w >= length - start
        )
    scale = 100 / patch.w
    size = scale * np.sqrt((x1 - x0) * (y1 - y0))
    assert scale <= 4.0
    # A larger patch than the image would make it small enough, or a smaller one large enough.
    assert size <= 40 + 1e-9 or patch.w == max(h, w)
    is_limited = patch.w == 25 or patch.w == max(x1 - x0, y1 - y0)
    assert size >= 10 * (1 - 1 / patch.w) or is_limited  # the side was rounded up


def test_sizes_are_spread_evenly_over_the_octaves():
    image, boxes = noise(400, 400), [[180, 180, 220, 220]]
    sizes = [40 * 100 / sample_around(image, boxes, seed).w for seed in range(1000)]
    assert np.isclose(np.mean(np.array(sizes) < 20), 0.5, atol=0.05)
    assert min(sizes) < 10.2
    assert max(sizes) > 39


def test_every_face_is_chosen_and_no_other_place():
    image = noise(400, 400)
    boxes = [[10, 10, 20, 20], [300, 300, 330, 340], [200, 200, 200, 240], [500, 0, 520, 20]]
    held = set()
    for seed in range(60):
        patch = sample_around(image, boxes, seed)
        whole = {
            index
            for index, (x0, y0, x1, y1) in enumerate(boxes)
            if patch.x0 <= x0 and x1 <= patch.x0 + patch.w
            if patch.y0 <= y0 and y1 <= patch.y0 + patch.h
        } & {0, 1}
        assert whole, patch
        held |= whole
    assert held == {0, 1}


def test_without_faces_or_by_the_probability_it_is_the_other_patch():
    image = noise(40, 60)
    assert {sample_around(image, [], seed).w for seed in range(5)} == {40}
    # A face of 20 pixels is to become 30 of 100: a patch of 67, at most the longer side.
    options = {"face_sizes": (30, 30), "prob": 0.25}
    widths = [sample_around(image, [[10, 10, 30, 30]], seed, **options).w for seed in range(2000)]
    assert set(widths) == {40, 60}
    assert 0.2 < np.mean(np.array(widths) == 60) < 0.3


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ({"face_sizes": (0, 40)}, "FACE_SAMPLED_SIZES"),
        ({"face_sizes": (50, 40)}, "FACE_SAMPLED_SIZES"),
        ({"face_sizes": (50, 101)}, "FACE_SAMPLED_SIZES"),
        ({"max_enlargement": 0.0}, "FACE_MAX_ENLARGEMENT"),
        ({"prob": 1.5}, "FACE_ANCHOR_SAMPLING_PROB"),
    ],
)
def test_anchor_sampling_names_the_key_of_a_bad_value(option, key):
    with pytest.raises(ValueError, match=key):
        sample_around(noise(), [], **option)


def test_anchor_sampling_is_off_unless_the_config_asks_for_it():
    cfg = get_cfg()
    add_srn_config(cfg)
    kinds = [type(x) for x in build_face_augmentation(cfg, is_train=True)]
    assert AnchorSampledPatch not in kinds
    cfg.INPUT.FACE_ANCHOR_SAMPLING_PROB = 0.5
    kinds = [type(x) for x in build_face_augmentation(cfg, is_train=True)]
    assert AnchorSampledPatch in kinds
