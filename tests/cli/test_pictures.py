"""Pictures of the command: all frames, transparency, colours; faces recorded whatever happens."""

import os

import numpy as np
import pytest
from PIL import Image

from helpers.blob_image_detector import BlobImageDetector
from helpers.icc_profiles import in_srgb, rgb_profile
from srn_d2.cli import pictures
from srn_d2.cli.anonymize import pixelate
from srn_d2.cli.journal import Result
from srn_d2.cli.output_errors import OutputFolderError
from srn_d2.cli.pictures import process_picture
from srn_d2.cli.progress import Reporter
from srn_d2.cli.rendering import draw_faces
from srn_d2.cli.sources import find_sources
from srn_d2.data.image_errors import CorruptImageError, UnreadFormatError
from srn_d2.data.image_frames import ImageFrames

DURATIONS = [100, 250, 70]
LEFTS = (8, 30, 50)  # of the rectangle in each frame


def picture(left, mode="RGB", size=(80, 60)):
    """A rectangle of 20 x 24 pixels with a pattern in it, on black."""
    pixels = np.zeros((*size[::-1], 3), np.uint8)
    pattern = np.where(np.indices((24, 20)).sum(axis=0) % 4 < 2, 250, 140)
    pixels[10:34, left : left + 20] = pattern[..., None]
    return Image.fromarray(pixels).convert(mode)


def hide(image, faces):
    return pixelate(image, faces.boxes)


@pytest.fixture
def run(tmp_path):
    """Process one file: its record, with ``out`` for the output folder."""

    def process(path, render=hide, max_pixels=1_000_000):
        [source] = find_sources([str(path)], tmp_path / "out")
        detector = BlobImageDetector(max_pixels)
        return process_picture(detector, source, tmp_path / "out", render).record

    return process


def read_frames(path):
    with ImageFrames(path.read_bytes(), str(path)) as frames:
        return frames, list(frames)


def boxes_of(record, frame):
    faces = [face for face in record["faces"] if face["frame"] == frame]
    return [[round(value) for value in face["bbox"]] for face in faces]


def save_frames(path, mode="RGB", **options):
    first, *others = [picture(left, mode) for left in LEFTS]
    first.save(path, save_all=True, append_images=others, **options)
    return path


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "avif"])
def test_animations_stay_animations(tmp_path, run, suffix):
    path = save_frames(tmp_path / f"a.{suffix}", duration=DURATIONS, loop=3, quality=95)
    record = run(path)
    assert "error" not in record
    assert [frame["duration"] for frame in record["frames"]] == [0.1, 0.25, 0.07]
    assert [frame["time"] for frame in record["frames"]] == [0, 0.1, 0.35]
    header, frames = read_frames(tmp_path / "out" / path.name)
    assert [frame.duration for frame in frames] == pytest.approx([0.1, 0.25, 0.07])
    assert header.loop == (None if suffix == "avif" else 3)
    for index, (left, frame) in enumerate(zip(LEFTS, frames, strict=True)):
        [[x1, y1, x2, y2]] = boxes_of(record, index)
        assert abs(x1 - left) <= 1
        original = np.asarray(picture(left))
        inside = np.s_[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2]
        assert frame.rgb[inside].std() < 0.5 * original[inside].std()  # hidden, in each frame
        outside = np.s_[40:]
        np.testing.assert_allclose(frame.rgb[outside], original[outside], atol=8)


@pytest.mark.parametrize("suffix", ["tif", "mpo"])
def test_pages_stay_pages(tmp_path, run, suffix):
    path = save_frames(tmp_path / f"a.{suffix}", quality=95)
    record = run(path)
    assert [boxes_of(record, index)[0][0] for index in range(3)] == pytest.approx(LEFTS, abs=1)
    assert record["frames"] == [{"height": 60, "width": 80}] * 3
    _, frames = read_frames(tmp_path / "out" / path.name)
    for left, frame in zip(LEFTS, frames, strict=True):
        original = np.asarray(picture(left))
        inside = np.s_[14:30, left + 4 : left + 16]
        assert frame.rgb[inside].std() < 0.5 * original[inside].std()


