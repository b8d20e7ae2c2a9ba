"""TIFF files of every layout of their samples are read as meant, or refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from helpers.tiff_files import CIELAB, MIN_IS_BLACK, MIN_IS_WHITE, RGB, SEPARATED, encode_tiff
from srn_d2.data.image_errors import CorruptImageError, UnreadFormatError
from srn_d2.data.image_frames import ImageFrames
from srn_d2.data.image_io import read_image

HEIGHT, WIDTH = 19, 31
TOP = {"u1": 2**8 - 1, "u2": 2**16 - 1, "i2": 2**15 - 1, "u4": 2**32 - 1, "f4": 1.0, "f8": 1.0}


def picture(channels=3):
    """Ramps from 0 to 255, another one in each channel."""
    x, y = np.linspace(0, 255, WIDTH), np.linspace(0, 255, HEIGHT)[:, None]
    ramps = [np.broadcast_to(x, (HEIGHT, WIDTH)), 0.7 * y + 0.3 * x, 255 - (0.4 * y + 0.6 * x)]
    return np.dstack(ramps[:channels]).round()


def encode(pixels, dtype, photometric, **layout):
    samples = pixels / 255 * TOP[dtype]
    if photometric == MIN_IS_WHITE:
        samples = TOP[dtype] - samples
    if dtype[0] != "f":
        samples = samples.round()
    return encode_tiff(samples.astype(dtype), photometric, **layout)


def read(encoded):
    [frame] = ImageFrames(encoded, "a.tif")
    return frame


@given(
    dtype=st.sampled_from(sorted(TOP)),
    kind=st.sampled_from([(MIN_IS_BLACK, 1), (MIN_IS_WHITE, 1), (RGB, 3)]),
    planar=st.booleans(),
    order=st.sampled_from("<>"),
    compressed=st.booleans(),
    rows=st.sampled_from([1, 7, 100]),
    orientation=st.sampled_from([None, 3, 8]),
)
def test_every_layout_shows_the_picture(dtype, kind, planar, order, compressed, rows, orientation):
    photometric, channels = kind
    layout = {"planar": planar, "order": order, "compressed": compressed}
    encoded = encode(
        picture(channels),
        dtype,
        photometric,
        rows_per_strip=rows,
        orientation=orientation,
        **layout,
    )
    try:
        found = read(encoded).rgb.astype(int)
    except UnreadFormatError:
        assert (dtype, kind, planar, compressed) == ("u1", (MIN_IS_WHITE, 1), True, False)
        return
    upright = np.rot90(picture(channels), {None: 0, 3: 2, 8: 1}[orientation])
    assert found.shape == (*upright.shape[:2], 3)
    assert np.abs(found - upright).max() <= 1


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("extra", [1, 2])
def test_planes_with_an_opacity(order, extra):
    opacity = np.linspace(255, 51, WIDTH)[None, :, None].repeat(HEIGHT, 0)
    colors = picture() * opacity / 255 if extra == 1 else picture()
    encoded = encode(np.dstack([colors, opacity]), "u2", RGB, planar=True, order=order, extra=extra)
    pixels = read(encoded).pixels.astype(int)
    assert np.abs(pixels[:, :, 3:] - opacity).max() <= 1
    assert np.abs(pixels[:, :, :3] - picture() * opacity / 255).max() <= 3


def test_planes_of_values_that_mean_nothing():
    encoded = encode(np.dstack([picture(), picture(1)]), "u2", RGB, planar=True, extra=0)
    assert np.abs(read(encoded).pixels.astype(int) - picture()).max() <= 1


@pytest.mark.parametrize(
    ("photometric", "dtype"), [(SEPARATED, "u2"), (CIELAB, "u1"), (CIELAB, "u2")]
)
def test_planes_that_nobody_reads_right_are_refused(tmp_path, photometric, dtype):
    pixels = np.dstack([picture(), picture(1)])[:, :, : 3 + (photometric == SEPARATED)]
    path = tmp_path / "a.tif"
    path.write_bytes(encode(pixels, dtype, photometric, planar=True))
    with pytest.raises(UnreadFormatError, match=r"a\.tif is not read: .*convert it"):
        read_image(path)


@given(planar=st.booleans(), compressed=st.booleans(), data=st.data())
def test_truncated_samples_are_errors(planar, compressed, data):
    encoded = encode(picture(), "u2", RGB, planar=planar, compressed=compressed, is_last=True)
    cut = data.draw(st.integers(1, len(encoded) // 3))
    with pytest.raises(CorruptImageError):
        read(encoded[:-cut])


def test_pages_of_other_layouts_are_each_read(tmp_path):
    """The second page is MINISWHITE of 16 bits: the first one's tags say nothing of it."""
    grey = picture(1).astype(np.uint8)[:, :, 0]
    pages = [Image.fromarray(grey.astype(np.uint16) * 257) for _ in range(2)]
    pages[1] = Image.fromarray(65535 - grey.astype(np.uint16) * 257)
    path = tmp_path / "a.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    encoded = bytearray(path.read_bytes())
    entry = b"\x06\x01\x03\x00\x01\x00\x00\x00\x01\x00"  # PhotometricInterpretation: 1
    last = encoded.rindex(entry)
    encoded[last + 8] = 0
    for frame in ImageFrames(bytes(encoded), "a.tif"):
        assert np.abs(frame.rgb[:, :, 0].astype(int) - grey).max() <= 1
