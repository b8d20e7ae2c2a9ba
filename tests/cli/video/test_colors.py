"""Colours of videos whose pixels are RGB, as players show them."""

import av
import numpy as np
import pytest

from helpers.video_files import find_red, write_video
from srn_d2.cli.video.options import VideoOptions
from srn_d2.cli.video.process import process_video

# The matrices of BT.709 and BT.601 by FFmpeg's numbers: parts of red and blue in the brightness.
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114)}
LIMITED = 1
COLORS = [(200, 30, 40), (20, 160, 60), (40, 50, 210), (255, 255, 255), (0, 0, 0)]
SOURCES = [
    ("mkv", "ffv1", "bgr0"),
    ("mkv", "ffv1", "gbrp10le"),
    ("mkv", "ffv1", "rgb48le"),
    ("avi", "rawvideo", "bgr24"),
    ("mov", "png", "rgb24"),
    ("mov", "png", "rgba"),
    ("mov", "qtrle", "argb"),
]


def write_colors(path, size, encoder, pix_fmt):
    return write_video(path, [np.full((*size, 3), c, np.uint8) for c in COLORS], encoder, pix_fmt)


def decode(picture):
    """RGB of the middle of a 4:2:0 frame, by its tags as the standards say."""
    planes = [np.frombuffer(x, np.uint8).reshape(-1, x.line_size) for x in picture.planes]
    middle = [x[picture.height // 4, picture.width // 4] for x in planes]
    y, u, v = (np.array(middle, float) - (16, 128, 128)) / (219, 224, 224)
    red, blue = WEIGHTS[picture.colorspace]
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    return 255 * np.array([r, (y - red * r - blue * b) / (1 - red - blue), b])


@pytest.mark.parametrize(("suffix", "encoder", "pix_fmt"), SOURCES)
@pytest.mark.parametrize(("size", "matrix"), [((720, 64), 1), ((120, 160), 5)])
def test_rgb_becomes_yuv_by_the_matrix_of_its_tag(tmp_path, suffix, encoder, pix_fmt, size, matrix):
    source = write_colors(tmp_path / f"a.{suffix}", size, encoder, pix_fmt)
    output = tmp_path / "out.mp4"
    options = VideoOptions(render="pixelate", codec="h264")
    process_video(find_red, source, output, options, show_progress=False)
    with av.open(str(output)) as container:
        pictures = list(container.decode(video=0))
    assert len(pictures) == len(COLORS)
    for picture, color in zip(pictures, COLORS, strict=True):
        assert picture.format.name == "yuv420p"
        assert (picture.colorspace, picture.color_range) == (matrix, LIMITED)
        assert np.abs(decode(picture) - color).max() < 4


@pytest.mark.parametrize(("suffix", "encoder", "pix_fmt"), SOURCES)
def test_rgb_stays_as_it_is_in_the_codec_of_the_source(tmp_path, suffix, encoder, pix_fmt):
    source = write_colors(tmp_path / f"a.{suffix}", (120, 160), encoder, pix_fmt)
    output = tmp_path / f"out.{suffix}"
    process_video(
        lambda images: find_red([np.zeros_like(x) for x in images]),
        source,
        output,
        VideoOptions(render="blur", copy_codec=True),
        show_progress=False,
    )
    with av.open(str(output)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.codec.canonical_name == encoder
        for picture, color in zip(container.decode(stream), COLORS, strict=True):
            assert picture.format.is_rgb
            assert np.abs(picture.to_ndarray(format="rgb24").astype(int) - color).max() <= 1


def test_boxes_are_drawn_in_rgb(tmp_path):
    source = write_colors(tmp_path / "a.mkv", (120, 160), "ffv1", "bgr0")
    output = tmp_path / "out.mkv"
    options = VideoOptions(render="draw", copy_codec=True)
    process_video(find_red, source, output, options, show_progress=False)
    with av.open(str(output)) as container:
        first = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert tuple(first[60, 80]) == COLORS[0]
    assert (first != COLORS[0]).any()