def test_several_pictures_in_a_heic_file(tmp_path, run):
    pytest.importorskip("pillow_heif").register_heif_opener()
    record = run(save_frames(tmp_path / "a.heic", quality=95))
    assert record["notes"]["written_as"].startswith("written as a.heic.tif")
    _, frames = read_frames(tmp_path / "out" / "a.heic.tif")
    assert len(frames) == 3


def test_a_plain_picture_has_no_frames(tmp_path, run):
    picture(8).save(tmp_path / "a.png")
    record = run(tmp_path / "a.png")
    assert record.keys() == {"file_name", "height", "width", "faces"}
    [face] = record["faces"]
    assert face.keys() == {"bbox", "score"}


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "avif", "tga"])
@pytest.mark.parametrize("render", [hide, draw_faces])
def test_transparency_stays(tmp_path, run, suffix, render):
    image = picture(30, "RGBA")
    opacity = np.full((60, 80), 255, np.uint8)
    opacity[:, :10], opacity[:, 10:20] = 0, 128
    image.putalpha(Image.fromarray(opacity))
    image.save(tmp_path / f"a.{suffix}", lossless=True, quality=95)
    record = run(tmp_path / f"a.{suffix}", render)
    [name] = os.listdir(tmp_path / "out")
    written = Image.open(tmp_path / "out" / name)
    assert written.mode == "RGBA"
    # Around the face a margin is hidden, or a frame drawn.
    np.testing.assert_allclose(np.asarray(written)[40:, :, 3], opacity[40:], atol=2)
    assert len(record["faces"]) == 1


def test_what_is_under_full_transparency_is_not_written(tmp_path, run):
    image = picture(30, "RGBA")
    image.putalpha(0)
    image.save(tmp_path / "a.png")
    assert run(tmp_path / "a.png")["faces"] == []
    assert not np.asarray(Image.open(tmp_path / "out" / "a.png")).any()


def test_hidden_faces_are_hidden_in_the_transparency_too(tmp_path, run):
    """A picture may be drawn by its opacity alone."""
    grey = np.asarray(picture(30, "L"))
    drawn = np.dstack([np.full((60, 80, 3), 255, np.uint8), grey])
    Image.fromarray(drawn).save(tmp_path / "a.png")
    assert len(run(tmp_path / "a.png")["faces"]) == 1
    inside = np.s_[14:30, 34:46]
    opacity = np.asarray(Image.open(tmp_path / "out" / "a.png"))[..., 3]
    assert opacity[inside].std() < 0.5 * grey[inside].std()


def test_colours_are_srgb_in_what_is_written(tmp_path, run):
    color = (90, 60, 20)  # too dark for a face
    Image.new("RGB", (40, 30), color).save(tmp_path / "a.png", icc_profile=rgb_profile())
    run(tmp_path / "a.png")
    written = Image.open(tmp_path / "out" / "a.png")
    assert "icc_profile" not in written.info
    np.testing.assert_allclose(np.asarray(written)[5, 5], in_srgb(color), atol=2)


def test_data_of_12_bits_are_seen_and_said_once(tmp_path, run, caplog):
    reporter = Reporter()
    for name in ("a.png", "b.tif"):
        grey = np.asarray(picture(30, "L")).astype(np.uint16) * 16
        Image.fromarray(grey).save(tmp_path / name)
        [source] = find_sources([str(tmp_path / name)], tmp_path / "out")
        record = run(tmp_path / name)
        assert len(record["faces"]) == 1
        assert "0 to 4095" in record["notes"]["scaled"]
        with caplog.at_level("INFO", logger="srn_d2.cli"):
            reporter.report(Result.of(source, record))
    assert caplog.text.count("scaled to 0 to 255") == 1


