"""Network inputs of an image: resized views, and batches that do not change the result.

Needs neither torch nor detectron2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import numpy as np

from srn_d2.data.image_io import TooManyPixelsError, megapixels
from srn_d2.data.image_resize import resize_pixels

from .detections import Detections
from .large_faces import downscaled_passes

MAX_BATCH_PIXELS = 4_000_000
"""Maximum number of pixels of a batch, padding included."""
MAX_PIXELS = 100_000_000
"""Default maximum number of pixels of an image."""


@dataclass(frozen=True, eq=False)
class View:
    """A network input made from an image, its mapping to the image, and limits of face sizes.

    Attributes:
        pixels: (h, w, C).
        image_size: (H, W) of the original image, in whose pixels boxes are returned.
        scale: None: whole coordinates are pixels' edges, a box is x2 - x1 wide, and x of the view
            is x * W / w of the image. Of a view of the authors' released code the factor s of both
            sides: whole coordinates are pixels' centres, a box is x2 - x1 + 1 wide, and x of the
            view is (x - (s - 1) / 2) / s of the image.
        flip: whether a view with a ``scale`` is mirrored.
        min_size: minimum size, square root of the area, of detections to keep. Sizes and sides are
            in pixels of the image.
        larger_side_above: detections are kept if their larger side exceeds this.
        smaller_side_below: detections are kept if their smaller side is below this.
        is_downscaled: whether the view is a further, downscaled pass for large faces.
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
        """Map boxes (n, 4) of the view to pixels of the image."""
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
        """(n,) bool: mask of boxes (n, 4), in pixels of the image, within the size limits."""
        sides = boxes[:, 2:] - boxes[:, :2] + (0 if self.scale is None else 1)
        return (
            (np.sqrt(sides.prod(axis=1).clip(min=0)) >= self.min_size)
            & (sides.max(axis=1) > self.larger_side_above)
            & (sides.min(axis=1) < self.smaller_side_below)
        )

    def in_image(self, found: Detections) -> Detections:
        """Map detections of the view to the image and keep those within the size limits."""
        boxes = self.to_image(found.boxes)
        return found._replace(boxes=boxes).take(self.counts(boxes))


@dataclass(frozen=True)
class ViewPolicy:
    """Choice of the sizes in which an image is passed to a network.

    Attributes:
        anchor_sizes: the network's anchor sizes, square roots of the areas in pixels.
        size: "original", or the longer side of the input in pixels.
        min_face_size: alternative to ``size``: size in pixels of the smallest faces wanted, to
            which the smallest anchor is fitted.
        largest_face: size of the largest faces that the network finds, square root of the area in
            pixels.
        large_faces: whether an image with room for larger faces is passed again, downscaled.
        max_pixels: maximum number of pixels of an enlarged image.

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
        """The network's inputs for an image (H, W, 3): the whole image, in one or more sizes.

        Args:
            resized: input of the first pass; None: resize by ``size`` and ``min_face_size``.

        Raises:
            TooManyPixelsError: the image would be enlarged beyond ``max_pixels``.
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
        """Scale factor of an image's sides by ``size`` or ``min_face_size``."""
        if self.min_face_size is not None:
            return min(self.anchor_sizes) / self.min_face_size
        return 1.0 if self.size == "original" else self.size / max(height, width)


def resize(image: np.ndarray, scale: float, max_pixels: int) -> np.ndarray:
    """Resize an image (H, W, 3) by the factor ``scale``, to at least 1 pixel a side.

    Raises:
        TooManyPixelsError: the result would have more than ``max_pixels``.
    """
    height, width = image.shape[:2]
    new_height, new_width = (max(math.floor(side * scale + 0.5), 1) for side in (height, width))
    if (new_height, new_width) == (height, width):
        return image
    if new_height * new_width > max_pixels:
        raise TooManyPixelsError(
            f"An image of {width} x {height} pixels would be enlarged to {new_width} x "
            f"{new_height}, more than the limit of {megapixels(max_pixels)}"
        )
    return resize_pixels(image, new_height, new_width)


def batches(views: Sequence[View], divisibility: int) -> list[list[int]]:
    """Group indices of views into batches: of one kind, and of one size after padding.

    Padding to the size of a larger image would change detections near the edges.
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
