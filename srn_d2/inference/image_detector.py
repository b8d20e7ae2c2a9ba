"""What detectors have in common: kinds of pictures, lists, errors, several views of one picture.

Needs neither torch nor detectron2.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, overload

import numpy as np

from srn_d2.data.image_input import ImageInput, as_rgb
from srn_d2.data.image_io import InvalidImageError

from .detections import Detections
from .faces import Faces
from .merging import merge_passes
from .views import View, ViewPolicy, batches

CHUNK_IMAGES = 8
"""So many images of a list are decoded at a time."""


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

    size_divisibility = 1
    """Pixels to whose multiples the network pads each image of a batch."""

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

    @overload  # a str is a sequence of str, too: the first one that fits counts
    def __call__(self, images: ImageInput) -> Faces: ...  # type: ignore[overload-overlap]

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
        owners: list[int] = []  # of each view, its image's index
        results: list = []
        for index, image in enumerate(images):
            try:
                views += self._views(as_rgb(image, self.max_pixels))
                owners += [index] * (len(views) - len(owners))
                results.append([])
            except (InvalidImageError, OSError) as error:
                if errors == "raise":
                    raise
                results.append(error)
        for index, view, found in zip(owners, views, self._run_all(views), strict=True):
            results[index].append((view, self._filter(found, view)))
        return [self._merge(x) if isinstance(x, list) else x for x in results]

    def _views(self, image: np.ndarray) -> list[View]:
        """What the network sees of an image (H, W, 3)."""
        return self.view_policy.views(image)

    def _run_all(self, views: Sequence[View]) -> list[Detections]:
        """What the network finds in each view."""
        found: dict[int, Detections] = {}
        for batch in batches(views, self.size_divisibility):
            images = [views[index].pixels for index in batch]
            in_batch = self._detect(images, single_scale=views[batch[0]].is_downscaled)
            found.update(zip(batch, in_batch, strict=True))
        return [found[index] for index in range(len(views))]

    @abstractmethod
    def _detect(self, images: Sequence[np.ndarray], single_scale: bool) -> list[Detections]:
        """What the network finds in a batch of images.

        Args:
            images: uint8 (h, w, 3), RGB, of one size after padding.
            single_scale: without multi-scale testing, where a detector has it.

        Returns:
            for each image boxes in its pixels, clipped to it.
        """

    def _filter(self, found: Detections, view: View) -> Detections:
        """The detections in a view that are good and large enough, in pixels of its image."""
        return view.in_image(found.take(found.scores >= self.score_threshold))

    def _merge(self, passes: Sequence[tuple[View, Detections]]) -> Faces:
        """The faces of all views of an image, best first, each once."""
        views, found = zip(*passes, strict=True)
        faces = merge_passes(found, self.nms_threshold, self.max_faces)
        return Faces(faces.boxes, faces.scores, views[0].image_size)
