"""Videos that are written: what players show of them, and the files of faces."""

import json
import os
import re
from fractions import Fraction

import av
import numpy as np
import pytest

from helpers.video_files import (
    cut,
    find_red,
    moving_square,
    read_frames,
    turn,
    write_container,
    write_pictures,
    write_sizes,
    write_video,
)
from srn_d2.cli.video.errors import DamagedVideoError, VideoError
from srn_d2.cli.video.options import VideoOptions
from srn_d2.cli.video.planes import plane_arrays
from srn_d2.cli.video.process import process_video


def process(source, name="out.mp4", detector=find_red, **options):
    """The result, the times and the RGB frames of the video written, and the lines of faces."""
    output = source.parent / name
    options.setdefault("render", "pixelate")
    result = process_video(detector, source, output, VideoOptions(**options), show_progress=False)
    times, images = read_frames(output) if result.video else ([], [])
    lines = [json.loads(line) for line in result.lines.read_text().splitlines()]
    return result, times, images, lines


def probe(path):
    """What FFmpeg says of a file: its streams, and metadata that say more than the format."""
    with av.open(str(path)) as container:
        tags = dict(container.metadata)
        for key in ("major_brand", "minor_version", "compatible_brands"):
            tags.pop(key, None)
        codecs = [stream.codec_context.codec.canonical_name for stream in container.streams]
        return codecs, container.duration / av.time_base, tags, container.streams.video[0]


def red_areas(images):
    return [sum(box.width * box.height for box in faces) for faces in find_red(images)]


def packets(path, kind):
    with av.open(str(path)) as container:
        stream = container.streams.get({kind: 0})[0]
        return [(float(x.pts * x.time_base), bytes(x)) for x in container.demux(stream) if x.size]


def test_variable_rate_stays_frame_by_frame(tmp_path):
    stamps = [0, 40, 50, 700, 710, 711, 1500, 3600]
    source = write_video(
        tmp_path / "a.mkv", moving_square(8), "mpeg4", stamps=stamps, time_base=Fraction(1, 1000)
    )
    _, times, _, lines = process(source)
    assert [round(1000 * time) for time in times] == stamps
    assert [round(1000 * line["time"]) for line in lines] == stamps
    assert probe(tmp_path / "out.mp4")[1] == pytest.approx(probe(source)[1], abs=0.002)
    assert probe(source)[1] == pytest.approx(3.64)


def test_sound_is_copied_packet_by_packet_or_dropped(tmp_path):
    source = write_video(tmp_path / "a.mp4", moving_square(25, step=2), "libx264", sound="aac")
    process(source)
    assert probe(tmp_path / "out.mp4")[0] == ["h264", "aac"]
    for (time, data), (new_time, new_data) in zip(
        packets(source, "audio"), packets(tmp_path / "out.mp4", "audio"), strict=True
    ):
        assert new_time == pytest.approx(time, abs=0.001)
        assert new_data == data
    process(source, keep_sound=False)
    assert probe(tmp_path / "out.mp4")[0] == ["h264"]
    process(source, max_frames=5)
    assert 0.15 < packets(tmp_path / "out.mp4", "audio")[-1][0] < 0.2


@pytest.mark.parametrize(("suffix", "codec"), [("avi", "pcm_s16le"), ("mkv", "pcm_s16le")])
def test_sound_that_browsers_do_not_play_becomes_aac(tmp_path, suffix, codec):
    source = write_video(tmp_path / f"a.{suffix}", moving_square(25, step=2), "mpeg4", sound=codec)
    result, *_ = process(source)
    codecs, duration, *_ = probe(tmp_path / "out.mp4")
    assert codecs == ["h264", "aac"]
    assert duration == pytest.approx(1, abs=0.1)
    assert result.notes == [f"sound of the codec {codec} became aac"]
    samples = []
    with av.open(str(tmp_path / "out.mp4")) as container:
        samples = np.concatenate([x.to_ndarray()[0] for x in container.decode(audio=0)])
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * 44100 / len(samples) == pytest.approx(440, abs=5)


TURNS = [(1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, -1, 0), (0, -1, 1, 0), (0, 1, 1, 0)]


