"""Images as a network is to see them: resized, and in batches that do not change the result."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from srn_d2.data.image_io import TooManyPixelsError
from srn_d2.data.transforms import FastResizeTransform

MAX_BATCH_PIXELS = 4_000_000
"""Images form one batch up to this many pixels together, padding included."""


class View(NamedTuple):
    """An image as the network is to see it.

    Attributes:
        index: of the image in its chunk.
        pixels: uint8 (h, w, 3), RGB.
        image_size: (H, W) of the image itself, in whose pixels boxes are wanted.
        min_size: size of the smallest faces that count, square root of the area, in its pixels.
        is_second_look: whether it is the reduced one.
    """

    index: int
    pixels: np.ndarray
    image_size: tuple[int, int]
    min_size: float = 0.0
    is_second_look: bool = False


def resize(image: np.ndarray, scale: float, max_pixels: int) -> np.ndarray:
    """An image (H, W, 3) with its sides multiplied by ``scale``, at least 1 pixel each.

    Raises:
        TooManyPixelsError: it would have more than ``max_pixels``.
    """
    height, width = image.shape[:2]
    new_height, new_width = (max(math.floor(side * scale + 0.5), 1) for side in (height, width))
    if (new_height, new_width) == (height, width):
        return image
    if new_height * new_width > max_pixels:
        raise TooManyPixelsError(
            f"An image of {width} x {height} pixels would be enlarged to {new_width} x "
            f"{new_height}, more than the limit of {max_pixels} pixels"
        )
    return FastResizeTransform(height, width, new_height, new_width).apply_image(image)


def batches(views: Sequence[View], divisibility: int) -> list[list[int]]:
    """Indices of views that can run together: of one kind, and of one size after padding.

    Padding to the size of a larger image would change what the network finds near the edges.
    """
    groups: dict[tuple, list[list[int]]] = {}
    for index, view in enumerate(views):
        size = tuple(math.ceil(side / divisibility) for side in view.pixels.shape[:2])
        group = groups.setdefault((size, view.is_second_look), [[]])
        padded_pixels = math.prod(size) * divisibility**2
        if group[-1] and (len(group[-1]) + 1) * padded_pixels > MAX_BATCH_PIXELS:
            group.append([])
        group[-1].append(index)
    return [batch for group in groups.values() for batch in group]
