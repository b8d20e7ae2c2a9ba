"""Which formats are read, by suffix and by content."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srn_d2.data import image_formats
from srn_d2.data.image_formats import has_picture_suffix, is_heif, picture_suffixes, recognise
from srn_d2.data.image_io import EXIF_ORIENTATION, UnreadFormatError, read_image

WRITTEN = {
    suffix: name
    for suffix, name in Image.registered_extensions().items()
    if suffix in picture_suffixes() and name in Image.SAVE
}
# Formats that Pillow writes as something else, or of other sizes only.
WRITTEN = {suffix: name for suffix, name in WRITTEN.items() if name not in ("PDF", "PALM", "HEIF")}
MODES = {"XBM": "1", "MSP": "1", "BLP": "P", ".pfm": "F", ".bw": "L"}


@pytest.mark.filterwarnings("ignore:IM image format")
@pytest.mark.parametrize("suffix", sorted(WRITTEN))
def test_all_that_pillow_writes_and_reads(tmp_path, suffix):
    name = WRITTEN[suffix]
    image = Image.new("RGB", (64, 48), (200, 100, 50))
    image = image.convert(MODES.get(suffix, MODES.get(name, "RGB")))
    path = tmp_path / f"a{suffix}"
    image.save(path, format=name)
    assert has_picture_suffix(path)
    height, width, _ = read_image(path).shape
    assert name in ("ICO", "ICNS") or (height, width) == (48, 64)  # icons are of certain sizes


def test_what_pillow_cannot_read_is_not_claimed():
    assert picture_suffixes().isdisjoint({".eps", ".ps", ".wmf", ".h5", ".grib", ".mpg", ".pdf"})
    assert picture_suffixes() >= {".jpg", ".jfif", ".gif", ".avif", ".heic", ".jpe", ".jp2", ".mpo"}


def test_heic(tmp_path):
    pytest.importorskip("pillow_heif").register_heif_opener()
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, :32] = (200, 30, 30)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    for name, options in (("a.heic", {}), ("a.jpg", {}), ("turned.heic", {"exif": exif.tobytes()})):
        Image.fromarray(pixels).save(tmp_path / name, "HEIF", quality=95, **options)
    for name in ("a.heic", "a.jpg"):
        assert np.abs(read_image(tmp_path / name).astype(int) - pixels).mean() < 3
    turned = read_image(tmp_path / "turned.heic")
    assert np.abs(turned.astype(int) - np.rot90(pixels, -1)).mean() < 3


HEIC_START = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(40)
AVIF_START = b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf" + bytes(40)


def test_heic_without_pillow_heif_names_the_extra(tmp_path, monkeypatch):
    def refuse():
        raise image_formats.MissingHeifError("HEIC needs pillow-heif: pip install 'srn_d2[heif]'")

    monkeypatch.setattr("srn_d2.data.image_io.register_heif", refuse)
    (tmp_path / "a.heic").write_bytes(HEIC_START)
    with pytest.raises(UnreadFormatError, match=r"a\.heic.*srn_d2\[heif\]"):
        read_image(tmp_path / "a.heic")


def test_heic_is_told_from_avif():
    assert is_heif(HEIC_START)
    assert not is_heif(AVIF_START)
    assert recognise(AVIF_START) == "AVIF"


@pytest.mark.parametrize("name", ["a.nef", "a.DNG", "a.cr2"])
def test_raw_files_are_not_read_as_their_thumbnails(tmp_path, name):
    Image.new("RGB", (16, 12)).save(tmp_path / name, "TIFF")
    with pytest.raises(UnreadFormatError, match=f"{name} is not read: it is a camera"):
        read_image(tmp_path / name)


def test_a_suffix_does_not_matter_if_the_bytes_are_known(tmp_path):
    Image.new("RGB", (16, 12)).save(tmp_path / "a.nef", "JPEG")
    assert read_image(tmp_path / "a.nef").shape == (12, 16, 3)
    (tmp_path / "a.jpg").write_bytes(b"\xff\x0a" + bytes(100))
    with pytest.raises(UnreadFormatError, match="JPEG XL"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.fit", "a.rgb", "a.bw"])
def test_suffixes_with_several_meanings(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x0e\x10 the track of a run" + bytes(100))
    assert not has_picture_suffix(tmp_path / name)


@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
@pytest.mark.parametrize(
    "file_format",
    ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "JPEG2000", "BMP", "PPM", "ICO"],
)
def test_recognised_by_content(file_format, mode):
    buffer = BytesIO()
    Image.new("RGB", (16, 12)).convert(mode if file_format in ("BMP", "PPM") else "RGB").save(
        buffer, file_format
    )
    assert recognise(buffer.getvalue()[:64]) == file_format


@pytest.mark.parametrize(
    "content",
    [
        b"P6\n# by an editor\r\n#\n 16\t12\n65535\n" + bytes(40),
        b"P3\r\n2 1\n255\n1 2 3  4 5 6\n# the end",
        b"P1\n4 1\n0110",
        b"BM" + bytes(8) + b"\x1a\0\0\0\x0c\0\0\0\x10\0\x0c\0\1\0\x18\0" + bytes(40),  # OS/2
    ],
)
def test_headers_of_other_programs(content):
    assert recognise(content) in ("BMP", "PPM")


@pytest.mark.parametrize(
    "start",
    [
        *(b"", b"BM", b"P6\n", b'{"bbox": [', b"%PDF-1.7", b"ID3\4"),
        b"BM 17, Oxford Road: minutes of the meeting of 12 May, present were",
        b"P1\n10 20\nis the first point of the survey",
        b"P3\n1 2 3\nis the third one",
        *(b"P5 10 20 30\n", b"P6\n10 20", b"P6\n0 20 255\n", b"P7\nWIDTH 3\n"),
        *(b"\0\0\1\0", b"\0\0\1\0\1\0\x10\x10\0\7\1\0\x20\0"),
    ],
)
def test_other_files_are_not_recognised(start):
    assert recognise(start.ljust(64, b"\0")) is None
    assert not has_picture_suffix(Path("a.txt"))
