"""Videos: what is written is what is read."""

import re

import cv2
import numpy as np
import pytest

from helpers.video_files import cut, write_container
from srn_d2.cli.video_io import TruncatedVideoError, VideoError, VideoReader, VideoWriter

# Colours far apart, so that compression cannot confuse them; red and blue tell RGB from BGR.
COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)]


def write_video(path, size=(64, 96), fps=10.0):
    writer = VideoWriter(path, fps)
    for color in COLORS:
        writer.write(np.full((*size, 3), color, dtype=np.uint8))
    writer.close()


def test_frames_come_back_in_order_with_colours_and_times(tmp_path):
    write_video(tmp_path / "clip.mp4")
    reader = VideoReader(tmp_path / "clip.mp4")
    assert reader.fps == pytest.approx(10)
    assert reader.num_frames == len(COLORS)
    frames = list(reader)
    assert [frame.index for frame in frames] == list(range(len(COLORS)))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    for frame, color in zip(frames, COLORS, strict=True):
        assert frame.image.shape == (64, 96, 3)
        assert np.abs(frame.image.mean(axis=(0, 1)) - color).max() < 12
    reader.close()


def test_an_odd_side_loses_one_pixel(tmp_path):
    write_video(tmp_path / "odd.mp4", size=(49, 65))
    [first, *_] = VideoReader(tmp_path / "odd.mp4")
    assert first.image.shape == (48, 64, 3)


@pytest.mark.parametrize("content", [b"", b"no video at all" * 50])
def test_a_file_that_is_no_video_is_named(tmp_path, content):
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        list(VideoReader(path))


def test_an_absent_file_and_an_absent_camera_are_named(tmp_path):
    with pytest.raises(VideoError, match=r"video .*absent\.mp4"):
        VideoReader(tmp_path / "absent.mp4")
    for number in (99, -3):
        with pytest.raises(VideoError, match=f"camera {number}"):
            VideoReader(number)


def test_names_that_are_not_utf_8_are_refused(tmp_path):
    path = tmp_path / "\udcff.mp4"
    with pytest.raises(VideoError, match=r"udcff\.mp4"):
        VideoReader(path)
    writer = VideoWriter(path, 10)
    with pytest.raises(VideoError, match=r"udcff\.mp4"):
        writer.write(np.zeros((8, 8, 3), dtype=np.uint8))


def test_a_video_that_cannot_be_written_is_named(tmp_path):
    writer = VideoWriter(tmp_path / "absent" / "clip.mp4", 10)
    with pytest.raises(VideoError, match=r"clip\.mp4"):
        writer.write(np.zeros((8, 8, 3), dtype=np.uint8))
    writer.close()


