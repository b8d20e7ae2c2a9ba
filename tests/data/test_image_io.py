"""Every kind of picture is read right; damage is one typed error that names the file."""

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from srn_d2.data.image_io import (
    EXIF_ORIENTATION,
    CorruptImageError,
    ImageCache,
    TooManyPixelsError,
    read_image,
)

# The EXIF standard's table: which side of the upright picture the stored row 0 and column 0 are.
EXIF_SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def noise(height: int = 6, width: int = 9, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def upright_by_the_table(stored: np.ndarray, orientation: int) -> np.ndarray:
    row_side, column_side = EXIF_SIDES[orientation]
    upright = stored
    if row_side in ("left", "right"):  # stored rows are columns of the picture
        upright = upright.transpose(1, 0, 2)
    if "bottom" in (row_side, column_side):
        upright = upright[::-1]
    if "right" in (row_side, column_side):
        upright = upright[:, ::-1]
    return upright


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["photo.png", "photo.tiff", "photo.webp"])
def test_exif_orientation(tmp_path, orientation, name):
    path = tmp_path / name
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(noise()).save(path, exif=exif, lossless=True)  # lossless is for WebP
    np.testing.assert_array_equal(read_image(path), upright_by_the_table(noise(), orientation))


def test_exif_orientation_of_a_jpeg(tmp_path):
    stored = np.zeros((32, 64, 3), np.uint8)
    stored[:, :32] = (200, 30, 30)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    Image.fromarray(stored).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    expected = upright_by_the_table(stored, 6)
    assert np.abs(read_image(tmp_path / "photo.jpg").astype(int) - expected).mean() < 3


def test_damaged_or_unknown_exif_is_no_orientation(tmp_path):
    Image.fromarray(noise()).save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 77
    Image.fromarray(noise()).save(tmp_path / "b.png", exif=exif)
    for name in ("a.png", "b.png"):
        np.testing.assert_array_equal(read_image(tmp_path / name), noise())


def grey_as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)


def test_rgb_is_read_as_it_is(tmp_path):
    Image.fromarray(noise()).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == np.uint8
    assert image.flags.writeable
    np.testing.assert_array_equal(image, noise())
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.png")), noise())


def test_grey_and_bilevel(tmp_path):
    grey = noise(channels=1)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey > 127).save(tmp_path / "bilevel.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), grey_as_rgb(grey))
    np.testing.assert_array_equal(
        read_image(tmp_path / "bilevel.png"), grey_as_rgb(np.where(grey > 127, 255, 0))
    )


def test_palette(tmp_path):
    colours = noise(1, 4)[0]
    indices = noise(channels=1) % 4
    image = Image.fromarray(indices).convert("L")
    image.putpalette(colours.tobytes())
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), colours[indices])


def test_palette_with_a_transparent_colour(tmp_path):
    colours = np.array([[10, 20, 30], [200, 100, 50]], np.uint8)
    indices = noise(channels=1) % 2
    image = Image.fromarray(indices)
    image.putpalette(colours.tobytes())
    image.save(tmp_path / "a.png", transparency=1)
    colours[1] = 0  # the transparent one shows the black behind it
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), colours[indices])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_blended_with_black(tmp_path, mode):
    pixels = noise(channels=len(mode))
    pixels[0, :, -1] = 255
    pixels[1, :, -1] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    colours = np.broadcast_to(pixels[..., :-1], (*pixels.shape[:2], 3)).astype(int)
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image[0], colours[0])
    np.testing.assert_array_equal(image[1], 0)
    np.testing.assert_allclose(image, colours * (pixels[..., -1:] / 255), atol=1)


def test_rgb_with_a_transparent_colour(tmp_path):
    pixels = noise()
    Image.fromarray(pixels).save(tmp_path / "a.png", transparency=tuple(map(int, pixels[2, 3])))
    pixels[2, 3] = 0
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)


