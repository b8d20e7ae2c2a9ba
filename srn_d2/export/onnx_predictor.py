"""Face detector on ONNX Runtime, without torch and detectron2:

from srn_d2.export.onnx_predictor import OnnxFaceDetector

detector = OnnxFaceDetector("lite.onnx")
faces = detector("photo.jpg")

It needs numpy, Pillow, opencv-python-headless and onnxruntime.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from srn_d2.inference.defaults import SCORE_THRESHOLD
from srn_d2.inference.detections import Detections
from srn_d2.inference.image_detector import ImageDetector
from srn_d2.inference.large_faces import longest_side_found
from srn_d2.inference.merging import merge_by_nms
from srn_d2.inference.tiled_inference import detect_within_memory
from srn_d2.inference.tiles import MAX_TILE_PIXELS, padded_pixels
from srn_d2.inference.views import MAX_PIXELS, ViewPolicy

from .array_postprocessing import choose_detections
from .metadata import ExportMetadata

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


logger = logging.getLogger(__name__)

Providers = str | Sequence[str | tuple[str, Mapping[str, Any]]]
"""Execution providers of ONNX Runtime: a name, or names in order of preference, each with options
if it is a pair."""


class OnnxFaceDetector(ImageDetector):
    """Finds faces in pictures of any kind with an exported model, like ``FaceDetector``.

    Calls, results and errors are ``FaceDetector``'s. Several threads may call one detector at the
    same time. It can be pickled, and used in a forked process: the file is opened again there.

    Args:
        path: a file written by ``srn-d2 export`` or ``export_onnx``, with NMS or without.
        score_threshold: minimum score of a face.
        size: size of the network's input: "original", or its longer side in pixels.
        min_face_size: alternative to ``size``: size in pixels of the smallest faces wanted.
        large_faces: run further passes over downscaled images.
        max_pixels: images with more pixels, before or after enlarging, are refused. Images of more
            than 4096 x 4096 pixels are processed in overlapping tiles, which bounds memory.
        threads: number of ONNX Runtime's threads; None: number of cores.
        providers: execution providers of ONNX Runtime in order of preference, such as
            ("CUDAExecutionProvider", "CPUExecutionProvider"), or a single one. A pair of a name and
            a dict has options: [("CUDAExecutionProvider", {"device_id": 1}), ...].

    Raises:
        ImportError: onnxruntime is not installed.
        FileNotFoundError: there is no such file.
        ValueError: it is no model of this project's export, or an argument has a wrong value, such
            as a score threshold below that of the graph's NMS.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        score_threshold: float = SCORE_THRESHOLD,
        size: int | Literal["original"] = "original",
        min_face_size: float | None = None,
        large_faces: bool = True,
        max_pixels: int = MAX_PIXELS,
        threads: int | None = None,
        providers: Providers = ("CPUExecutionProvider",),
    ):
        self.path = os.path.abspath(path)
        self._session_options = {"threads": threads, "providers": providers}
        self.session = open_session(path, threads=threads, providers=providers)
        try:
            properties = self.session.get_modelmeta().custom_metadata_map
            self.metadata = ExportMetadata.from_properties(properties)
        except ValueError as error:
            raise ValueError(f"{path} cannot be used: {error}") from error
        policy = ViewPolicy(
            anchor_sizes=self.metadata.anchor_sizes,
            largest_face=self.metadata.largest_face,
            size=size,
            min_face_size=min_face_size,
            large_faces=large_faces,
            max_pixels=max_pixels,
        )
        super().__init__(
            policy,
            score_threshold=score_threshold,
            nms_threshold=self.metadata.nms_threshold,
            max_faces=self.metadata.max_detections,
        )
        if score_threshold < self.metadata.graph_threshold:
            raise ValueError(
                f"score_threshold is {score_threshold}, but {path} was exported with "
                f"{self.metadata.graph_threshold}"
            )
        self.max_tile_pixels = MAX_TILE_PIXELS
        # Longer side in pixels of the largest face that fits within a tile.
        self.max_tile_face = longest_side_found(self.metadata.largest_face)

    def __getstate__(self) -> dict[str, Any]:
        """All but ONNX Runtime's session, which is opened anew from ``path``."""
        sessions = ("session", "_parents_session")
        return {name: value for name, value in self.__dict__.items() if name not in sessions}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.session = open_session(self.path, **self._session_options)

    def _adapt_to_fork(self) -> None:
        # Freeing the parent's session would wait for its threads, which are not in this process.
        self._parents_session = self.session
        self.session = open_session(self.path, **self._session_options)

    def detect(self, images: np.ndarray) -> list[Detections]:
        """Run the network on a batch of images of one size; detections by descending score.

        Args:
            images: uint8 (N, H, W, 3), RGB.

        Returns:
            for each image, boxes in its pixels; for a file without NMS only detections that reach
            the score threshold.
        """
        batch = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        [name] = [x.name for x in self.session.get_inputs()]
        boxes, scores, *image_index = self.session.run(None, {name: batch})
        if self.metadata.nms:
            chosen = [np.flatnonzero(image_index[0] == index) for index in range(len(images))]
            return [Detections.of_faces(boxes[c], scores[c]) for c in chosen]
        found = []
        for image_boxes, image_scores in zip(boxes, scores, strict=True):
            size = images.shape[1:3]
            # Anchors below the threshold cannot suppress any above it.
            image_scores = image_scores * (image_scores >= self.score_threshold)
            chosen = choose_detections(image_boxes, image_scores, size, self.metadata)
            found.append(Detections.of_faces(image_boxes[chosen], image_scores[chosen]))
        return found

    def _detect(self, images: Sequence[np.ndarray], single_scale: bool) -> list[Detections]:
        height, width = images[0].shape[:2]
        if padded_pixels(height, width) <= self.max_tile_pixels:
            found = self.detect(np.stack(images))
        else:
            found = [self._detect_in_tiles(image) for image in images]
        return [detections.clip((height, width)) for detections in found]

    def _detect_in_tiles(self, image: np.ndarray) -> Detections:
        """Detections in an image (H, W, 3), whole or in tiles."""
        return detect_within_memory(
            lambda tile: self.detect(tile[None])[0],
            image,
            merge=lambda found: merge_by_nms(found, self.nms_threshold, self.max_faces),
            max_face=self.max_tile_face,
            name="an image",
            max_pixels=self.max_tile_pixels,
        )


