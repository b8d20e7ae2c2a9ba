"""Face detector on ONNX Runtime, without torch and detectron2:

from srn_d2.export.onnx_predictor import OnnxFaceDetector

detector = OnnxFaceDetector("lite.onnx")
faces = detector("photo.jpg")

It needs numpy, Pillow, opencv-python-headless and onnxruntime.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from srn_d2.inference.defaults import SCORE_THRESHOLD
from srn_d2.inference.detections import Detections
from srn_d2.inference.export_metadata import ExportMetadata
from srn_d2.inference.image_detector import ImageDetector
from srn_d2.inference.onnx_network import OnnxNetwork
from srn_d2.inference.onnx_session import Providers, import_onnxruntime, open_session
from srn_d2.inference.views import MAX_PIXELS, ViewPolicy

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["OnnxFaceDetector", "Providers", "import_onnxruntime", "open_session"]


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
        self.network = OnnxNetwork(path, threads=threads, providers=providers)
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

    @property
    def path(self) -> str:
        """Absolute path of the file."""
        return self.network.path

    @property
    def session(self) -> "InferenceSession":
        """ONNX Runtime's session."""
        return self.network.session

    @property
    def metadata(self) -> ExportMetadata:
        """The file's metadata."""
        return self.network.metadata

    def detect(self, images: np.ndarray) -> list[Detections]:
        """Run the network on a batch of images of one size; detections by descending score.

        Args:
            images: uint8 (N, H, W, 3), RGB.

        Returns:
            for each image, boxes in its pixels; for a file without NMS only detections that reach
            the score threshold.
        """
        return self.network.run(images, self.score_threshold)

    def _adapt_to_fork(self) -> None:
        self.network.adapt_to_fork()

    def _detect(self, images: Sequence[np.ndarray], single_scale: bool) -> list[Detections]:
        return self.network.detect(images, self.score_threshold)
