"""Non-maximum suppression in NumPy."""

import numpy as np


def nms(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Indices of the boxes that stay, best first; of equal scores the first is the better.

    A box leaves if its IoU with a better one that stays is above the threshold, in the boxes'
    precision: as ONNX' NonMaxSuppression, and torchvision's on CUDA.

    Args:
        boxes: (n, 4) XYXY.
        scores: (n,).
        threshold: of the IoU.
    """
    rest = np.argsort(-scores, kind="stable")
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1) * (y2 - y1)
    limit = boxes.dtype.type(threshold)
    kept = []
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(best)
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        shared = width.clip(min=0) * height.clip(min=0)
        rest = rest[shared <= limit * (areas[best] + areas[rest] - shared)]
    return np.array(kept, dtype=np.int64)
