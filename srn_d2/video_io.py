"""Videos and cameras as RGB frames, through OpenCV."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
# Frames per second of a source that does not tell: many cameras.
DEFAULT_FPS = 25.0


class VideoError(RuntimeError):
    """A video or a camera that cannot be read, or a video that cannot be written."""


class Frame(NamedTuple):
    """A picture of a video.

    Attributes:
        index: from 0.
        time: seconds since the first frame of a camera; of a file, the frame's own time stamp.
        image: uint8 (H, W, 3), RGB.
    """

    index: int
    time: float
    image: np.ndarray


class VideoReader:
    """The frames of a video file or of a camera, in order, once.

    Args:
        source: a file, or a camera's number.

    Raises:
        VideoError: it cannot be opened.
    """

    def __init__(self, source: str | Path | int):
        self.source = source
        self.is_camera = isinstance(source, int)
        if self.is_camera and source < 0:  # OpenCV would crash
            raise VideoError(f"There is no camera {source}: numbers start at 0")
        self._capture = cv2.VideoCapture(source if self.is_camera else _opencv_name(source))
        if not self._capture.isOpened():
            kind = "camera" if self.is_camera else "video"
            raise VideoError(f"The {kind} {source} cannot be opened")
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or DEFAULT_FPS
        # As the file's header has it, None for a camera.
        self.num_frames = max(int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0) or None

    def __iter__(self) -> Iterator[Frame]:
        """
        Raises:
            VideoError: there is not a single frame.
        """
        start = time.monotonic()
        index = 0
        while True:
            is_read, bgr = self._capture.read()
            if not is_read:
                break
            seconds = (
                time.monotonic() - start
                if self.is_camera
                else self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            )
            yield Frame(index, seconds, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
            index += 1
        if not index:
            raise VideoError(f"{self.source} has no frame that can be decoded")

    def close(self) -> None:
        """Let go of the file or the camera."""
        self._capture.release()


class VideoWriter:
    """An MPEG-4 file of RGB frames, all of the first one's size.

    Args:
        path: ends in .mp4.
        fps: frames per second.
    """

    def __init__(self, path: str | Path, fps: float):
        self.path = path
        self.fps = fps
        self._writer: cv2.VideoWriter | None = None

    def write(self, image: np.ndarray) -> None:
        """Append a frame.

        Args:
            image: uint8 (H, W, 3), RGB.

        Raises:
            VideoError: the file cannot be written.
        """
        if self._writer is None:
            height, width = image.shape[:2]
            codec = cv2.VideoWriter_fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(
                _opencv_name(self.path), codec, self.fps, (width, height)
            )
            if not self._writer.isOpened():
                raise VideoError(f"The video {self.path} cannot be written")
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Write the file's end; without it players refuse the file."""
        if self._writer is not None:
            self._writer.release()


def _opencv_name(path: str | Path) -> str:
    """The path as text; a VideoError where OpenCV would crash at it."""
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError as error:  # os.fsdecode's stand-ins for other bytes
        raise VideoError(f"The name of the video {name!r} is not UTF-8: rename it") from error
    return name