@pytest.mark.parametrize("matrix", TURNS)
def test_turned_and_mirrored_videos_are_written_upright(tmp_path, matrix):
    a, b, c, d = matrix
    source = write_video(tmp_path / "a.mp4", moving_square(2), "libx264")
    [stored, _] = find_red(moving_square(2))
    corners = stored.boxes.reshape(2, 2) @ np.array([[a, b], [c, d]])
    size = np.array([320, 240]) @ np.array([[a, b], [c, d]])
    corners -= np.minimum(size, 0)
    shown = [*corners.min(axis=0), *corners.max(axis=0)]
    _, _, images, lines = process(turn(source, matrix), render="draw")
    with av.open(str(tmp_path / "out.mp4")) as container:
        picture = next(container.decode(video=0))
        assert "DISPLAYMATRIX" not in [x.type.name for x in picture.side_data]
    height, width = images[0].shape[:2]
    assert (width, height) == tuple(np.abs(size))
    assert (lines[0]["width"], lines[0]["height"]) == (width, height)
    assert np.abs(np.array(lines[0]["faces"][0]["bbox"]) - shown).max() <= 2
    assert np.abs(find_red(images[:1])[0].boxes[0] - shown).max() <= 4  # a green frame inside


def test_pixels_that_are_not_square(tmp_path):
    """The square is 48 wide and high as stored, and shown twice as wide."""
    seen = []

    def detector(images):
        seen.extend(image.shape for image in images)
        return find_red(images)

    source = write_video(
        tmp_path / "a.mp4", moving_square(2), "libx264", sample_aspect_ratio=Fraction(2)
    )
    _, _, images, lines = process(source, detector=detector)
    assert seen == [(240, 640, 3)] * 2
    assert images[0].shape == (240, 320, 3)
    assert probe(tmp_path / "out.mp4")[3].sample_aspect_ratio == 2
    assert lines[0]["width"] == 320
    assert np.abs(np.array(lines[0]["faces"][0]["bbox"]) - [20, 40, 68, 88]).max() <= 2
    seen.clear()
    process(turn(source, (0, 1, -1, 0)), detector=detector)
    assert seen == [(640, 240, 3)] * 2
    stream = probe(tmp_path / "out.mp4")[3]
    assert (stream.width, stream.height, stream.sample_aspect_ratio) == (240, 320, Fraction(1, 2))


def test_ten_bits_and_hlg_are_kept(tmp_path):
    colors = {"colorspace": 9, "color_trc": 18, "color_primaries": 9, "color_range": 1}
    source = write_video(tmp_path / "a.mkv", moving_square(3), "ffv1", "yuv420p10le", **colors)
    seen = []

    def detector(images):
        seen.extend(images)
        return find_red(images)

    process(source, detector=detector)
    codecs, _, _, stream = probe(tmp_path / "out.mp4")
    assert (codecs, stream.pix_fmt) == (["av1"], "yuv420p10le")
    for name, value in colors.items():
        assert getattr(stream.codec_context, name) == value
    with av.open(str(source)) as old, av.open(str(tmp_path / "out.mp4")) as new:
        for before, after in zip(old.decode(video=0), new.decode(video=0), strict=True):
            below = [next(plane_arrays(x))[120:].mean() for x in (before, after)]
            assert abs(below[0] - below[1]) < 4  # of 1023
    # The detector gets the brightness of BT.709: HLG's signal of this grey is darker than that.
    assert seen[0].dtype == np.uint8
    assert seen[0][120:].mean() > 120 > 110 > read_frames(source)[1][0][120:].mean()


def test_h264_has_eight_bits_for_browsers(tmp_path):
    source = write_video(tmp_path / "a.mkv", moving_square(3), "ffv1", "yuv420p10le")
    process(source, codec="h264")
    stream = probe(tmp_path / "out.mp4")[3]
    assert stream.pix_fmt == "yuv420p"


def test_odd_sizes_lose_nothing(tmp_path):
    source = write_video(tmp_path / "a.mkv", moving_square(2, (241, 321)), "ffv1")
    result, _, images, lines = process(source)
    assert images[0].shape == (242, 322, 3)
    assert "321 x 241 pixels became 322 x 242" in result.notes[0]
    assert (lines[0]["width"], lines[0]["height"]) == (321, 241)
    assert np.abs(images[0][:, 321].astype(int) - images[0][:, 320]).max() < 12
    for codec in ("vp9", "av1"):
        result, _, images, _ = process(source, codec=codec)
        assert images[0].shape == (241, 321, 3)
        assert result.notes == []