def open_session(
    path: str | os.PathLike,
    *,
    threads: int | None = None,
    providers: Providers = ("CPUExecutionProvider",),
) -> "InferenceSession":
    """An ``onnxruntime.InferenceSession`` for pictures of many sizes.

    Args:
        threads, providers: see ``OnnxFaceDetector``.

    Raises:
        ImportError, FileNotFoundError, ValueError: as ``OnnxFaceDetector``.
    """
    onnxruntime = import_onnxruntime()
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no {path}")
    chosen = _normalize_providers(providers, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    # ONNX Runtime caches a memory plan for each input size, of which there may be thousands.
    options.enable_mem_pattern = False
    try:
        # Without fallback: it would print an error and take the CPU.
        session = onnxruntime.InferenceSession(
            os.fspath(path), options, providers=chosen, enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's errors have no common base class
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    if chosen and chosen[0][0] not in session.get_providers():  # its libraries are not there
        logger.warning(
            "%s cannot be used: ONNX Runtime computes by %s", chosen[0][0], session.get_providers()
        )
    return session


def _normalize_providers(
    providers: Providers, available: Sequence[str]
) -> list[tuple[str, dict[str, Any]]]:
    """Names of execution providers, each with its options.

    Raises:
        ValueError: one is not available, or is neither a name nor a name with a dict.
    """
    pairs = []
    for provider in [providers] if isinstance(providers, str) else providers:
        name, options = (provider, {}) if isinstance(provider, str) else _as_pair(provider)
        if name not in available:
            raise ValueError(f"this onnxruntime has no {name}, only {list(available)}")
        pairs.append((name, {str(key): str(value) for key, value in options.items()}))
    return pairs


def _as_pair(provider: object) -> tuple[str, Mapping[str, Any]]:
    match provider:
        case (str() as name, Mapping() as options):
            return name, options
    raise ValueError(
        f"providers has {provider!r}: each is a name, such as 'CPUExecutionProvider', or a pair of "
        "a name and a dict of options"
    )


def import_onnxruntime() -> ModuleType:
    """Import the package onnxruntime.

    Raises:
        ImportError: it is not installed; the message says how to install it.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "OnnxFaceDetector needs onnxruntime: pip install 'srn_d2[export]'"
        ) from error
    return onnxruntime
