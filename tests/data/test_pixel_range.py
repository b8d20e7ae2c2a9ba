"""Data of any range become the same 8 bits that they were made from."""

import logging
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from srn_d2.data import image_io
from srn_d2.data.image_io import read_image
from srn_d2.data.pixel_range import PixelRange, find_range


def ramp(height=40, width=60):
    return np.linspace(0, 255, height * width).round().astype(np.uint8).reshape(height, width)


def scaled(pixels):
    return find_range(pixels).scale(pixels)


@given(bits=st.integers(8, 32), seed=st.integers(0, 99))
def test_any_number_of_bits(bits, seed):
    grey = np.random.default_rng(seed).permutation(ramp().ravel())
    wide = np.rint(grey / 255 * (2**bits - 1)).astype(np.uint16 if bits <= 16 else np.uint32)
    np.testing.assert_array_equal(scaled(wide), grey)


@pytest.mark.parametrize("factor", [1 / 255, 1.0, 4095 / 255, 257.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_of_a_usual_range(factor, dtype):
    np.testing.assert_array_equal(scaled((ramp() * factor).astype(dtype)), ramp())


@given(low=st.floats(-1e4, 1e4), span=st.floats(1, 1e4), dtype=st.sampled_from("fd"))
def test_other_ranges_are_used_from_end_to_end(low, span, dtype):
    values = (low + ramp().astype("d") / 255 * span).astype(dtype)
    result = scaled(values)
    assert (np.diff(result.ravel().astype(int)) >= 0).all()
    assert int(result.max()) - int(result.min()) >= 127


def test_a_small_part_of_16_bits():
    thermal = (20_000 + ramp().astype(np.uint16) * 8).astype(np.uint16)
    np.testing.assert_array_equal(scaled(thermal), ramp())


def test_hot_pixels_do_not_count():
    data = np.tile(ramp().astype(np.uint16) * 16, (10, 10))
    data[5, 5], data[50, 60] = 65535, 65535
    assert find_range(data) == PixelRange(0, 4095)
    assert scaled(data)[5, 5] == 255


def test_values_that_are_no_numbers():
    data = ramp().astype(np.float32) / 255
    data[0, 0], data[0, 1], data[0, 2] = np.nan, np.inf, -np.inf
    assert scaled(data)[0, :3].tolist() == [0, 255, 0]
    np.testing.assert_array_equal(scaled(data)[1:], ramp()[1:])
    assert (scaled(np.full((2, 2), np.nan, np.float32)) == 0).all()


@pytest.mark.parametrize("value", [0, 7, 70_000, -3])
def test_one_value(value):
    assert scaled(np.full((3, 4), value, np.int32)).shape == (3, 4)


def write_grey_alpha(path, pixels):
    """A PNG of grey and opacity of 16 bits, which neither Pillow nor OpenCV writes."""
    height, width = pixels.shape[:2]
    rows = [b"\0" + row.astype(">u2").tobytes() for row in pixels]
    chunks = [
        b"IHDR" + struct.pack(">2I5B", width, height, 16, 4, 0, 0, 0),
        b"IDAT" + zlib.compress(b"".join(rows)),
        b"IEND",
    ]
    packed = [struct.pack(">I", len(x) - 4) + x + struct.pack(">I", zlib.crc32(x)) for x in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


def write_files(folder):
    """The same picture, in grey and in colours, in ranges that formats do not define."""
    grey = ramp()
    colors = np.dstack([grey, grey[::-1], grey[:, ::-1]])
    of_12_bits = [np.rint(x / 255 * 4095).astype(np.uint16) for x in (grey, colors)]
    for suffix in ("png", "tif", "ppm"):
        if suffix != "ppm":
            Image.fromarray(of_12_bits[0]).save(folder / f"grey.{suffix}")
        assert cv2.imwrite(str(folder / f"color.{suffix}"), of_12_bits[1][:, :, ::-1])
    lossless = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]
    assert cv2.imwrite(str(folder / "color.jp2"), of_12_bits[1][:, :, ::-1], lossless)
    Image.fromarray(grey.astype(np.float32) / 255).save(folder / "grey_float.tif")
    assert cv2.imwrite(str(folder / "color_float.tif"), colors[:, :, ::-1].astype("f") / 255)
    alpha = np.dstack([of_12_bits[1], np.full(grey.shape, 4095, np.uint16)])[:, :, [2, 1, 0, 3]]
    assert cv2.imwrite(str(folder / "color_alpha.png"), alpha)
    write_grey_alpha(folder / "grey_alpha.png", np.dstack([of_12_bits[0], alpha[:, :, 3]]))
    return np.repeat(grey[:, :, None], 3, axis=2), colors


def test_files_of_more_than_8_bits_are_read_as_meant(tmp_path):
    grey, colors = write_files(tmp_path)
    for path in tmp_path.iterdir():
        expected = grey if path.name.startswith("grey") else colors
        np.testing.assert_array_equal(read_image(path), expected, err_msg=path.name)


def test_it_is_said_once(tmp_path, caplog, monkeypatch):
    write_files(tmp_path)
    monkeypatch.setattr(image_io, "_said", False)
    with caplog.at_level(logging.WARNING, logger="srn_d2"):
        for path in sorted(tmp_path.iterdir()):
            read_image(path)
    [record] = caplog.records
    assert "color.jp2 has values of 0 to 4095" in record.getMessage()


def test_an_unknown_tiff_counts_its_pixels_first(tmp_path):
    path = tmp_path / "a.tif"
    assert cv2.imwrite(str(path), np.zeros((40, 60, 3), np.float32))
    with pytest.raises(image_io.TooManyPixelsError, match="60 x 40"):
        read_image(path, max_pixels=2399)
    assert read_image(path, max_pixels=2400).shape == (40, 60, 3)
