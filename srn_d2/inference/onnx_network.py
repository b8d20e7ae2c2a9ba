"""An exported network on ONNX Runtime: from images to detections, in bounded memory.

Needs neither torch nor detectron2.

N images of H x W pixels
"""

import os
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from .array_postprocessing import choose_detections
from .detections import Detections
from .export_metadata import ExportMetadata
from .large_faces import longest_side_found
from .merging import merge_by_nms
from .onnx_session import Providers, open_session
from .tiled_inference import detect_within_memory
from .tiles import MAX_TILE_PIXELS, padded_pixels


class OnnxNetwork:
    """A network in a file of ``srn-d2 export`` or of the package.

    Several threads may use it at the same time. It can be pickled: the file is opened again.

    Attributes:
        path: absolute path of the file.
        session: ``onnxruntime.InferenceSession``.
        metadata: the file's metadata.
        max_tile_pixels: images of more pixels are processed in tiles.
        max_tile_face: longer side in pixels of the largest face that fits within a tile.

    Args:
        path: the file, with NMS or without.
        threads: number of ONNX Runtime's threads; None: number of cores.
        providers: execution providers of ONNX Runtime in order of preference, such as
            ("CUDAExecutionProvider", "CPUExecutionProvider"), or a single one. A pair of a name and
            a dict has options: [("CUDAExecutionProvider", {"device_id": 1}), ...].

    Raises:
        ImportError: onnxruntime is not installed.
        FileNotFoundError: there is no such file.
        ValueError: it is no model of this project's export, or an argument has a wrong value.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        threads: int | None = None,
        providers: Providers = ("CPUExecutionProvider",),
    ):
        self.path = os.path.abspath(path)
        self._session_options: dict[str, Any] = {"threads": threads, "providers": providers}
        self.session = open_session(path, **self._session_options)
        try:
            properties = self.session.get_modelmeta().custom_metadata_map
            self.metadata = ExportMetadata.from_properties(properties)
        except ValueError as error:
            raise ValueError(f"{path} cannot be used: {error}") from error
        self.max_tile_pixels = MAX_TILE_PIXELS
        self.max_tile_face = longest_side_found(self.metadata.largest_face)

    def __getstate__(self) -> dict[str, Any]:
        """All but ONNX Runtime's session, which is opened anew from ``path``."""
        sessions = ("session", "_parents_session")
        return {name: value for name, value in self.__dict__.items() if name not in sessions}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.session = open_session(self.path, **self._session_options)

    def adapt_to_fork(self) -> None:
        """Open the file again in a forked process, which lacks its parent's threads."""
        # Freeing the parent's session would wait for its threads, which are not in this process.
        self._parents_session = self.session
        self.session = open_session(self.path, **self._session_options)
        cv2.setNumThreads(0)

    def run(self, images: np.ndarray, score_threshold: float = 0.0) -> list[Detections]:
        """Run the network on images of one size; detections by descending score.

        Args:
            images: uint8 (N, H, W, 3), RGB.
            score_threshold: minimum score of the detections of a file without NMS.

        Returns:
            for each image, boxes in its pixels, which may reach beyond it; for a file without NMS
            only detections that reach the score threshold.
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
            chosen = choose_detections(
                image_boxes, image_scores, size, self.metadata, score_threshold
            )
            found.append(Detections.of_faces(*chosen))
        return found

    def detect(
        self, images: Sequence[np.ndarray], score_threshold: float = 0.0
    ) -> list[Detections]:
        """Detect faces in images of one size, in tiles where they have too many pixels.

        Args:
            images: uint8 (H, W, 3), RGB.
            score_threshold: see ``run``.

        Returns:
            for each image boxes in its pixels, clipped to it, by descending score.
        """
        height, width = images[0].shape[:2]
        if padded_pixels(height, width) <= self.max_tile_pixels:
            found = self.run(np.stack(images), score_threshold)
        else:
            found = [self._detect_in_tiles(image, score_threshold) for image in images]
        return [detections.clip((height, width)) for detections in found]

    def _detect_in_tiles(self, image: np.ndarray, score_threshold: float) -> Detections:
        """Detections in an image (H, W, 3), whole or in tiles."""
        rules = self.metadata
        return detect_within_memory(
            lambda tile: self.run(tile[None], score_threshold)[0],
            image,
            merge=lambda found: merge_by_nms(found, rules.nms_threshold, rules.max_detections),
            max_face=self.max_tile_face,
            name="an image",
            max_pixels=self.max_tile_pixels,
        )
