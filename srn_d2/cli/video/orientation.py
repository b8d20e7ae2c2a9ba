"""Display matrices: how a player turns and mirrors the stored frames of a video."""

import struct
from dataclasses import dataclass

import numpy as np

# A display matrix is 3 x 3: columns 0 and 1 are 16.16 fixed point (ISO/IEC 14496-12, section
# 6.2.2): a stored pixel (x, y) is shown at (a x + c y, b x + d y), rows (a, b), (c, d).
MATRIX = struct.Struct("=9i")
# Maximum ratio of the smaller to the larger elements of a turn by a multiple of 90 degrees.
MAX_SKEW = 0.01


@dataclass(frozen=True)
class Orientation:
    """A turn by a multiple of 90 degrees, or a reflection: transposition first, then flips.

    Attributes:
        transpose: swap rows and columns.
        flip_x: mirror left and right.
        flip_y: mirror top and bottom.
    """

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def is_upright(self) -> bool:
        return not (self.transpose or self.flip_x or self.flip_y)

    def apply(self, array: np.ndarray) -> np.ndarray:
        """An array (H, W, ...) as it is shown, a view."""
        if self.transpose:
            array = array.swapaxes(0, 1)
        return array[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]


UPRIGHT = Orientation()


def read_display_matrix(data: bytes) -> Orientation | None:
    """The orientation of a display matrix as FFmpeg gives it, nine 32-bit integers.

    Returns:
        None if it is no turn by a multiple of 90 degrees, with or without a reflection.
    """
    a, b, _, c, d, *_ = MATRIX.unpack(data[: MATRIX.size])
    straight, crossed = min(abs(a), abs(d)), min(abs(b), abs(c))
    if max(abs(b), abs(c)) <= MAX_SKEW * straight:
        return Orientation(False, flip_x=a < 0, flip_y=d < 0)
    if max(abs(a), abs(d)) <= MAX_SKEW * crossed:
        return Orientation(True, flip_x=c < 0, flip_y=b < 0)
    return None
