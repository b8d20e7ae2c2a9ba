"""A picture of a video or a camera."""

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np


@dataclass
class Frame:
    """A picture of a video.

    Attributes:
        index: index from 0.
        time: seconds since the start of the file, or of the camera's recording.
        picture: the upright frame, of a planar format, with its time stamp and duration.
        rgb: uint8 (H, W, 3), in square pixels: what faces are found in.
        pixel_aspect: width of a pixel of ``picture`` by its height.
    """

    index: int
    time: float
    picture: av.VideoFrame
    rgb: np.ndarray
    pixel_aspect: Fraction = Fraction(1)
