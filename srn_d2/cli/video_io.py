"""Videos and cameras as RGB frames, through OpenCV."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

# Streams without a length in their header: OpenCV estimates it from their end or the bit rate.
STREAM_SUFFIXES = (
    *(".mpg", ".mpeg", ".mpe", ".m2v", ".vob", ".ogv"),
    *(".ts", ".mts", ".m2ts", ".m2t"),
)
# Suffixes that the FFmpeg in OpenCV's wheels reads.
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".f4v"),
    *(".avi", ".divx", ".mkv", ".webm", ".flv", ".wmv", ".asf", ".mxf"),
    *STREAM_SUFFIXES,
)
# Frames per second of sources that do not report it, such as many cameras.
DEFAULT_FPS = 25.0
# Frames that a complete video may lack against its header. MP4 and AVI count frames, but elsewhere
# (Matroska, WebM, FLV, WMV) the number is duration times rate, and the duration is that of the
# longest track, which may be the sound. Hence a tolerance in seconds, less for a short clip, and
# some frames for rounding.
MAX_MISSING_SECONDS = 5.0
MAX_MISSING_PART = 0.2
MAX_MISSING_FRAMES = 2
# Possible first box types of an MP4 or QuickTime file.
FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")


class VideoError(RuntimeError):
    """A video or a camera that cannot be read, or a video that cannot be written."""


class TruncatedVideoError(VideoError):
    """A video that ends long before its header says."""


class Frame(NamedTuple):
    """A picture of a video.

    Attributes:
        index: index from 0.
        time: seconds since the first frame of a camera; of a file, the frame's time stamp.
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
        # From the file's header, often an estimate; None if unknown and for a camera.
        self.num_frames = max(int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0) or None
        self._num_read = 0
        self._last_time = 0.0
        self._has_ended = False

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
            index += 1
            self._num_read = index
            self._last_time = max(self._last_time, seconds)
            yield Frame(index - 1, seconds, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
        if not index:
            raise VideoError(f"{self.source} has no frame that can be decoded")
        self._has_ended = True

    def check_complete(self) -> None:
        """Raise an error if the frames ended too early; to be called after the last one.

        Not checked: a camera, a file whose header has no length (some WebM, a truncated WMV, MPEG
        and Ogg streams), and a file whose frames have not all been read.

        Raises:
            TruncatedVideoError: many frames of the file are missing.
        """
        if self.is_camera or self.num_frames is None or not self._has_ended:
            return
        if Path(self.source).suffix.lower() in STREAM_SUFFIXES:
            return
        # Where the rate varies, or frames were dropped, the last time stamp is a better measure of
        # progress than the number of frames; some containers have no time stamps.
        position = max(self._num_read, round(self._last_time * self.fps) + 1)
        tolerated = min(MAX_MISSING_SECONDS * self.fps, MAX_MISSING_PART * self.num_frames)
        if self.num_frames - position <= max(tolerated, MAX_MISSING_FRAMES):
            return
        # A trimmed MP4 counts the frames that its edit list hides.
        if _has_all_boxes(self.source):
            return
        raise TruncatedVideoError(
            f"{self.source} ends after {self._num_read} of {self.num_frames} frames (by its "
            "header): it is truncated or damaged"
        )

    def close(self) -> None:
        """Release the file or the camera."""
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
        """Write the file's trailer, without which players refuse the file."""
        if self._writer is not None:
            self._writer.release()


def _has_all_boxes(path: str | Path) -> bool:
    """Check that a file is MP4 or QuickTime and that its top-level boxes end at its end.

    A box starts with its length in 32 bits, 1: see the 64 bits after its name, 0: to the file's
    end (ISO/IEC 14496-12, section 4.2).
    """
    size = os.path.getsize(path)
    position = 0
    with open(path, "rb") as file:
        while position < size:
            file.seek(position)
            header = file.read(16)
            if position == 0 and header[4:8] not in FIRST_BOXES:
                return False
            length = int.from_bytes(header[:4], "big")
            if length == 0:
                return True
            if length == 1:
                length = int.from_bytes(header[8:], "big")
            if length < 8:  # no box
                return False
            position += length
    return position == size


def _opencv_name(path: str | Path) -> str:
    """The path as text; raises a VideoError for names at which OpenCV would crash."""
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError as error:  # surrogates of os.fsdecode
        raise VideoError(f"The name of the video {name!r} is not UTF-8: rename it") from error
    return name
