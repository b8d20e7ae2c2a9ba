"""Base class of the detectors: input types, lists, errors, several views of one picture.

Needs neither torch nor detectron2.
"""

import os
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
"""Number of images of a list that are decoded at a time."""


class ImageDetector(ABC):
    """Finds faces in pictures of any kind.

    Several threads may call one detector at the same time. Faces in a picture do not depend on
    which others are in the list with it.

    Args:
        view_policy: sizes in which a picture is passed to the network.
        score_threshold: minimum score of a face.
        nms_threshold: IoU above which the weaker of two faces from two views is dropped.
        max_faces: maximum number of faces of a picture.

    Raises:
        ValueError: the score threshold is not between 0 and 1.
    """

    size_divisibility = 1
    """Multiple, in pixels, to which the network pads height and width of a batch."""

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
        self._process = os.getpid()

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _process=os.getpid())  # unpickled: nothing is shared

    def _adapt_to_fork(self) -> None:  # noqa: B027 -- there may be nothing to do
        """Make this copy usable in a forked process, which lacks its parent's threads.

        Raises:
            RuntimeError: that is not possible.
        """

    @property
    def max_pixels(self) -> int:
        """Maximum number of pixels of an image; larger ones are refused."""
        return self.view_policy.max_pixels

    @overload  # a str is a sequence of str, too: the first match wins
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
            errors: handling of an image that cannot be used: "raise", or "return": its exception
                takes its place in the list, and the other images are processed.

        Returns:
            for one image its faces; for a list a list of the same length.

        Raises:
            InvalidImageError: an image is not decodable, is truncated, has too many pixels or
                none, or is of a wrong dtype or shape: a subclass for each.
            OSError: a file cannot be read.
            RuntimeError: the process was forked from one that uses the detector on a GPU.
        """
        if errors not in ("raise", "return"):
            raise ValueError(f"errors is {errors!r}; valid are 'raise' and 'return'")
        if self._process != os.getpid():
            self._adapt_to_fork()
            self._process = os.getpid()
        if not isinstance(images, (list, tuple)):
            [faces] = self._detect_chunk([images], errors)
            return faces
        starts = range(0, len(images), CHUNK_IMAGES)
        chunks = (images[start : start + CHUNK_IMAGES] for start in starts)
        return [faces for chunk in chunks for faces in self._detect_chunk(chunk, errors)]

    def _detect_chunk(
        self, images: Sequence[ImageInput], errors: str
    ) -> list[Faces | InvalidImageError | OSError]:
        """Detect the faces of a chunk of images, all in memory at once."""
        views: list[View] = []
        owners: list[int] = []  # image index of each view
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
        """The network's inputs for an image (H, W, 3)."""
        return self.view_policy.views(image)

    def _run_all(self, views: Sequence[View]) -> list[Detections]:
        """Run the network on all views, in batches: the detections of each."""
        found: dict[int, Detections] = {}
        for batch in batches(views, self.size_divisibility):
            images = [views[index].pixels for index in batch]
            in_batch = self._detect(images, single_scale=views[batch[0]].is_downscaled)
            found.update(zip(batch, in_batch, strict=True))
        return [found[index] for index in range(len(views))]

    @abstractmethod
    def _detect(self, images: Sequence[np.ndarray], single_scale: bool) -> list[Detections]:
        """Run the network on a batch of images.

        Args:
            images: uint8 (h, w, 3), RGB, of one size after padding.
            single_scale: without multi-scale testing, where a detector has it.

        Returns:
            for each image boxes in its pixels, clipped to it.
        """

    def _filter(self, found: Detections, view: View) -> Detections:
        """Filter a view's detections by score and size; boxes in pixels of its image."""
        return view.in_image(found.take(found.scores >= self.score_threshold))

    def _merge(self, passes: Sequence[tuple[View, Detections]]) -> Faces:
        """Merge the detections of all views of an image, by descending score."""
        views, found = zip(*passes, strict=True)
        faces = merge_passes(found, self.nms_threshold, self.max_faces)
        return Faces(faces.boxes, faces.scores, views[0].image_size)
