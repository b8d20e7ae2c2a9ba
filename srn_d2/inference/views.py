"""Images as a network is to see them: resized, and in batches that do not change the result.

Needs neither torch nor detectron2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import numpy as np

from srn_d2.data.image_io import TooManyPixelsError
from srn_d2.data.image_resize import resize_pixels

from .detections import Detections
from .large_faces import downscaled_passes

MAX_BATCH_PIXELS = 4_000_000
"""Images form one batch up to this many pixels together, padding included."""
MAX_PIXELS = 100_000_000
"""Default limit of an image's pixels."""


@dataclass(frozen=True, eq=False)
class View:
    """An image as the network is to see it, the way back, and which of the detections count.

    Attributes:
        pixels: (h, w, C).
        image_size: (H, W) of the image itself, in whose pixels boxes are wanted.
        scale: None: whole coordinates are pixels' edges, a box is x2 - x1 wide, and x of the view
            is x * W / w of the image. Of a view of the authors' released code the factor s of both
            sides: whole coordinates are pixels' centres, a box is x2 - x1 + 1 wide, and x of the
            view is (x - (s - 1) / 2) / s of the image.
        flip: whether a view with a ``scale`` is mirrored.
        min_size: detections count whose size, square root of the area, is at least this. Sizes
            and sides are in pixels of the image.
        larger_side_above: detections count whose larger side exceeds this.
        smaller_side_below: detections count whose smaller side is below this.
        is_downscaled: whether it is for a further, downscaled pass, for large faces.
    """

    pixels: np.ndarray
    image_size: tuple[int, int]
    scale: float | None = None
    flip: bool = False
    min_size: float = 0.0
    larger_side_above: float = 0.0
    smaller_side_below: float = math.inf
    is_downscaled: bool = False

    def to_image(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (n, 4) of the view in pixels of the image."""
        height, width = self.pixels.shape[:2]
        if self.scale is None:
            limit = np.array(self.image_size[::-1] * 2, dtype=boxes.dtype)
            ratio = limit / np.array([width, height] * 2, dtype=boxes.dtype)
            return np.minimum(boxes * ratio, limit)  # rounding takes no box beyond the image
        if self.flip:
            x1, y1, x2, y2 = boxes.T
            boxes = np.stack([width - x2 - 1, y1, width - x1 - 1, y2], axis=1)
        return (boxes - (self.scale - 1) / 2) / self.scale

    def counts(self, boxes: np.ndarray) -> np.ndarray:
        """(n,) bool: which boxes (n, 4), in pixels of the image, this view is for."""
        sides = boxes[:, 2:] - boxes[:, :2] + (0 if self.scale is None else 1)
        return (
            (np.sqrt(sides.prod(axis=1).clip(min=0)) >= self.min_size)
            & (sides.max(axis=1) > self.larger_side_above)
            & (sides.min(axis=1) < self.smaller_side_below)
        )

    def in_image(self, found: Detections) -> Detections:
        """The detections in the view that count, in pixels of the image."""
        boxes = self.to_image(found.boxes)
        return found._replace(boxes=boxes).take(self.counts(boxes))


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

    def views(self, image: np.ndarray, resized: np.ndarray | None = None) -> list[View]:
        """What the network sees of an image (H, W, 3): the whole, in one size or in several.

        Args:
            resized: the image as it is seen first; None: as ``size`` and ``min_face_size`` say.

        Raises:
            TooManyPixelsError: it would be enlarged beyond ``max_pixels``.
        """
        height, width = image.shape[:2]
        if resized is None:
            resized = resize(image, self._scale(height, width), self.max_pixels)
        views = [View(resized, (height, width))]
        if self.large_faces:
            scale = max(resized.shape[:2]) / max(height, width)
            for further in downscaled_passes(*resized.shape[:2], self.largest_face):
                downscaled = resize(image, scale / further.reduction, self.max_pixels)
                min_size = further.min_size / scale
                view = View(downscaled, (height, width), min_size=min_size, is_downscaled=True)
                views.append(view)
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
