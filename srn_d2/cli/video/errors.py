"""Errors of videos and cameras."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .result import VideoResult


class VideoError(RuntimeError):
    """A video or a camera that cannot be read, or a video that cannot be written."""


class DamagedVideoError(VideoError):
    """A video that is truncated or has frames that cannot be decoded.

    All that could be read is written.

    Attributes:
        result: what was written, and the problems.
    """

    def __init__(self, message: str, result: "VideoResult"):
        super().__init__(message)
        self.result = result