def test_a_very_wide_picture(tmp_path, run):
    """JPEG ends at 65,500 pixels: the picture becomes a PNG."""
    image = Image.new("RGB", (70_000, 40))
    image.paste(picture(8), (69_000, 0))
    image.save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    record = run(tmp_path / "a.jpg", max_pixels=3_000_000)
    [face] = record["faces"]
    assert abs(face["bbox"][0] - 69_008) <= 1
    assert "a.jpg.png" in record["notes"]["written_as"]
    with Image.open(tmp_path / "out" / "a.jpg.png") as written:
        assert written.size == (70_000, 40)


def test_faces_are_recorded_although_the_picture_cannot_be_written(tmp_path, run, caplog):
    path = tmp_path / "a.jpg"
    picture(8, "RGBA").save(path, "PNG")
    for suffix in (".png", ".tif"):  # what would hold it is another input's
        picture(8).save(tmp_path / f"a.jpg{suffix}")
    sources = find_sources([str(tmp_path)], tmp_path / "out")
    source = next(source for source in sources if source.path == path)
    record = process_picture(BlobImageDetector(), source, tmp_path / "out", hide).record
    assert len(record["faces"]) == 1
    assert record["error"] == "the picture is not written: JPEG has no transparency"
    Reporter().report(Result.of(source, record, "not written"))
    assert "a.jpg failed: the picture is not written" in caplog.text


def test_an_encoder_that_fails_loses_no_faces(tmp_path, run, monkeypatch):
    picture(8).save(tmp_path / "a.png")
    monkeypatch.setitem(Image.SAVE, "PNG", lambda *_: 1 / 0)
    record = run(tmp_path / "a.png")
    assert len(record["faces"]) == 1
    assert "ZeroDivisionError" in record["error"]
    assert os.listdir(tmp_path / "out") == []


def test_a_file_with_an_impossible_name_loses_no_faces(tmp_path, run):
    name = "x" * 250 + ".ppm"
    picture(8).save(tmp_path / name)
    record = run(tmp_path / name)  # with .png added it is too long for the file system
    assert len(record["faces"]) == 1
    assert "name too long" in record["error"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full here")
def test_a_full_disk_stops(tmp_path, run, monkeypatch):
    picture(8).save(tmp_path / "a.png")
    (tmp_path / "out").mkdir()
    monkeypatch.setattr("srn_d2.atomic_file.secrets.token_hex", lambda number: "4711")
    os.symlink("/dev/full", tmp_path / "out" / ".a.4711.partial.png")
    with pytest.raises(OutputFolderError, match=r"Nothing more can be written to .*out: No space"):
        run(tmp_path / "a.png")
    assert os.listdir(tmp_path / "out") == []


def test_what_was_read_before_the_damage_is_recorded(tmp_path, run):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    pages = [picture(8), Image.fromarray(noise)]
    path = tmp_path / "a.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_adobe_deflate")
    encoded = bytearray(path.read_bytes())
    middle = len(encoded) // 2
    encoded[middle : middle + 500] = bytes(500)
    path.write_bytes(encoded)
    record = run(path)
    assert boxes_of(record, 0)
    assert "frame 2" in record["error"]
    assert not (tmp_path / "out").exists()
    path.write_bytes(encoded[:40])
    with pytest.raises(CorruptImageError):
        run(path)


def test_more_frames_than_memory_is_for_are_recorded_only(tmp_path, run, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_WRITTEN_FACTOR", 2)
    path = save_frames(tmp_path / "a.gif", duration=DURATIONS)
    record = run(path, max_pixels=80 * 60)
    assert [len(boxes_of(record, index)) for index in range(3)] == [1, 1, 1]
    assert "3 frames" in record["error"]


def test_what_is_not_read_is_an_error_by_its_name(tmp_path, run):
    picture(8).save(tmp_path / "a.nef", "TIFF")
    with pytest.raises(UnreadFormatError, match="raw"):
        run(tmp_path / "a.nef")