def write_variable_rate(path):
    """60 frames, the first 30 of them ten times as fast as the others: 321 would be even."""
    steady = write_container(path.with_name("steady.avi"), "XVID")
    packets = cv2.VideoCapture(str(steady), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    codec, is_raw = int(packets.get(cv2.CAP_PROP_FOURCC)), [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, 25.0, (96, 64), is_raw)
    for time_stamp in [*range(30), *range(30, 330, 10)]:
        writer.set(cv2.VIDEOWRITER_PROP_PTS, time_stamp)
        writer.write(packets.read()[1])
    writer.release()
    return path


def outer_boxes(content):
    boxes = {}
    while content:
        length = int.from_bytes(content[:4], "big")
        boxes[content[4:8]], content = content[:length], content[length:]
    return boxes


def move_index_to_front(path):
    """What web servers' MP4 files are like: cut, they still open."""
    boxes = outer_boxes(path.read_bytes())
    index = bytearray(boxes.pop(b"moov"))
    start = index.index(b"stco") + 8  # version and flags, then how many offsets, then they
    number = int.from_bytes(index[start : start + 4], "big")
    offsets = np.frombuffer(index, ">u4", number, start + 4) + len(index)
    index[start + 4 : start + 4 + 4 * number] = offsets.astype(">u4").tobytes()
    path.write_bytes(boxes.pop(b"ftyp") + index + b"".join(boxes.values()))
    return path


def trim(path):
    """Hide an MP4 file's second half, as phones do it: by its edit list."""
    content = bytearray(path.read_bytes())
    start = content.index(b"elst") + 12  # version and flags, then one edit: its duration first
    duration = int.from_bytes(content[start : start + 4], "big")
    content[start : start + 4] = (duration // 2).to_bytes(4, "big")
    path.write_bytes(content)
    return path


def read_all(path):
    """The number of frames, and the reader after the last one."""
    reader = VideoReader(path)
    num_frames = len(list(reader))
    reader.close()
    return num_frames, reader


def assert_truncation_is_told(path, part):
    """Of a file of 60 frames: whole, it is complete, and its first part alone is not."""
    num_frames, reader = read_all(path)
    assert num_frames == 60
    reader.check_complete()
    num_frames, reader = read_all(cut(path, part))
    assert 5 < num_frames < 45
    message = rf"{re.escape(path.name)} .*{num_frames} of 60 frames"
    with pytest.raises(TruncatedVideoError, match=message):
        reader.check_complete()


CONTAINERS = [
    ("avi", "XVID"),
    ("avi", "MJPG"),
    ("mkv", "mp4v"),
    ("webm", "VP80"),
    ("flv", "FLV1"),
    ("mxf", "mpg2"),  # has no time stamps
]


@pytest.mark.parametrize(("suffix", "codec"), CONTAINERS)
def test_a_truncated_video_is_told_from_a_whole_one(tmp_path, suffix, codec):
    assert_truncation_is_told(write_container(tmp_path / f"clip.{suffix}", codec), 0.5)


def test_a_truncated_mp4_is_told_from_a_trimmed_one(tmp_path):
    path = move_index_to_front(write_container(tmp_path / "clip.mp4"))
    assert_truncation_is_told(path, 0.6)
    num_frames, reader = read_all(trim(write_container(path)))
    assert (num_frames, reader.num_frames) == (30, 60)
    reader.check_complete()


@pytest.mark.parametrize("suffix", ["mp4", "mov", "3gp"])
def test_without_its_index_at_the_end_a_video_cannot_be_opened(tmp_path, suffix):
    path = cut(write_container(tmp_path / f"clip.{suffix}"), 0.9)
    with pytest.raises(VideoError, match="cannot be opened"):
        VideoReader(path)


def test_a_variable_frame_rate_is_no_truncation(tmp_path):
    path = write_variable_rate(tmp_path / "clip.mkv")
    num_frames, reader = read_all(path)
    assert num_frames == 60
    assert reader.num_frames > 300  # an estimate
    reader.check_complete()
    _, reader = read_all(cut(path, 0.75))
    with pytest.raises(TruncatedVideoError):
        reader.check_complete()


@pytest.mark.parametrize(
    ("num_announced", "is_truncated"), [(62, False), (75, False), (76, True), (None, False)]
)
def test_few_missing_frames_and_unknown_numbers_are_tolerated(
    tmp_path, num_announced, is_truncated
):
    _, reader = read_all(write_container(tmp_path / "clip.avi", "XVID"))
    reader.num_frames = num_announced
    if is_truncated:
        with pytest.raises(TruncatedVideoError, match="60 of 76"):
            reader.check_complete()
    else:
        reader.check_complete()


def test_of_a_long_video_seconds_may_be_missing(tmp_path):
    _, reader = read_all(write_container(tmp_path / "clip.avi", "XVID", num_frames=1000))
    reader.num_frames = 1125
    reader.check_complete()
    reader.num_frames = 1126
    with pytest.raises(TruncatedVideoError):
        reader.check_complete()


def test_a_cut_wmv_does_not_know_its_length(tmp_path):
    num_frames, reader = read_all(cut(write_container(tmp_path / "clip.wmv", "WMV2"), 0.5))
    assert 5 < num_frames < 45
    assert reader.num_frames is None
    reader.check_complete()


@pytest.mark.parametrize(("suffix", "codec"), [("TS", "mp4v"), ("mpg", "mpg1")])
def test_the_length_of_a_stream_is_a_guess(tmp_path, suffix, codec):
    num_frames, reader = read_all(write_container(tmp_path / f"clip.{suffix}", codec))
    assert num_frames == 60
    reader.num_frames = 600
    reader.check_complete()


def test_nothing_is_missed_before_the_end(tmp_path):
    reader = VideoReader(cut(write_container(tmp_path / "clip.mkv"), 0.5))
    frames = iter(reader)
    next(frames)
    reader.check_complete()
    list(frames)
    with pytest.raises(TruncatedVideoError):
        reader.check_complete()
