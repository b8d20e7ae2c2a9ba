"""Warnings of common mistakes in a set of predictions that lower its AP."""

from collections.abc import Mapping

import numpy as np

from .assignment import ImageId

# A detector whose weakest detection scores above this has cut off its precision-recall curve.
SCORE_FLOOR = 0.05
# COCO tools keep this many detections an image unless told otherwise.
COCO_MAX_DETECTIONS = 100


def prediction_warnings(
    predictions: Mapping[ImageId, np.ndarray],
    boxes: Mapping[ImageId, np.ndarray],
    ports: bool = True,
) -> list[str]:
    """One line of text for each sign that is found.

    Args:
        predictions: image id -> (n, 5) x, y, w, h, score, in the order of the file, of the
            evaluated images only.
        boxes: image id -> (M, 4), all annotated faces.
        ports: warn of what makes a difference to the popular Python ports of the protocol.
    """
    arrays = [np.asarray(array).reshape(-1, 5) for array in predictions.values()]
    scores = np.concatenate([np.zeros(0), *(array[:, 4] for array in arrays)])
    if len(scores) == 0:
        return ["there is not a single detection"]
    warnings = [_cut(predictions, boxes), *_score_range(scores), _unsorted(arrays) if ports else ""]
    return [warning for warning in warnings if warning]


def _cut(
    predictions: Mapping[ImageId, np.ndarray], boxes: Mapping[ImageId, np.ndarray]
) -> str | None:
    """Several images share the largest number of detections, and it is one that costs recall."""
    counts = np.array([len(array) for array in predictions.values()])
    limit = counts.max()
    num_at_limit = np.count_nonzero(counts == limit)
    num_lost = sum(max(len(boxes[image_id]) - limit, 0) for image_id in predictions)
    is_coco = limit == COCO_MAX_DETECTIONS
    if not is_coco and (num_at_limit < 2 or num_lost == 0):
        return None
    lost = f"; {num_lost} annotated faces lie beyond that" if num_lost else ""
    hint = " (COCO's default: raise the detector's limit)" if is_coco else ""
    return f"detections seem to be cut at {limit} an image ({num_at_limit} images){hint}{lost}"


def _score_range(scores: np.ndarray) -> list[str]:
    lowest, highest = scores.min(), scores.max()
    warnings = []
    if lowest == highest:
        warnings.append(
            f"all scores are {lowest:g}: the protocol's normalisation leaves no detection"
        )
    if lowest > SCORE_FLOOR:
        warnings.append(
            f"no score is below {lowest:.4g}: a threshold above {SCORE_FLOOR} cuts the curve at "
            "its high-recall end"
        )
    num_outside = np.count_nonzero((scores < 0) | (scores > 1))
    if num_outside:
        warnings.append(f"{num_outside} scores lie outside [0, 1] ({lowest:.4g} to {highest:.4g})")
    return warnings


def _unsorted(arrays: list[np.ndarray]) -> str | None:
    num_unsorted = sum((np.diff(array[:, 4]) > 0).any() for array in arrays)
    if not num_unsorted:
        return None
    return (
        f"{num_unsorted} files are not sorted by score: it makes no difference here, but the "
        "popular Python ports of the protocol give lower numbers on them"
    )
