"""Does an exported file compute what the model does in PyTorch?"""

import os
from dataclasses import dataclass

import numpy as np
import torch
from detectron2.structures import ImageList
from torch import Tensor

from srn_d2.data.datasets.toy_scenes import SCENE_KINDS, draw_scene

from .exportable import ExportableModel
from .onnx_predictor import OnnxFaceDetector

MAX_BOX_DIFFERENCE = 0.05
"""Pixels."""
MAX_SCORE_DIFFERENCE = 1e-3


@dataclass(frozen=True)
class Parity:
    """How far a file's results are from the model's.

    Attributes:
        num_expected, num_found: boxes that the model and that the file gives, of all images.
        box: largest difference of a corner's coordinate, in pixels.
        score: largest difference of a score.
    """

    num_expected: int
    num_found: int
    box: float
    score: float

    @property
    def is_close(self) -> bool:
        return (
            self.num_expected == self.num_found
            and self.box <= MAX_BOX_DIFFERENCE
            and self.score <= MAX_SCORE_DIFFERENCE
        )


def check_picture() -> np.ndarray:
    """A picture with drawn faces, (1, H, W, 3), always the same; H and W are odd."""
    pixels, _ = draw_scene(SCENE_KINDS[1], np.random.default_rng(0))
    height, width = pixels.shape[:2]
    return pixels[None, : height - 1 + height % 2, : width - 1 + width % 2]


@torch.no_grad()
def onnx_parity(model: ExportableModel, path: str | os.PathLike, images: np.ndarray) -> Parity:
    """An ONNX file, run by ONNX Runtime, against the model's own detections.

    Which of nearly equal scores are the best 750 is not defined: without training, and with a low
    threshold, both may be right and differ.

    Args:
        images: uint8 (N, H, W, 3), RGB.
    """
    detector = OnnxFaceDetector(path, score_threshold=1.0, threads=torch.get_num_threads())
    threshold = detector.metadata.graph_threshold
    detector.score_threshold = threshold
    expected = []
    for instances in model.model.detect(_preprocessed(model, images)):
        counts = instances.scores > threshold
        expected.append(
            (instances.pred_boxes.tensor[counts].numpy(), instances.scores[counts].numpy())
        )
    found = detector.detect(images)
    differences = [_difference(*pair) for pair in zip(expected, found, strict=True)]
    return Parity(
        num_expected=sum(len(scores) for _, scores in expected),
        num_found=sum(len(scores) for _, scores in found),
        box=max(box for box, _ in differences),
        score=max(score for _, score in differences),
    )


@torch.no_grad()
def torchscript_parity(
    model: ExportableModel, path: str | os.PathLike, images: np.ndarray
) -> Parity:
    """A TorchScript file's boxes and scores of all anchors against the dense network's.

    Args:
        images: uint8 (N, H, W, 3), RGB.
    """
    batch = _to_tensor(images)
    boxes, scores = model.network(batch)
    found_boxes, found_scores = torch.jit.load(path)(batch)
    if found_boxes.shape != boxes.shape:
        return Parity(scores.numel(), found_scores.numel(), np.inf, np.inf)
    return Parity(
        num_expected=scores.numel(),
        num_found=found_scores.numel(),
        box=float((found_boxes - boxes).abs().max()),
        score=float((found_scores - scores).abs().max()),
    )


def _preprocessed(model: ExportableModel, images: np.ndarray) -> ImageList:
    """Normalised and padded by the model itself, not by what was exported."""
    in_order = images if model.network.image_format == "RGB" else images[..., ::-1].copy()
    return model.model.preprocess_image([{"image": image} for image in _to_tensor(in_order)])


def _to_tensor(images: np.ndarray) -> Tensor:
    """(N, H, W, 3) to (N, 3, H, W)"""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def _difference(
    expected: tuple[np.ndarray, np.ndarray], found: tuple[np.ndarray, np.ndarray]
) -> tuple[float, float]:
    """Largest difference of boxes and of scores between each expected box and the next one found.

    The order is no help: nearly equal scores may change places.
    """
    (boxes, scores), (found_boxes, found_scores) = expected, found
    if len(boxes) == 0 or len(found_boxes) == 0:
        return 0.0, 0.0
    distances = np.abs(boxes[:, None] - found_boxes[None]).max(axis=2)  # (n, m)
    nearest = distances.argmin(axis=1)
    score_difference = np.abs(scores - found_scores[nearest]).max()
    return float(distances.min(axis=1).max()), float(score_difference)
