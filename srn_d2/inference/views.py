"""Images as a network is to see them: resized, and in batches that do not change the result.

Needs neither torch nor detectron2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal, NamedTuple

import numpy as np

from srn_d2.data.image_io import TooManyPixelsError
from srn_d2.data.image_resize import resize_pixels

from .large_faces import downscaled_passes

MAX_BATCH_PIXELS = 4_000_000
"""Images form one batch up to this many pixels together, padding included."""
MAX_PIXELS = 100_000_000
"""Default limit of an image's pixels."""


class View(NamedTuple):
    """An image as the network is to see it.

    Attributes:
        index: of the image in its chunk.
        pixels: uint8 (h, w, 3), RGB.
        image_size: (H, W) of the image itself, in whose pixels boxes are wanted.
        min_size: size of the smallest faces that count, square root of the area, in its pixels.
        is_downscaled: whether it is a further, downscaled pass, for large faces.
    """

    index: int
    pixels: np.ndarray
    image_size: tuple[int, int]
    min_size: float = 0.0
    is_downscaled: bool = False


@dataclass(frozen=True)
class ViewPolicy:
    """In which sizes a network sees an image.

    Attributes:
        anchor_sizes: of the network, square roots of the areas in pixels.
        size: "original"; or the pixels of the image's longer side.
        min_face_size: instead of it, the size in pixels of the smallest faces wanted, to which the
            smallest anchor is fitted.
        largest_face: up to which size the network finds faces, square root of the area in pixels.
        large_faces: whether an image with room for larger faces is passed again, downscaled.
        max_pixels: of an enlarged image.

    Raises:
        ValueError: an attribute has a wrong value, or two contradict each other.
    """

    anchor_sizes: Sequence[float]
    largest_face: float
    size: int | Literal["original"] = "original"
    min_face_size: float | None = None
    large_faces: bool = True
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        is_number = isinstance(self.size, Integral) and not isinstance(self.size, bool)
        if self.size != "original" and not (is_number and self.size > 0):
            raise ValueError(f"size is {self.size!r}; valid are 'original' and pixels")
        if self.min_face_size is not None and (
            self.size != "original" or not self.min_face_size > 0
        ):
            raise ValueError(
                f"min_face_size is {self.min_face_size}, size {self.size!r}: give one of them, "
                "positive"
            )
        if self.max_pixels <= 0:
            raise ValueError(f"max_pixels is {self.max_pixels}, not positive")

    def views(self, index: int, image: np.ndarray, resized: np.ndarray | None = None) -> list[View]:
        """What the network sees of an image (H, W, 3): the whole, in one size or in several.

        Args:
            index: of the image in its chunk.
            resized: the image as it is seen first; None: as ``size`` and ``min_face_size`` say.

        Raises:
            TooManyPixelsError: it would be enlarged beyond ``max_pixels``.
        """
        height, width = image.shape[:2]
        if resized is None:
            resized = resize(image, self._scale(height, width), self.max_pixels)
        views = [View(index, resized, (height, width))]
        if self.large_faces:
            scale = max(resized.shape[:2]) / max(height, width)
            for further in downscaled_passes(*resized.shape[:2], self.largest_face):
                reduced = resize(image, scale / further.reduction, self.max_pixels)
                min_size = further.min_size / scale
                views.append(View(index, reduced, (height, width), min_size, is_downscaled=True))
        return views

    def _scale(self, height: int, width: int) -> float:
        """The factor of an image's sides that the size or the smallest face asks for."""
        if self.min_face_size is not None:
            return min(self.anchor_sizes) / self.min_face_size
        return 1.0 if self.size == "original" else self.size / max(height, width)


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
    return resize_pixels(image, new_height, new_width)


def batches(views: Sequence[View], divisibility: int) -> list[list[int]]:
    """Indices of views that can run together: of one kind, and of one size after padding.

    Padding to the size of a larger image would change what the network finds near the edges.
    """
    groups: dict[tuple, list[list[int]]] = {}
    for index, view in enumerate(views):
        size = tuple(math.ceil(side / divisibility) for side in view.pixels.shape[:2])
        group = groups.setdefault((size, view.is_downscaled), [[]])
        padded_pixels = math.prod(size) * divisibility**2
        if group[-1] and (len(group[-1]) + 1) * padded_pixels > MAX_BATCH_PIXELS:
            group.append([])
        group[-1].append(index)
    return [batch for group in groups.values() for batch in group]
