"""Every kind of picture becomes the same RGB array; whatever is wrong has its own exception."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srn_d2.data import InvalidImageError, image_io
from srn_d2.data.image_input import as_rgb


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def saved(path, pixels, **kwargs):
    Image.fromarray(pixels).save(path, **kwargs)
    return path


@pytest.mark.parametrize(
    "convert",
    [
        lambda pixels, folder: saved(folder / "a.png", pixels),
        lambda pixels, folder: str(saved(folder / "a.png", pixels)),
        lambda pixels, folder: Image.fromarray(pixels),
        lambda pixels, folder: Image.open(saved(folder / "a.png", pixels)),  # not decoded yet
        lambda pixels, folder: pixels,
        lambda pixels, folder: np.asfortranarray(pixels),
        lambda pixels, folder: pixels[:, ::-1].copy()[:, ::-1],  # negative strides
        lambda pixels, folder: torch.from_numpy(pixels).permute(2, 0, 1),
        lambda pixels, folder: torch.from_numpy(pixels.transpose(2, 0, 1).copy()),
    ],
)
def test_all_kinds_give_the_same_pixels(convert, pixels, tmp_path):
    rgb = as_rgb(convert(pixels, tmp_path))
    np.testing.assert_array_equal(rgb, pixels)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous


def test_grey_arrays_and_pictures(pixels):
    grey = pixels[:, :, 0]
    expected = np.stack([grey] * 3, axis=2)
    np.testing.assert_array_equal(as_rgb(grey), expected)
    np.testing.assert_array_equal(as_rgb(Image.fromarray(grey)), expected)


def test_a_pillow_image_is_turned_upright(pixels, tmp_path):
    exif = Image.Exif()
    exif[image_io.EXIF_ORIENTATION] = 6  # stored a quarter turn to the left of how it is seen
    path = saved(tmp_path / "a.png", pixels, exif=exif)
    expected = np.rot90(pixels, -1)
    np.testing.assert_array_equal(as_rgb(path), expected)
    np.testing.assert_array_equal(as_rgb(Image.open(path)), expected)


def write_bad_files(folder, pixels):
    (folder / "text.jpg").write_text("no image")
    (folder / "empty.jpg").touch()
    for name in ("whole.jpg", "whole.png"):
        big = np.tile(pixels, (10, 10, 1))
        encoded = saved(folder / name, big).read_bytes()
        (folder / name.replace("whole", "cut")).write_bytes(encoded[: len(encoded) * 3 // 4])
    saved(folder / "bomb.png", np.zeros((100, 101, 3), dtype=np.uint8))


BAD_FILES = [
    ("text.jpg", image_io.NotAnImageError, "not an image"),
    ("empty.jpg", image_io.NotAnImageError, "not an image"),
    ("cut.jpg", image_io.TruncatedImageError, "truncated or damaged"),
    ("cut.png", image_io.TruncatedImageError, "truncated or damaged"),
    ("bomb.png", image_io.TooManyPixelsError, "too many pixels"),
]
# Pillow opens lazily, and refuses what is no image itself.
OPENED_FILES = [case for case in BAD_FILES if case[1] is not image_io.NotAnImageError]


@pytest.mark.parametrize(
    ("as_path", "name", "error", "reason"),
    [
        *((as_path, *case) for as_path in (Path, str) for case in BAD_FILES),
        *((Image.open, *case) for case in OPENED_FILES),
    ],
)
def test_bad_files_are_told_apart_and_named(as_path, name, error, reason, pixels, tmp_path):
    write_bad_files(tmp_path, pixels)
    image = as_path(tmp_path / name)
    with pytest.raises(error, match=name.replace(".", r"\.")) as caught:
        as_rgb(image, max_pixels=10_000)
    assert isinstance(caught.value, InvalidImageError)
    assert caught.value.reason == reason


def test_as_many_pixels_as_allowed_are_fine(tmp_path):
    black = np.zeros((100, 100, 3), dtype=np.uint8)
    for image in (black, Image.fromarray(black), saved(tmp_path / "a.png", black)):
        assert as_rgb(image, max_pixels=10_000).shape == (100, 100, 3)


def test_pillow_s_own_limit_is_the_same_error(tmp_path, monkeypatch, pixels):
    path = saved(tmp_path / "a.png", pixels)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(image_io.TooManyPixelsError):
        as_rgb(path)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((4, 5, 3)), image_io.ImageTypeError, "float64"),
        (np.zeros((4, 5, 3), np.int32), image_io.ImageTypeError, "int32"),
        (np.zeros((4, 5, 4), np.uint8), image_io.ImageTypeError, r"\(4, 5, 4\)"),
        (np.zeros(5, np.uint8), image_io.ImageTypeError, r"\(5,\)"),
        (np.zeros((2, 4, 5, 3), np.uint8), image_io.ImageTypeError, "list"),
        (np.zeros((0, 5, 3), np.uint8), image_io.EmptyImageError, "5 x 0"),
        (np.zeros((4, 0), np.uint8), image_io.EmptyImageError, "0 x 4"),
        (np.zeros((11, 10, 3), np.uint8), image_io.TooManyPixelsError, "10 x 11"),
        (torch.zeros(3, 4, 5), image_io.ImageTypeError, "float32"),
        (torch.zeros(4, 5, 3, dtype=torch.uint8), image_io.ImageTypeError, r"\(4, 5, 3\)"),
        (torch.zeros(2, 3, 4, 5, dtype=torch.uint8), image_io.ImageTypeError, "list"),
        (torch.zeros(3, 0, 5, dtype=torch.uint8), image_io.EmptyImageError, "5 x 0"),
        (torch.zeros(3, 10, 11, dtype=torch.uint8), image_io.TooManyPixelsError, "11 x 10"),
        (Image.new("RGB", (0, 4)), image_io.EmptyImageError, "0 x 4"),
    ],
)
def test_wrong_arrays_say_what_they_are(image, error, message):
    with pytest.raises(error, match=message) as caught:
        as_rgb(image, max_pixels=100)
    assert isinstance(caught.value, InvalidImageError)
    assert caught.value.reason == error.reason


def test_other_objects_are_no_images(tmp_path):
    with pytest.raises(TypeError, match="NoneType"):
        as_rgb(None)
    (tmp_path / "a.jpg").touch()
    with open(tmp_path / "a.jpg", "rb") as file, pytest.raises(TypeError, match="BufferedReader"):
        as_rgb(file)


def test_an_absent_file_is_the_usual_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.jpg"):
        as_rgb(tmp_path / "absent.jpg")
