"""What detectors have in common: kinds of pictures, lists, errors, several views of one picture.

Needs neither torch nor detectron2.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple, overload

import numpy as np

from srn_d2.data.image_input import ImageInput, as_rgb
from srn_d2.data.image_io import InvalidImageError

from .array_nms import nms
from .faces import Faces
from .large_faces import inside_larger_face
from .views import View, ViewPolicy

CHUNK_IMAGES = 8
"""So many images of a list are decoded at a time."""


class Detections(NamedTuple):
    """What a network finds in a view.

    Attributes:
        boxes: (n, 4) float32, XYXY in pixels of the view's image.
        scores: (n,) float32, falling.
    """

    boxes: np.ndarray
    scores: np.ndarray


class ImageDetector(ABC):
    """Finds faces in pictures of any kind.

    Several threads may call one detector at the same time. Faces in a picture do not depend on
    which others are in the list with it.

    Args:
        view_policy: in which sizes the network sees a picture.
        score_threshold: faces have at least this score.
        nms_threshold: IoU above which the weaker of two faces, seen in two views, is dropped.
        max_faces: the most of a picture.

    Raises:
        ValueError: the score threshold is not between 0 and 1.
    """

    def __init__(
        self,
        view_policy: ViewPolicy,
        *,
        score_threshold: float,
        nms_threshold: float,
        max_faces: int,
    ):
        if not 0 <= score_threshold <= 1:
            raise ValueError(f"score_threshold is {score_threshold}, not between 0 and 1")
        self.view_policy = view_policy
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.max_faces = max_faces

    @property
    def max_pixels(self) -> int:
        """Images that have more are refused."""
        return self.view_policy.max_pixels

    @overload
    def __call__(self, images: ImageInput) -> Faces: ...

    @overload
    def __call__(
        self, images: Sequence[ImageInput], errors: Literal["raise"] = "raise"
    ) -> list[Faces]: ...

    @overload
    def __call__(
        self, images: Sequence[ImageInput], errors: Literal["return"]
    ) -> list[Faces | InvalidImageError | OSError]: ...

    def __call__(self, images, errors="raise"):
        """The faces of an image, or of each image of a list.

        Args:
            images: a path, a Pillow image, a uint8 array (H, W, 3) RGB or (H, W) grey, a uint8
                tensor (3, H, W) RGB, or a list or tuple of such.
            errors: what happens at an image that cannot be used: "raise", or "return": its
                exception stands in its place in the list, and the others are done.

        Returns:
            for one image its faces; for a list a list of the same length.

        Raises:
            InvalidImageError: an image is none, is truncated, has too many pixels or none, or is
                of a wrong dtype or shape: a subclass for each.
            OSError: a file cannot be read.
        """
        if errors not in ("raise", "return"):
            raise ValueError(f"errors is {errors!r}; valid are 'raise' and 'return'")
        if not isinstance(images, (list, tuple)):
            [faces] = self._detect_chunk([images], errors)
            return faces
        starts = range(0, len(images), CHUNK_IMAGES)
        chunks = (images[start : start + CHUNK_IMAGES] for start in starts)
        return [faces for chunk in chunks for faces in self._detect_chunk(chunk, errors)]

    def _detect_chunk(
        self, images: Sequence[ImageInput], errors: str
    ) -> list[Faces | InvalidImageError | OSError]:
        """The faces of images that are in memory together."""
        views: list[View] = []
        results: list = []
        for index, image in enumerate(images):
            try:
                views += self._views(index, as_rgb(image, self.max_pixels))
                results.append(None)
            except (InvalidImageError, OSError) as error:
                if errors == "raise":
                    raise
                results.append(error)
        found: dict[int, list[Detections]] = {}
        sizes: dict[int, tuple[int, int]] = {}
        for view, detections in zip(views, self._run_all(views), strict=True):
            found.setdefault(view.index, []).append(self._filter(detections, view))
            sizes[view.index] = view.image_size
        return [
            self._merge(found[index], sizes[index]) if error is None else error
            for index, error in enumerate(results)
        ]

    def _views(self, index: int, image: np.ndarray) -> list[View]:
        """What the network sees of an image (H, W, 3)."""
        return self.view_policy.views(index, image)

    @abstractmethod
    def _run_all(self, views: Sequence[View]) -> list[Detections]:
        """What the network finds in each view."""

    def _filter(self, found: Detections, view: View) -> Detections:
        """The detections that are good and large enough."""
        boxes, scores = found
        sizes = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
        chosen = (scores >= self.score_threshold) & (sizes >= view.min_size)
        return Detections(boxes[chosen], scores[chosen])

    def _merge(self, found: Sequence[Detections], image_size: tuple[int, int]) -> Faces:
        """The faces of all views of an image, best first, each once."""
        boxes, scores = found[0]
        if any(len(detections.scores) for detections in found[1:]):
            boxes, scores = (np.concatenate(values) for values in zip(*found, strict=True))
            is_downscaled = np.arange(len(scores)) >= len(found[0].scores)
            whole = ~inside_larger_face(boxes, scores, is_downscaled)
            boxes, scores = boxes[whole], scores[whole]
            kept = nms(boxes, scores, self.nms_threshold)[: self.max_faces]
            boxes, scores = boxes[kept], scores[kept]
        return Faces(boxes, scores, image_size)
