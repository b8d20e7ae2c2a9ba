"""Pictures of a camera, through OpenCV."""

import time
from collections.abc import Iterator
from fractions import Fraction

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from .errors import VideoError
from .frame import Frame

# Frames per second of cameras that do not report it.
DEFAULT_RATE = 25.0
TIME_BASE = Fraction(1, 1000)


class CameraReader:
    """The pictures of a camera, each with the time at which it was taken.

    Args:
        number: number of the camera, from 0.

    Raises:
        VideoError: there is no such camera.
    """

    def __init__(self, number: int):
        if number < 0:  # OpenCV would crash
            raise VideoError(f"There is no camera {number}: numbers start at 0")
        self._capture = cv2.VideoCapture(number)
        if not self._capture.isOpened():
            raise VideoError(f"The camera {number} cannot be opened")
        self.number = number
        self.rate = Fraction(self._capture.get(cv2.CAP_PROP_FPS) or DEFAULT_RATE)
        self.rate = self.rate.limit_denominator(1000)

    def __iter__(self) -> Iterator[Frame]:
        """
        Raises:
            VideoError: the camera gives no picture.
        """
        start = time.monotonic()
        index, last = 0, -1
        while True:
            is_read, bgr = self._capture.read()
            if not is_read:
                break
            seconds = time.monotonic() - start
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            last = max(round(seconds / TIME_BASE), last + 1)
            yield Frame(index, seconds, to_picture(rgb, last, self.rate), rgb)
            index += 1
        if not index:
            raise VideoError(f"The camera {self.number} gives no picture")

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()


def to_picture(rgb: np.ndarray, stamp: int, rate: Fraction) -> av.VideoFrame:
    """A frame in 4:2:0 of an RGB image, at a time in milliseconds."""
    picture = av.VideoFrame.from_ndarray(rgb).reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
    picture.colorspace, picture.color_range = Colorspace.ITU709, ColorRange.MPEG
    picture.pts, picture.time_base = stamp, TIME_BASE
    picture.duration = max(round(1 / rate / TIME_BASE), 1)
    return picture
