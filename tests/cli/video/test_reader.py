"""Videos as they are read: frames, times, truncation and damage."""

import re
import shutil
from fractions import Fraction

import av
import numpy as np
import pytest

from helpers.video_files import cut, moving_square, sine_packets, write_container, write_video
from srn_d2.cli.file_search import classify
from srn_d2.cli.video.errors import VideoError
from srn_d2.cli.video.frame import Frame
from srn_d2.cli.video.reader import VideoReader

# Colours far apart, so that compression cannot confuse them; red and blue tell RGB from BGR.
COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)]


def read_all(path):
    """The frames, and the reader after the last one."""
    reader = VideoReader(path)
    frames = [item for item in reader if isinstance(item, Frame)]
    reader.close()
    return frames, reader


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv420p10le", "bgr0", "gbrp10le"])
def test_frames_come_in_order_with_colours_and_times(tmp_path, pix_fmt):
    images = [np.full((64, 96, 3), color, np.uint8) for color in COLORS]
    path = write_video(tmp_path / "clip.mkv", images, "ffv1", pix_fmt, rate=10)
    frames, reader = read_all(path)
    assert reader.rate == 10
    assert reader.num_frames == len(COLORS)
    assert [frame.index for frame in frames] == list(range(len(COLORS)))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    for frame, color in zip(frames, COLORS, strict=True):
        assert frame.rgb.shape == (64, 96, 3)
        assert np.abs(frame.rgb.mean(axis=(0, 1)) - color).max() < 4
    assert reader.missing_end == ""
    assert reader.problems == []


@pytest.mark.parametrize("encoder", ["libsvtav1", "libx264", "libvpx-vp9", "libx265"])
def test_codecs_of_today_are_read(tmp_path, encoder):
    frames, _ = read_all(write_video(tmp_path / "clip.mp4", moving_square(3), encoder))
    assert len(frames) == 3


def test_a_stream_of_jpeg_pictures_has_all_of_them(tmp_path):
    path = write_video(tmp_path / "a.avi", moving_square(7), "mjpeg", "yuvj420p")
    with av.open(str(path)) as container:
        pictures = b"".join(bytes(packet) for packet in container.demux(video=0))
    (tmp_path / "camera.mjpg").write_bytes(pictures)
    assert classify(tmp_path / "camera.mjpg").problem is None
    frames, reader = read_all(tmp_path / "camera.mjpg")
    assert (len(frames), reader.missing_end, reader.problems) == (7, "", [])


def test_what_is_left_out_is_named(tmp_path):
    path = write_video(tmp_path / "a.mkv", moving_square(2), "ffv1", "yuva420p")
    assert read_all(path)[1].notes == ["transparency is left out"]
    flags = av.codec.context.Flags.interlaced_dct.value
    path = write_video(tmp_path / "b.mkv", moving_square(2), "mpeg2video", flags=flags)
    assert read_all(path)[1].notes[0].startswith("interlaced")


def test_full_range_stays_full_range(tmp_path):
    images = [np.full((64, 96, 3), value, np.uint8) for value in (0, 128, 255)]
    path = write_video(tmp_path / "clip.mkv", images, "mjpeg", "yuvj420p", color_range=2)
    for frame, image in zip(read_all(path)[0], images, strict=True):
        assert frame.picture.format.name == "yuv420p"
        assert frame.picture.color_range == 2
        assert abs(frame.rgb.mean() - image.mean()) < 2


@pytest.mark.parametrize("content", [b"", b"no video at all" * 50])
def test_a_file_that_is_no_video_is_named(tmp_path, content):
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"broken\.mp4 cannot be opened: it is no video"):
        VideoReader(path)


def test_other_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(VideoError, match=r"absent\.mp4 .*No such file"):
        VideoReader(tmp_path / "absent.mp4")
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        track = container.add_stream("aac", rate=44100)
        track.codec_context.layout = "mono"
        for packet in sine_packets(track, 0.2):
            container.mux(packet)
    with pytest.raises(VideoError, match=r"sound\.mp4 has no video"):
        VideoReader(path)


