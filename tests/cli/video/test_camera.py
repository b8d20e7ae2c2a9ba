"""Cameras: a file in their place, as OpenCV reads it."""

import itertools
import json

import cv2
import pytest

from helpers.video_files import find_red, moving_square, read_frames, write_video
from srn_d2.cli.video.camera import CameraReader
from srn_d2.cli.video.errors import VideoError
from srn_d2.cli.video.options import VideoOptions
from srn_d2.cli.video.process import process_camera


@pytest.fixture
def camera(tmp_path, monkeypatch):
    path = write_video(tmp_path / "camera.avi", moving_square(8), "mjpeg", "yuvj420p")
    opened = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: opened(str(path)))


@pytest.mark.parametrize("number", [99, -3])
def test_an_absent_camera_is_named(number):
    with pytest.raises(VideoError, match=f"camera {number}"):
        CameraReader(number)


@pytest.mark.usefixtures("camera")
def test_pictures_have_the_times_at_which_they_were_taken(tmp_path):
    result = process_camera(find_red, 0, tmp_path / "out.mp4", VideoOptions(render="blur"))
    times, images = read_frames(tmp_path / "out.mp4")
    lines = [json.loads(line) for line in result.lines.read_text().splitlines()]
    assert len(times) == len(lines) == 8
    assert all(first < second for first, second in itertools.pairwise(times))
    assert times[-1] == pytest.approx(lines[-1]["time"], abs=0.02)
    assert all(len(line["faces"]) == 1 for line in lines)
    assert images[0].shape == (240, 320, 3)


@pytest.mark.usefixtures("camera")
@pytest.mark.parametrize("render", ["draw", "blur"])
def test_ctrl_c_ends_the_recording_and_keeps_it(tmp_path, render):
    calls = []

    def detector(images):
        calls.append(images)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return find_red(images)

    result = process_camera(detector, 0, tmp_path / "out.mp4", VideoOptions(render=render))
    assert result.num_frames == 3
    assert len(read_frames(tmp_path / "out.mp4")[0]) == 3
    result = process_camera(
        find_red, 0, tmp_path / "out.mp4", VideoOptions(render=render, max_frames=2)
    )
    assert result.num_frames == 2
