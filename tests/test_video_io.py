"""Videos: what is written is what is read."""

import numpy as np
import pytest

from srn_d2.video_io import VideoError, VideoReader, VideoWriter

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