def test_names_are_no_addresses(tmp_path):
    source = write_container(tmp_path / "a.mp4", num_frames=2)
    for name in ("a:b.mp4", "concat:a.mp4|a.mp4", "%d.mp4", "file:x.mp4"):
        shutil.copy(source, tmp_path / name)
        assert len(read_all(tmp_path / name)[0]) == 2


def test_a_playlist_opens_nothing_on_the_net(tmp_path):
    path = tmp_path / "list.mp4"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n")
    with pytest.raises(VideoError, match=r"list\.mp4"):
        read_all(path)


def test_variable_rate_and_an_early_gap_keep_their_times(tmp_path):
    stamps = [335, 591, 797, 908, 1034, 2126]
    path = write_video(
        tmp_path / "clip.mkv", moving_square(6), "mpeg4", stamps=stamps, time_base=Fraction(1, 1000)
    )
    frames, reader = read_all(path)
    assert [round(frame.time * 1000) for frame in frames] == stamps
    assert reader.missing_end == ""


@pytest.mark.parametrize(
    ("name", "encoder"),
    [("a.mp4", "libx264"), ("fast.mp4", "libx264"), ("a.wmv", "wmv2"), ("a.flv", "flv")],
)
@pytest.mark.parametrize("part", [1, 0.5])
def test_a_joined_recording_that_is_left_out_is_named(tmp_path, name, encoder, part):
    is_fast = name.startswith("fast")
    path = write_video(tmp_path / name, moving_square(6), encoder, faststart=is_fast)
    assert read_all(path)[1].missing_end == ""
    content = path.read_bytes()
    path.write_bytes(content + content[: int(part * len(content))])
    frames, reader = read_all(path)
    assert len(frames) == 6
    assert f"another recording begins at byte {len(content)}, which may" in reader.missing_end


def outer_boxes(content):
    boxes = {}
    while content:
        length = int.from_bytes(content[:4], "big")
        boxes[content[4:8]], content = content[:length], content[length:]
    return boxes


