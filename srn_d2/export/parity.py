"""Comparison of an exported file's results with the model's in PyTorch."""

import os
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from detectron2.structures import ImageList
from torch import Tensor

from srn_d2.data.datasets.toy_scenes import SCENE_KINDS, draw_scene
from srn_d2.inference.detection_matching import compare_detections
from srn_d2.modeling.postprocessing import (
    SCORE_SIZE_LIMITS,
    PaperPostprocessing,
    scores_by_size,
)

from .exportable import ExportableModel
from .onnx_predictor import OnnxFaceDetector

MAX_BOX_DIFFERENCE = 0.05
"""Pixels."""
MAX_SCORE_DIFFERENCE = 1e-3


@dataclass(frozen=True)
class Parity:
    """Differences between a file's results and the model's.

    Attributes:
        num_expected, num_found: number of boxes of the model and of the file, over all images.
        box: largest difference of a corner's coordinate, in pixels.
        score: largest difference of a score.
        problems: descriptions of mismatches, one for each image that has any.
    """

    num_expected: int
    num_found: int
    box: float
    score: float
    problems: tuple[str, ...] = ()

    @property
    def is_close(self) -> bool:
        return (
            not self.problems
            and self.box <= MAX_BOX_DIFFERENCE
            and self.score <= MAX_SCORE_DIFFERENCE
        )


def check_picture() -> np.ndarray:
    """A fixed picture with drawn faces, (1, H, W, 3); H and W are odd."""
    pixels, _ = draw_scene(SCENE_KINDS[1], np.random.default_rng(0))
    height, width = pixels.shape[:2]
    return pixels[None, : height - 1 + height % 2, : width - 1 + width % 2]


@torch.no_grad()
def onnx_parity(model: ExportableModel, path: str | os.PathLike, images: np.ndarray) -> Parity:
    """Compare an ONNX file, run by ONNX Runtime, with the model's own detections.

    Detections are compared as sets: nearly equal scores may swap ranks, and may fall on either
    side of a threshold or of the top K.

    Args:
        images: uint8 (N, H, W, 3), RGB.
    """
    detector = OnnxFaceDetector(path, score_threshold=1.0, threads=torch.get_num_threads())
    threshold = detector.metadata.graph_threshold
    detector.score_threshold = threshold
    cut_range = partial(_by_size, exponent=model.model.postprocessing.size_exponent)
    expected = []
    for instances in model.model.detect(_preprocessed(model, images)):
        counts = instances.scores > threshold
        expected.append(
            (instances.pred_boxes.tensor[counts].numpy(), instances.scores[counts].numpy())
        )
    found = [(x.boxes, x.scores) for x in detector.detect(images)]
    comparisons = [
        compare_detections(
            *pair,
            box_tolerance=MAX_BOX_DIFFERENCE,
            score_tolerance=MAX_SCORE_DIFFERENCE,
            cut_scores=[threshold, *map(cut_range, cuts)],
            max_detections=detector.metadata.max_detections,
        )
        for *pair, cuts in zip(expected, found, _cut_scores(model, images), strict=True)
    ]
    return Parity(
        num_expected=sum(comparison.num_expected for comparison in comparisons),
        num_found=sum(comparison.num_found for comparison in comparisons),
        box=max(comparison.box_difference for comparison in comparisons),
        score=max(comparison.score_difference for comparison in comparisons),
        problems=tuple(c.description for c in comparisons if not c.is_same),
    )


@torch.no_grad()
def torchscript_parity(
    model: ExportableModel, path: str | os.PathLike, images: np.ndarray
) -> Parity:
    """Compare a TorchScript file's boxes and scores of all anchors with the dense network's.

    Args:
        images: uint8 (N, H, W, 3), RGB.
    """
    batch = _to_tensor(images)
    boxes, scores = model.network(batch)
    found_boxes, found_scores = torch.jit.load(path)(batch)
    if found_boxes.shape != boxes.shape:
        problem = f"boxes of shape {tuple(found_boxes.shape)} instead of {tuple(boxes.shape)}"
        return Parity(scores.numel(), found_scores.numel(), np.inf, np.inf, (problem,))
    return Parity(
        num_expected=scores.numel(),
        num_found=found_scores.numel(),
        box=float((found_boxes - boxes).abs().max()),
        score=float((found_scores - scores).abs().max()),
    )


def _preprocessed(model: ExportableModel, images: np.ndarray) -> ImageList:
    """Images normalised and padded by the model, not by the exported graph."""
    in_order = images if model.network.image_format == "RGB" else images[..., ::-1].copy()
    return model.model.preprocess_image([{"image": image} for image in _to_tensor(in_order)])


def _to_tensor(images: np.ndarray) -> Tensor:
    """(N, H, W, 3) -> (N, 3, H, W)"""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def _by_size(score: float, exponent: float) -> tuple[float, float]:
    """The lowest and the highest score that a box may have for this score of the network."""
    smallest, largest = SCORE_SIZE_LIMITS
    boxes = torch.tensor([[0.0, 0, smallest, smallest], [0, 0, largest, largest]])
    lowest, highest = scores_by_size(boxes, torch.full((2,), score), exponent).tolist()
    return lowest, highest


def _cut_scores(model: ExportableModel, images: np.ndarray) -> list[list[float]]:
    """Scores of the network at which the model cuts the candidates of NMS, for each image."""
    rules = model.model.postprocessing
    predictions = model.network.flatten(model.network.predict(_to_tensor(images)))
    scores = [scores for _, scores in model.network.decode(predictions)]
    if isinstance(rules, PaperPostprocessing):  # the best of all levels, not of each
        scores = [torch.cat(scores, dim=1)]
    most = rules.topk_candidates
    last = [x.topk(most).values[:, -1].tolist() for x in scores if x.shape[1] > most]
    return [[rules.score_threshold, *(cut[index] for cut in last)] for index in range(len(images))]
