"""All frames of animations and pages, with what belongs to them."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from srn_d2.data.image_errors import TooManyPixelsError, TruncatedImageError
from srn_d2.data.image_frames import ImageFrames

COLORS = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
SECONDS = [0.1, 0.25, 0.07]


def flat(color, size=(48, 32)):
    return Image.new("RGB", size, color)


def encode(images, file_format, **options):
    buffer = BytesIO()
    first, *others = images
    first.save(buffer, file_format, save_all=True, append_images=others, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "AVIF"])
def test_frames_and_durations_of_animations(file_format):
    durations = [round(1000 * seconds) for seconds in SECONDS]
    encoded = encode(map(flat, COLORS), file_format, duration=durations)
    with ImageFrames(encoded, "a") as frames:
        found = list(frames)
    assert frames.num_frames == 3
    assert [frame.duration for frame in found] == pytest.approx(SECONDS)
    for frame, color in zip(found, COLORS, strict=True):
        assert np.abs(frame.rgb[5, 5].astype(int) - color).max() <= 4


@pytest.mark.parametrize("file_format", ["TIFF", "MPO", "HEIF"])
def test_pages(file_format):
    if file_format == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    encoded = encode(map(flat, COLORS), file_format, quality=95)
    found = list(ImageFrames(encoded, "a"))
    assert [frame.duration for frame in found] == [None] * 3
    for frame, color in zip(found, COLORS, strict=True):
        assert np.abs(frame.rgb[5, 5].astype(int) - color).max() <= 8


def test_pages_of_their_own_sizes_and_modes():
    pages = [flat(COLORS[0]), flat(COLORS[1], (10, 20)).convert("RGBA"), Image.new("1", (7, 5), 1)]
    found = list(ImageFrames(encode(pages, "TIFF"), "a"))
    assert [frame.pixels.shape for frame in found] == [(32, 48, 3), (20, 10, 4), (5, 7, 3)]
    assert found[2].rgb.min() == 255


def test_a_default_image_is_no_part_of_its_animation():
    encoded = encode(map(flat, COLORS), "PNG", default_image=True, duration=[100, 200])
    frames = ImageFrames(encoded, "a")
    assert frames.is_first_apart
    assert [frame.duration for frame in frames] == pytest.approx([0, 0.1, 0.2])


def test_previews_and_gain_maps_are_left_out():
    with_preview = encode([flat(COLORS[0]), flat(COLORS[1], (12, 8)), flat(COLORS[2])], "MPO")
    frames = ImageFrames(with_preview, "a")
    assert (frames.num_frames, frames.num_left_out) == (2, 1)
    assert len(list(frames)) == 2
    xmp = b"<HDRGainMap:HDRGainMapVersion>65536</HDRGainMap:HDRGainMapVersion>"
    photograph = encode([flat(COLORS[0]), flat(COLORS[1])], "MPO", xmp=xmp)
    frames = ImageFrames(photograph, "a")
    assert (frames.num_frames, frames.num_left_out) == (1, 1)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "ICO"])
def test_a_plain_picture_has_one_frame(file_format):
    buffer = BytesIO()
    flat(COLORS[0]).save(buffer, file_format)
    [frame] = ImageFrames(buffer.getvalue(), "a")
    assert frame.duration is None
    assert np.shares_memory(frame.rgb, frame.pixels)


def test_transparency_is_premultiplied():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 4), dtype=np.uint8)
    pixels[0, :, 3], pixels[1, :, 3] = 0, 255
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    [frame] = ImageFrames(buffer.getvalue(), "a")
    np.testing.assert_array_equal(frame.pixels[..., 3], pixels[..., 3])
    np.testing.assert_array_equal(frame.rgb[1], pixels[1, :, :3])
    assert not frame.pixels[0].any()  # nothing is left of what cannot be seen


def test_damage_after_some_frames():
    noise = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    pages = [flat(COLORS[0]), Image.fromarray(noise)]
    encoded = bytearray(encode(pages, "TIFF", compression="tiff_adobe_deflate"))
    start = len(encoded) // 2
    encoded[start : start + 500] = bytes(500)
    frames = iter(ImageFrames(bytes(encoded), "a"))
    next(frames)
    with pytest.raises(TruncatedImageError, match="a, frame 2"):
        next(frames)


def test_each_frame_is_limited():
    pages = [flat(COLORS[0]), flat(COLORS[1], (100, 100))]
    frames = iter(ImageFrames(encode(pages, "TIFF"), "a", max_pixels=2000))
    next(frames)
    with pytest.raises(TooManyPixelsError, match="frame 2"):
        next(frames)
