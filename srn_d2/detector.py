"""Faces in pictures, in three lines:

from srn_d2 import FaceDetector

detector = FaceDetector()
faces = detector("photo.jpg")
"""

import itertools
import os
from collections.abc import Sequence
from typing import Literal, overload

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from torchvision.ops import nms

from srn_d2.checkpoint.shipped_models import find_shipped_model
from srn_d2.data.image_input import ImageInput, as_rgb
from srn_d2.data.image_io import InvalidImageError
from srn_d2.engine.setup import build_cfg, check_device
from srn_d2.faces import Faces
from srn_d2.predictor import FacePredictor
from srn_d2.views import View, batches, resize

MAX_PIXELS = 100_000_000
"""Default limit of an image's pixels."""

CHUNK_IMAGES = 8
"""So many images of a list are decoded at a time."""

# The second look at large images. The lengths are in units of the largest anchor's size, the square
# root of its area: 362 pixels in SRN. A face of up to 1.4 times that still overlaps it well enough.
SECOND_LOOK_ABOVE = 2.0
"""An image whose longer side exceeds this is looked at again, reduced."""
SECOND_LOOK_SIDE = 1.41
"""The longer side of the reduced image: a face that fills it fits the largest anchor."""
LARGE_FACE = 0.55
"""Size, in the image as it is seen first, from which faces of the second look count."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class FaceDetector:
    """Finds faces in pictures of any kind.

    Several threads may call one detector at the same time. Faces in a picture do not depend on
    which others are in the list with it.

    The largest faces that one look finds are about 500 pixels high. An image larger than that
    calls for (longer side above 724 pixels) gets a second look at a longer side of 510 pixels,
    which adds faces above 200 pixels; it takes little time, and ``large_faces=False`` leaves it
    out.

    Args:
        model: one that comes with the package: "lite". Not used if a config is given.
        config_file: instead of it, a config file (or a whole config) of this project.
        weights: a checkpoint for that config; None: its MODEL.WEIGHTS.
        device: "auto" (CUDA if there is a GPU), "cpu", "cuda", "cuda:1", ...
        score_threshold: faces have at least this score.
        size: of the image that the network sees: "original"; the pixels of its longer side, to
            which it is reduced or enlarged; or "config": as INPUT.MIN_SIZE_TEST and MAX_SIZE_TEST
            say.
        min_face_size: instead of it, the size in pixels (square root of the area) of the smallest
            faces wanted: the image is reduced or enlarged until the smallest anchor, of 8 pixels,
            fits these. Large values are fast, small ones find more.
        dtype: "float32" or "bfloat16", in which the network computes: faster where the hardware
            has it, with slightly other boxes and scores.
        multi_scale: look at many sizes of each image and its mirror image, as TEST.SRN_TTA in the
            config says; ten times slower or more, finds more.
        large_faces: the second look.
        max_pixels: images that have more, or would have after enlarging, are refused.

    Raises:
        ValueError: an argument has a wrong value, or weights do not fit the config
            (``IncompatibleWeightsError``) or are damaged (``WeightsHashError``).
        FileNotFoundError: the model, the config or the weights are not there.
        RuntimeError: the device is a GPU and there is none.
    """

    def __init__(
        self,
        model: str = "lite",
        *,
        config_file: str | os.PathLike | CfgNode | None = None,
        weights: str | os.PathLike | None = None,
        device: str = "auto",
        score_threshold: float = 0.3,
        size: int | Literal["original", "config"] = "original",
        min_face_size: float | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        multi_scale: bool = False,
        large_faces: bool = True,
        max_pixels: int = MAX_PIXELS,
    ):
        _check_arguments(score_threshold, size, min_face_size, dtype, max_pixels)
        cfg = _load_cfg(model, config_file, weights)
        cfg.MODEL.DEVICE = _choose_device(device)
        cfg.TEST.SRN_TTA.ENABLED = multi_scale
        cfg.SOLVER.CPU_BFLOAT16 = False  # autocast around the whole does the same, on a GPU too
        check_device(cfg)
        anchor_sizes = list(itertools.chain(*cfg.MODEL.ANCHOR_GENERATOR.SIZES))
        self.smallest_anchor, self.largest_anchor = min(anchor_sizes), max(anchor_sizes)
        self.nms_threshold = cfg.MODEL.SRN.NMS_THRESH_TEST
        self.max_faces = cfg.TEST.DETECTIONS_PER_IMAGE
        self.device = torch.device(cfg.MODEL.DEVICE)
        self.score_threshold = score_threshold
        self.size = size
        self.min_face_size = min_face_size
        self.dtype = DTYPES[dtype]
        self.large_faces = large_faces
        self.max_pixels = max_pixels
        self._predictor = FacePredictor(cfg)

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
        found: list[list[Instances]] = [[] for _ in images]
        for view, instances in zip(views, self._run_all(views), strict=True):
            found[view.index].append(instances)
        return [
            self._merge(instances) if error is None else error
            for instances, error in zip(found, results, strict=True)
        ]

    def _views(self, index: int, image: np.ndarray) -> list[View]:
        """What the network sees of an image (H, W, 3): once, or twice if it is large."""
        height, width = image.shape[:2]
        if self.size == "config" and self.min_face_size is None:
            pixels = self._predictor.resize(image)
        else:
            pixels = resize(image, self._scale(height, width), self.max_pixels)
        views = [View(index, pixels, (height, width))]
        longer_side = max(pixels.shape[:2])
        if self.large_faces and longer_side > SECOND_LOOK_ABOVE * self.largest_anchor:
            scale = SECOND_LOOK_SIDE * self.largest_anchor / max(height, width)
            min_size = LARGE_FACE * self.largest_anchor * max(height, width) / longer_side
            reduced = resize(image, scale, self.max_pixels)
            views.append(View(index, reduced, (height, width), min_size, is_second_look=True))
        return views

    def _scale(self, height: int, width: int) -> float:
        """The factor of an image's sides that the size or the smallest face asks for."""
        if self.min_face_size is not None:
            return self.smallest_anchor / self.min_face_size
        return 1.0 if self.size == "original" else self.size / max(height, width)

    def _run_all(self, views: Sequence[View]) -> list[Instances]:
        """The faces of each view that count, in pixels of its image."""
        found = {}
        for batch in batches(views, self._predictor.size_divisibility):
            found.update(zip(batch, self._run([views[index] for index in batch]), strict=True))
        return [found[index] for index in range(len(views))]

    def _run(self, batch: Sequence[View]) -> list[Instances]:
        """The faces of views that form a batch."""
        with torch.autocast(self.device.type, torch.bfloat16, self.dtype == torch.bfloat16):
            found = self._predictor.detect(
                [view.pixels for view in batch],
                [view.image_size for view in batch],
                single_scale=batch[0].is_second_look,
            )
        return [
            instances[
                (instances.scores >= self.score_threshold)
                & (instances.pred_boxes.area().sqrt() >= view.min_size)
            ]
            for instances, view in zip(found, batch, strict=True)
        ]

    def _merge(self, found: Sequence[Instances]) -> Faces:
        """The faces of all views of an image, best first, each once."""
        merged = found[0]
        if any(len(instances) for instances in found[1:]):
            merged = Instances.cat(list(found))
            kept = nms(merged.pred_boxes.tensor, merged.scores, self.nms_threshold)
            merged = merged[kept[: self.max_faces]]
        return Faces(
            merged.pred_boxes.tensor.float().numpy(),
            merged.scores.float().numpy(),
            merged.image_size,
        )


