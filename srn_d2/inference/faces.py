"""Faces found in an image, the result of a detector."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from srn_d2.data.image_input import ImageInput

# Decimal places in to_dict: a hundredth of a pixel and a ten-thousandth of a score.
BOX_DIGITS, SCORE_DIGITS = 2, 4


class Face(NamedTuple):
    """One face.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the image; 0, 0 is the upper left corner of its first
            pixel, so that the width is x2 - x1.
        score: between 0 and 1.
    """

    box: tuple[float, float, float, float]
    score: float

    @property
    def width(self) -> float:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        return self.box[3] - self.box[1]


@dataclass(frozen=True, eq=False)
class Faces:
    """The faces of an image, by descending score; read-only arrays.

    ``len(faces)`` is their number, iteration yields ``Face`` objects, and an empty result is
    false.

    Attributes:
        boxes: (n, 4) float32, XYXY, in pixels of the upright image (after EXIF rotation).
        scores: (n,) float32, between 0 and 1, descending.
        image_size: (height, width) of the image, in pixels.

    Raises:
        ValueError: boxes and scores are of other shapes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        boxes = np.array(self.boxes, dtype=np.float32)
        scores = np.array(self.scores, dtype=np.float32)
        if scores.ndim != 1 or boxes.shape != (len(scores), 4):
            raise ValueError(f"boxes {boxes.shape} and scores {scores.shape} are not (n, 4), (n,)")
        boxes.flags.writeable = scores.flags.writeable = False
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Face]:
        for box, score in zip(self.boxes.tolist(), self.scores.tolist(), strict=True):
            yield Face(tuple(box), score)

    def to_dict(self) -> dict:
        """{"height", "width", "faces": [{"bbox": [x1, y1, x2, y2], "score": s}, ...]}, rounded."""
        height, width = self.image_size
        faces = [
            {
                "bbox": [round(value, BOX_DIGITS) for value in face.box],
                "score": round(face.score, SCORE_DIGITS),
            }
            for face in self
        ]
        return {"height": height, "width": width, "faces": faces}

    def to_json(self, indent: int | None = None) -> str:
        """``to_dict`` as JSON text.

        Args:
            indent: spaces for each level; None: everything on one line.
        """
        return json.dumps(self.to_dict(), indent=indent)

    def draw(self, image: "ImageInput") -> np.ndarray | Image.Image:
        """Draw the faces' boxes on the image, with their scores unless there are many.

        Args:
            image: the image in which they were found, of any kind that the detector takes.

        Returns:
            uint8 (H, W, 3) RGB for an array or a tensor, else a Pillow image.

        Raises:
            ValueError: the image is not of this size.
            InvalidImageError, OSError: it cannot be read.
        """
        from srn_d2.data.image_input import as_rgb

        from .drawing import draw_scored_boxes

        pixels = as_rgb(image)
        if pixels.shape[:2] != tuple(self.image_size):
            raise ValueError(
                f"The image is {pixels.shape[:2]}, these are faces of one of {self.image_size} "
                "(height, width)"
            )
        drawn = draw_scored_boxes(pixels, self.boxes, self.scores)
        return drawn if hasattr(image, "dtype") else Image.fromarray(drawn)