def test_a_stream_that_changes_its_size(tmp_path):
    source = write_sizes(tmp_path / "a.mkv", [(240, 320), (200, 120), (480, 640)])
    result, _, images, lines = process(source, render="draw")
    assert result.notes == ["the size changes; all frames are scaled to fit the first one's"]
    assert [(x["height"], x["width"]) for x in lines[::2]] == [(240, 320), (200, 120), (480, 640)]
    for factor, line, image in zip((1, 240 / 200, 0.5), lines[::2], images[::2], strict=True):
        assert image.shape == (240, 320, 3)
        x1, y1, x2, y2 = line["faces"][0]["bbox"]
        assert abs(x2 - x1 - 48) <= 4
        assert abs(y2 - y1 - 48) <= 4
        [[face]] = find_red([image])
        assert face.width == pytest.approx(48 * factor, abs=6)
        assert face.height == pytest.approx(48 * factor, abs=6)
    assert images[2][:, :80].max() < 30  # black bars
    assert images[2][:, -80:].max() < 30


@pytest.mark.parametrize(
    ("codec", "expected"), [(None, "h264"), ("h264", "h264"), ("av1", "av1"), ("vp9", "vp9")]
)
def test_codecs_that_browsers_play_and_their_quality(tmp_path, codec, expected):
    source = write_video(tmp_path / "a.avi", moving_square(6), "mjpeg", "yuvj420p")
    sizes = []
    for crf in (15, None, 50):
        process(source, codec=codec, crf=crf)
        codecs, *_, stream = probe(tmp_path / "out.mp4")
        assert codecs == [expected]
        assert stream.pix_fmt in ("yuv420p", "yuvj420p")
        sizes.append((tmp_path / "out.mp4").stat().st_size)
    assert sizes[0] > sizes[1] > sizes[2]


def test_the_index_is_in_front_for_browsers(tmp_path):
    process(write_container(tmp_path / "a.avi", num_frames=3))
    content = (tmp_path / "out.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize(
    ("suffix", "encoder", "pix_fmt"),
    [
        ("mkv", "ffv1", "yuv422p10le"),
        ("webm", "libvpx", "yuv420p"),
        ("mp4", "libx265", "yuv420p"),
        ("mov", "prores_ks", "yuv422p10le"),
        ("mkv", "mjpeg", "yuvj422p"),
        ("mp4", "mpeg4", "yuv420p"),
    ],
)
def test_the_codec_of_the_source_can_be_kept(tmp_path, suffix, encoder, pix_fmt):
    options = {"threads": "1"} if encoder == "libvpx" else {}
    source = write_video(
        tmp_path / f"a.{suffix}", moving_square(3), encoder, pix_fmt, options=options
    )
    _, times, images, _ = process(source, f"out.{suffix}", copy_codec=True)
    old, new = probe(source), probe(tmp_path / f"out.{suffix}")
    assert new[0] == old[0]
    assert new[3].pix_fmt.replace("yuvj", "yuv") == pix_fmt.replace("yuvj", "yuv")
    assert len(times) == 3
    hidden, shown = red_areas(images[1:2])[0], red_areas(read_frames(source)[1][1:2])[0]
    assert hidden > shown  # red is spread over the margin


def test_metadata_are_left_out_unless_wanted(tmp_path):
    metadata = {"title": "Anna's birthday", "location": "+48.1173+011.5167/"}
    source = write_video(tmp_path / "a.mp4", moving_square(2), "libx264", metadata=metadata)
    process(source)
    assert probe(tmp_path / "out.mp4")[2] == {}
    for secret in (b"Anna", b"loci"):  # the box of the location
        assert secret in source.read_bytes()
        assert secret not in (tmp_path / "out.mp4").read_bytes()
    process(source, keep_metadata=True)
    assert probe(tmp_path / "out.mp4")[2]["title"] == metadata["title"]