def test_cmyk(tmp_path):
    cmyk = np.zeros((16, 64, 4), np.uint8)
    for i in range(4):  # full cyan, magenta, yellow and black
        cmyk[:, 16 * i : 16 * (i + 1), i] = 255
    expected = np.array([[0, 255, 255], [255, 0, 255], [255, 255, 0], [0, 0, 0]])
    image = Image.fromarray(cmyk, mode="CMYK")
    image.save(tmp_path / "a.tiff")
    image.save(tmp_path / "a.jpg", quality=100)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tiff")[8, 8::16], expected)
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg")[8, 8::16], expected, atol=3)


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.pgm"])
def test_16_bit_grey_is_scaled(tmp_path, name):
    grey = np.array([[0, 128, 129, 257, 1000], [32768, 40000, 65000, 65400, 65535]], np.uint16)
    Image.fromarray(grey).save(tmp_path / name)
    np.testing.assert_array_equal(
        read_image(tmp_path / name), grey_as_rgb(np.rint(grey / 257).astype(np.uint8))
    )


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_16_bit_colour_is_scaled(tmp_path, name):
    rgb = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    assert cv2.imwrite(str(tmp_path / name), rgb[:, :, ::-1])  # Pillow cannot write these
    np.testing.assert_allclose(read_image(tmp_path / name), rgb / 257, atol=1)


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "a.gif") == (255, 0, 0)).all()


def test_the_name_does_not_tell_the_format(tmp_path):
    path = tmp_path / "webp_bytes.jpg"
    Image.fromarray(noise()).save(path, format="WEBP", lossless=True)
    np.testing.assert_array_equal(read_image(path), noise())


def encode(format_name: str) -> bytes:
    buffer = BytesIO()
    Image.fromarray(noise(40, 50)).save(buffer, format=format_name)
    return buffer.getvalue()


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_truncated(tmp_path, format_name):
    encoded = encode(format_name)
    (tmp_path / "cut.jpg").write_bytes(encoded[: len(encoded) // 2])
    with pytest.raises(CorruptImageError, match=r"cut\.jpg"):
        read_image(tmp_path / "cut.jpg")


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\xff\xd8\xff\xe0"])
def test_not_an_image(tmp_path, content):
    (tmp_path / "text.jpg").write_bytes(content)
    with pytest.raises(CorruptImageError, match=r"text\.jpg"):
        read_image(tmp_path / "text.jpg")


def test_too_many_pixels(tmp_path, monkeypatch):
    Image.fromarray(noise(40, 50)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(CorruptImageError, match=r"bomb\.png.*limit"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.gif"])
def test_the_limit_given_counts_above_pillow_s(tmp_path, monkeypatch, recwarn, name):
    """Pillow refuses twice its MAX_IMAGE_PIXELS, and warns of more than that."""
    path = tmp_path / name
    frames = [Image.new("RGB", (60, 50), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_image(path, max_pixels=3000).shape == (50, 60, 3)
    assert Image.MAX_IMAGE_PIXELS == 1000
    assert not recwarn.list
    with pytest.raises(TooManyPixelsError):
        read_image(path, max_pixels=2999)
    with pytest.raises(TooManyPixelsError):
        read_image(path)


@given(data=st.data(), format_name=st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF"]))
def test_any_damage_is_a_corrupt_image_error(tmp_path_factory, data, format_name):
    encoded = bytearray(encode(format_name))
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(encoded)
    try:
        image = read_image(path)
    except CorruptImageError as error:
        assert str(path) in str(error)  # noqa: PT017 -- either outcome is right
    else:
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        read_image(tmp_path / "gone.jpg")


def write_three(folder: Path) -> list[Path]:
    paths = [folder / f"{i}.png" for i in range(3)]
    for i, path in enumerate(paths):
        Image.fromarray(noise(10, 10, seed=i)).save(path)
    return paths


def test_cache_serves_without_the_file_up_to_its_budget(tmp_path):
    paths = write_three(tmp_path)
    cache = ImageCache(max_bytes=2 * 10 * 10 * 3)
    for i, path in enumerate(paths):
        np.testing.assert_array_equal(cache(path), noise(10, 10, seed=i))
        path.unlink()
    for i, path in enumerate(paths[:2]):
        np.testing.assert_array_equal(cache(path), noise(10, 10, seed=i))
        assert not cache(path).flags.writeable
    with pytest.raises(FileNotFoundError):  # the third was over the budget
        cache(paths[2])
    assert cache.used_bytes == cache.max_bytes


def test_cache_of_no_bytes_reads_anew(tmp_path):
    path = write_three(tmp_path)[0]
    cache = ImageCache(max_bytes=0)
    cache(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        cache(path)
