"""Assertions on detections, of whatever kind a test has them."""

from typing import Any

import numpy as np
from torch import Tensor

from srn_d2.inference.detection_matching import ScoredBoxes, compare_detections

BOX_TOLERANCE = 0.01
"""Pixels. Two ways of computing the same differ by less than 1e-3 on any instruction set."""
SCORE_TOLERANCE = 1e-5
"""By less than 5e-6."""


def arrays(detections: Any) -> ScoredBoxes:
    """Boxes (n, 4) and scores (n,) of Instances, of Faces, of (n, 5) rows or of a pair of both."""
    if hasattr(detections, "pred_boxes"):
        return _to_numpy(detections.pred_boxes.tensor), _to_numpy(detections.scores)
    if hasattr(detections, "boxes"):
        return detections.boxes, detections.scores
    if isinstance(detections, np.ndarray | Tensor):
        rows = _to_numpy(detections)
        return rows[:, :4], rows[:, 4]
    boxes, scores = detections
    return _to_numpy(boxes), _to_numpy(scores)


def assert_same_detections(
    found: Any,
    expected: Any,
    *,
    box_tolerance: float = BOX_TOLERANCE,
    score_tolerance: float = SCORE_TOLERANCE,
    at_least: int = 1,
    **cuts: Any,
) -> None:
    """Require the same detections of one image, in whatever order.

    Where both know the image's size, it must be the same, too.

    Args:
        at_least: so many there must be: two empty sets would show nothing.
        cuts: as of :func:`srn_d2.inference.detection_matching.compare_detections`.
    """
    sizes = {x.image_size for x in (found, expected) if hasattr(x, "image_size")}
    assert len(sizes) <= 1
    comparison = compare_detections(
        arrays(expected),
        arrays(found),
        box_tolerance=box_tolerance,
        score_tolerance=score_tolerance,
        **cuts,
    )
    assert comparison.is_same, comparison.description
    assert comparison.num_expected >= at_least


def assert_best_first(detections: Any) -> None:
    """Require scores in descending order, which a comparison of sets does not look at."""
    _, scores = arrays(detections)
    assert (np.diff(scores) <= 0).all()


def _to_numpy(values: Any) -> np.ndarray:
    return (
        values.detach().float().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    )