def _check_arguments(
    score_threshold: float,
    size: int | str,
    min_face_size: float | None,
    dtype: str,
    max_pixels: int,
) -> None:
    """Raise a ValueError that names the first argument with a wrong value."""
    if not 0 <= score_threshold <= 1:
        raise ValueError(f"score_threshold is {score_threshold}, not between 0 and 1")
    if size not in ("original", "config") and not (isinstance(size, int) and size > 0):
        raise ValueError(f"size is {size!r}; valid are 'original', 'config' and pixels")
    if min_face_size is not None and (size != "original" or not min_face_size > 0):
        raise ValueError(
            f"min_face_size is {min_face_size}, size {size!r}: give one of them, positive"
        )
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}; valid are {list(DTYPES)}")
    if max_pixels <= 0:
        raise ValueError(f"max_pixels is {max_pixels}, not positive")


def _load_cfg(
    model: str,
    config_file: str | os.PathLike | CfgNode | None,
    weights: str | os.PathLike | None,
) -> CfgNode:
    """The config of a model that comes with the package or of the user's; MODEL.WEIGHTS is set."""
    if config_file is None:
        if weights is not None:
            raise ValueError("weights need the config_file that they belong to")
        shipped = find_shipped_model(model)
        config_file, weights = shipped.config_file, shipped.weights
    if isinstance(config_file, CfgNode):
        cfg = config_file.clone()
        cfg.defrost()
    else:
        cfg = build_cfg(os.fspath(config_file))
    if weights is not None:
        cfg.MODEL.WEIGHTS = os.fspath(weights)
    return cfg


def _choose_device(device: str) -> str:
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"