@pytest.mark.parametrize("render", ["blur", "pixelate"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_faces_are_hidden_and_nothing_else_is_changed(tmp_path, render, pix_fmt):
    images = moving_square(2)
    images[0][40:88, 20:68] = np.kron(  # a face with details, found by its red pixels
        np.random.default_rng(0).integers(0, 2, (12, 12, 1)), np.ones((4, 4, 1))
    ) * np.array([220, 20, 20])
    images[0][40, 20:68] = images[0][87, 20:68] = images[0][40:88, 20] = images[0][40:88, 67] = (
        220,
        20,
        20,
    )
    source = write_video(tmp_path / "a.mkv", images, "ffv1", pix_fmt)
    _, _, hidden, lines = process(source, "out.mkv", render=render, copy_codec=True)
    x1, y1, x2, y2 = np.round(lines[0]["faces"][0]["bbox"]).astype(int)
    before, after = read_frames(source)[1][0].astype(int), hidden[0].astype(int)
    assert after[y1:y2, x1:x2].std() < 0.75 * before[y1:y2, x1:x2].std()
    far = np.ones(before.shape[:2], bool)
    far[y1 - 9 : y2 + 9, x1 - 9 : x2 + 9] = False
    assert np.array_equal(before[far], after[far])  # FFV1 is lossless


def test_no_face_blinks_through(tmp_path):
    """The frame of the issue: hidden in all frames, though frame 6 has no detection."""
    frames = moving_square(12)
    source = write_video(tmp_path / "a.mp4", frames, "libx264")
    calls = []

    def detector(images):
        calls.extend(images)
        return find_red([np.zeros_like(images[0])]) if len(calls) == 6 else find_red(images)

    result, _, images, lines = process(source, detector=detector)
    assert result.num_faces == 11
    [gap] = json.loads(result.gaps_file.read_text())
    assert gap["frames"] == [5, 5]
    assert gap["hidden"]
    assert len(lines[5]["filled"]) == 1
    assert lines[5]["faces"] == []
    assert [index for index, line in enumerate(lines) if "filled" in line] == [5]
    for index, image in enumerate(images):  # the hidden area is as large as in other frames
        left = 20 + 6 * index
        edge = np.abs(np.diff(image[60, left - 6 : left + 6].astype(int), axis=0)).max()
        assert edge < 130  # 230 to 110 at the square's edge if it is shown
    calls.clear()
    result, _, shown, _ = process(source, detector=detector, fill_gaps=0)
    assert not np.array_equal(shown[5][40:88, 50:98], images[5][40:88, 50:98])
    assert find_red(shown[5:6])[0].boxes[0].tolist() == pytest.approx([50, 40, 98, 88], abs=3)
    [gap] = result.gaps
    assert not gap.is_filled


def test_neighbours_and_margin(tmp_path):
    source = write_video(tmp_path / "a.mkv", moving_square(9, step=0), "ffv1")
    calls = iter(range(100))

    def detector(images):
        return find_red([x if next(calls) % 9 == 4 else np.zeros_like(x) for x in images])

    original = read_frames(source)[1]
    for neighbours in (0, 2):
        _, _, images, _ = process(
            source, "out.mkv", detector, hide_neighbours=neighbours, copy_codec=True, margin=0.5
        )
        changed = [
            index for index in range(9) if not np.array_equal(images[index], original[index])
        ]
        assert changed == list(range(4 - neighbours, 5 + neighbours))
    rows, columns = np.nonzero((images[4] != original[4]).any(axis=2))
    assert (columns.min(), columns.max()) == pytest.approx((0, 92), abs=5)
    assert (rows.min(), rows.max()) == pytest.approx((16, 112), abs=5)


def test_at_a_change_of_size_the_same_place_is_hidden(tmp_path):
    """A square at rest that is missed in the frames around the change."""
    small, large = moving_square(4, step=0), moving_square(4, step=0)
    large = [image.repeat(2, axis=0).repeat(2, axis=1) for image in large]
    source = write_pictures(tmp_path / "a.mkv", small + large)
    calls = iter(range(100))

    def detector(images):
        return find_red([np.zeros_like(x) if next(calls) in (3, 4) else x for x in images])

    result, _, images, lines = process(source, detector=detector, hide_neighbours=2, margin=0)
    [gap] = json.loads(result.gaps_file.read_text())
    assert (gap["kind"], gap["frames"], gap["hidden"]) == ("missed", [3, 4], True)
    for line, factor in zip(lines[3:5], (1, 2), strict=True):
        place = np.array([20, 40, 68, 88]) * factor
        assert np.abs(np.array(line["filled"][0]) - place).max() <= 4
    plain = process(source, "plain.mp4", detector=lambda x: find_red(np.zeros_like(x)))[2]
    far = np.ones(plain[0].shape[:2], dtype=bool)
    far[28:100, 8:80] = False
    for image, original in zip(images, plain, strict=True):
        assert np.abs(image[far].astype(int) - original[far]).max() < 60  # of the codec alone
        assert find_red([image])[0].boxes[0].tolist() == pytest.approx([20, 40, 68, 88], abs=6)


def test_of_a_damaged_video_everything_else_is_written(tmp_path):
    source = cut(write_container(tmp_path / "a.mkv"), 0.5)
    with pytest.raises(DamagedVideoError, match=r"a\.mkv: it ends at .* truncated") as caught:
        process(source)
    result = caught.value.result
    assert result.num_frames == len(read_frames(result.video)[0]) > 10
    assert len(result.lines.read_text().splitlines()) == result.num_frames


@pytest.mark.parametrize("seconds", [0, 60])
def test_the_log_has_a_video_s_progress_now_and_then(tmp_path, monkeypatch, caplog, seconds):
    monkeypatch.setattr("srn_d2.cli.progress.SECONDS_PER_LINE", seconds)
    source = write_container(tmp_path / "a.mkv", num_frames=5)
    with caplog.at_level("INFO", logger="srn_d2.cli"):
        process_video(find_red, source, tmp_path / "out.mp4", VideoOptions())
    lines = [text for text in caplog.messages if text.startswith("a.mkv: ")]
    assert len(lines) == (0 if seconds else 5)
    assert seconds or re.fullmatch(r"a\.mkv: 2 of 5 frames, [0-9.]+ a second, 00:0. left", lines[1])


@pytest.mark.parametrize("length", [250, 249, 245])
@pytest.mark.parametrize("render", [None, "draw", "pixelate"])
def test_a_name_that_is_too_long_is_told_before_the_work(tmp_path, length, render):
    """File systems take 255 bytes, of which .jsonl needs 6 and .gaps.json 10."""
    if os.pathconf(tmp_path, "PC_NAME_MAX") != 255:
        pytest.skip("another limit here")
    source = write_container(tmp_path / ("x" * (length - 4) + ".mkv"), num_frames=2)
    calls = []

    def detector(images):
        calls.append(images)
        return find_red(images)

    longest = length + (10 if render == "pixelate" else 6)
    if longest <= 255:
        process(source, f"out/{source.name}", detector, render=render, copy_codec=True)
        assert len(os.listdir(tmp_path / "out")) == (1 if render is None else 2)
        return
    with pytest.raises(VideoError, match=rf"/x+\.mkv: .* name of {longest} bytes, .* takes 255"):
        process(source, f"out/{source.name}", detector, render=render, copy_codec=True)
    assert not calls
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_of_a_video_that_fails(tmp_path):
    source = write_container(tmp_path / "a.mkv", num_frames=30)
    before = set(tmp_path.iterdir())

    def fail(images):
        raise MemoryError("none left")

    with pytest.raises(MemoryError):
        process(source, detector=fail)
    assert set(tmp_path.iterdir()) == before
    with pytest.raises(VideoError, match=r"out\.mp4|ffv1"):
        process(write_video(tmp_path / "b.mkv", moving_square(2)), "out.webm", copy_codec=True)
    assert not (tmp_path / "out.webm").exists()


def test_batches_give_the_same_as_single_frames(tmp_path):
    source = write_sizes(tmp_path / "a.mkv", [(240, 320), (200, 120), (240, 320)], 3)
    sizes = []

    def detector(images):
        sizes.append(len(images))
        assert len({image.shape for image in images}) == 1
        return find_red(images)

    single = process(source, detector=detector)[3]
    assert set(sizes) == {1}
    sizes.clear()
    assert process(source, detector=detector, batch_size=2)[3] == single
    assert sizes == [2, 1, 2, 1, 2, 1]


def test_without_a_video_only_faces_are_written(tmp_path):
    source = write_container(tmp_path / "a.mkv", num_frames=3)
    result, *_ = process(source, render=None)
    assert result.video is None
    assert not (tmp_path / "out.mp4").exists()
    assert len(result.lines.read_text().splitlines()) == 3