def trim(path):
    """Hide an MP4 file's second half, as phones do it: by its edit list."""
    content = bytearray(path.read_bytes())
    start = content.index(b"elst") + 12  # version and flags, then one edit: its duration first
    duration = int.from_bytes(content[start : start + 4], "big")
    content[start : start + 4] = (duration // 2).to_bytes(4, "big")
    path.write_bytes(content)
    return path


CONTAINERS = [
    ("avi", "XVID"),
    ("avi", "MJPG"),
    ("mkv", "mp4v"),
    ("webm", "VP80"),
    ("flv", "FLV1"),
    ("mxf", "mpg2"),
    ("wmv", "WMV2"),
    ("TS", "mp4v"),
    ("mpg", "mpg1"),
    ("3gp", "mp4v"),
]
# Nothing in these tells how long the whole was.
WITHOUT_LENGTH = ("wmv", "TS", "mpg")


@pytest.mark.parametrize(("suffix", "codec"), CONTAINERS)
def test_a_truncated_video_is_told_from_a_whole_one(tmp_path, suffix, codec):
    path = write_container(tmp_path / f"clip.{suffix}", codec)
    frames, reader = read_all(path)
    assert len(frames) == 60
    assert (reader.missing_end, reader.problems) == ("", [])
    if suffix == "3gp":  # its index is at the end
        with pytest.raises(VideoError, match="cannot be opened: it is no video, or it is trunc"):
            VideoReader(cut(path, 0.5))
        return
    frames, reader = read_all(cut(path, 0.6))
    assert 5 < len(frames) < 50
    if suffix not in WITHOUT_LENGTH:
        pattern = rf"ends at {frames[-1].time + 0.04:.1f}\d s of 2.40 s .* {len(frames)} frames"
        assert re.search(pattern, reader.missing_end)


@pytest.mark.parametrize("part", [0.4, 0.9, 0.999])
def test_an_mp4_with_its_index_in_front_is_exact(tmp_path, part):
    path = tmp_path / "clip.mp4"
    write_video(path, moving_square(20), "mpeg4", sound="aac", faststart=True)
    assert read_all(path)[1].missing_end == ""
    size = path.stat().st_size
    frames, reader = read_all(cut(path, part))
    missing = size - path.stat().st_size
    assert f"{len(frames)} of 20 frames, {missing} bytes before" in reader.missing_end


def test_a_trimmed_mp4_is_not_truncated(tmp_path):
    frames, reader = read_all(trim(write_container(tmp_path / "clip.mp4")))
    assert len(frames) == 30
    assert reader.missing_end == ""


def test_the_end_is_checked_only_if_it_was_read(tmp_path):
    path = cut(write_container(tmp_path / "clip.mkv"), 0.5)
    reader = VideoReader(path, max_frames=3)
    assert len(list(reader)) == 3
    assert reader.missing_end == ""


def damage(path, index):
    """Overwrite most of the data of a frame."""
    with av.open(str(path)) as container:
        packet = [x for x in container.demux(video=0) if x.size][index]
        start, length = packet.pos, packet.size
    content = bytearray(path.read_bytes())
    start, length = start + length // 4, length // 2
    noise = np.random.default_rng(0).integers(0, 256, length, dtype=np.uint8)
    content[start : start + length] = noise.tobytes()
    path.write_bytes(content)
    return path


def textured(num_frames=30):
    cells = np.random.default_rng(1).integers(0, 120, (30, 40, 3), dtype=np.uint8)
    image = np.kron(cells, np.ones((8, 8, 1), np.uint8))
    return [np.ascontiguousarray(np.roll(image, 3 * i, 1)) for i in range(num_frames)]


@pytest.mark.parametrize(
    ("suffix", "encoder", "pix_fmt"),
    [
        ("mp4", "libx264", "yuv420p"),
        ("avi", "mjpeg", "yuvj420p"),
        ("mkv", "ffv1", "yuv420p"),
        ("avi", "mpeg4", "yuv420p"),
    ],
)
def test_a_damaged_frame_is_named_and_the_rest_goes_on(tmp_path, suffix, encoder, pix_fmt):
    options = {"g": "10", "bf": "0", "threads": "1"} if encoder == "libx264" else {}
    path = write_video(tmp_path / f"c.{suffix}", textured(), encoder, pix_fmt, options=options)
    whole = read_all(path)[1]
    assert whole.problems == []
    frames, reader = read_all(damage(path, 14))
    assert len(frames) >= 29
    assert frames[-1].time == pytest.approx(29 / 25)
    assert reader.problems[0].time == pytest.approx(14 / 25)
    assert len(reader.problems) <= 4
    assert all(problem.text for problem in reader.problems)


def test_frames_that_cannot_be_decoded_are_named(tmp_path):
    path = write_video(
        tmp_path / "c.mp4", textured(), "libsvtav1", options={"g": "8", "svtav1-params": "lp=1"}
    )
    frames, reader = read_all(damage(path, 16))
    assert 20 <= len(frames) < 30
    assert len(reader.problems) == 30 - len(frames)
    times = {round(25 * frame.time) for frame in frames}
    assert {round(25 * problem.time) for problem in reader.problems} <= set(range(30)) - times


@pytest.mark.parametrize("encoder", ["libx264", "mpeg2video"])
def test_frames_lost_with_packets_of_a_broadcast_are_named(tmp_path, encoder):
    """Whole packets are gone, so that the decoder finds nothing wrong."""
    path = write_video(tmp_path / "a.ts", textured(), encoder, max_b_frames=0)
    with av.open(str(path)) as container:
        starts = [packet.pos for packet in container.demux(video=0) if packet.size]
    content = path.read_bytes()
    # From one frame's first packet, by which the next one is told, to a later frame's.
    first, last = (start - start % 188 for start in (starts[12], starts[15]))
    path.write_bytes(content[:first] + content[last:])
    frames, reader = read_all(path)
    assert len(frames) == 27
    assert [problem.text for problem in reader.problems] == ["packet corrupt"]
    assert 11 / 25 <= reader.problems[0].time <= 14 / 25
