"""Colours are sRGB whatever the file's profile, in all kinds of images that have one."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from helpers.icc_profiles import D50, SRGB, grey_profile, in_srgb, rgb_profile
from srn_d2.data.image_color import to_srgb
from srn_d2.data.image_io import read_image

COLORS = np.array([[[200, 60, 40], [90, 160, 70], [50, 80, 190], [128, 128, 128]]], np.uint8)
TOLERANCE = 2  # LittleCMS' tables


def saved(path, image, profile, **options):
    image.save(path, icc_profile=profile, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp", "a.avif", "a.jpg"])
def test_display_p3_becomes_srgb(tmp_path, name):
    options = {"lossless": True} if name == "a.webp" else {}
    tolerance = TOLERANCE
    if name in ("a.avif", "a.jpg"):
        options, tolerance = {"quality": 100, "subsampling": "4:4:4"}, 6
    image = Image.fromarray(np.repeat(np.repeat(COLORS, 16, axis=0), 16, axis=1))
    path = saved(tmp_path / name, image, rgb_profile(), **options)
    found = read_image(path)[8, 8::16]
    np.testing.assert_allclose(found, in_srgb(COLORS)[0], atol=tolerance)
    assert np.abs(found.astype(int) - COLORS[0]).max() > 10  # the profile makes a difference


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_other_modes_with_a_profile(tmp_path, mode):
    image = Image.fromarray(COLORS)
    image = image.quantize(len(COLORS[0])) if mode == "P" else image.convert(mode)
    path = saved(tmp_path / "a.png", image, rgb_profile())
    np.testing.assert_allclose(read_image(path), in_srgb(COLORS), atol=TOLERANCE)


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_with_a_profile(tmp_path, mode):
    grey = np.array([[20, 90, 200]], np.uint8)
    image = Image.fromarray(grey).convert(mode)
    path = saved(tmp_path / "a.png", image, grey_profile(1.0))  # linear: lighter in sRGB
    expected = in_srgb(np.repeat(grey[..., None], 3, axis=2), SRGB, 1.0)
    np.testing.assert_allclose(read_image(path), expected, atol=TOLERANCE)


@pytest.mark.parametrize(
    "profile",
    [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        b"damaged",
        rgb_profile()[:200],
        grey_profile(2.2),  # of other colours than the image's
        None,
    ],
    ids=["sRGB", "damaged", "truncated", "of grey", "none"],
)
def test_pixels_stay_as_they_are_without_another_profile(profile):
    image = Image.fromarray(COLORS)
    np.testing.assert_array_equal(to_srgb(image, profile), COLORS)


def test_lab(tmp_path):
    """A colour of sRGB by the formulas of CIE 1976 L*a*b*, of D50."""
    color = np.array([200, 60, 40])
    encoded = color / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    xyz = SRGB @ linear / D50
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = [116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])]
    bands = [round(lab[0] * 2.55), round(lab[1] + 128), round(lab[2] + 128)]
    image = Image.merge("LAB", [Image.new("L", (2, 2), band) for band in bands])
    image.save(tmp_path / "a.tif")
    for found in (np.asarray(to_srgb(image, None)), read_image(tmp_path / "a.tif")):
        np.testing.assert_allclose(found[0, 0], color, atol=4)
