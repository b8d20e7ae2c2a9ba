"""Anonymisation of pictures: faces reduced to a few cells of colour."""

import cv2
import numpy as np

CELLS = 6
"""Cells along the longer side of a face."""

MARGIN = 0.1
"""Hidden margin around a box, as a fraction of the box's sides."""


def pixelate(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Show each face as squares of its mean colours, ``CELLS`` along its longer side.

    Args:
        image: uint8 (H, W, 3).
        boxes: (n, 4), XYXY.

    Returns:
        a copy of the image; pixels outside the boxes (with ``MARGIN``) are unchanged.
    """
    return _mosaic(image, boxes, cv2.INTER_NEAREST)


def blur(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Show each face as a smooth interpolation of the mean colours of ``pixelate``."""
    return _mosaic(image, boxes, cv2.INTER_LINEAR)


def _mosaic(image: np.ndarray, boxes: np.ndarray, enlarge: int) -> np.ndarray:
    """Downscale the boxes' pixels to few cells, and enlarge these by an OpenCV interpolation."""
    hidden = image.copy()
    height, width = image.shape[:2]
    for x1, y1, x2, y2 in boxes.tolist():
        margin_x, margin_y = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
        left, top = max(int(np.floor(x1 - margin_x)), 0), max(int(np.floor(y1 - margin_y)), 0)
        right = min(int(np.ceil(x2 + margin_x)), width)
        bottom = min(int(np.ceil(y2 + margin_y)), height)
        if left >= right or top >= bottom:
            continue
        face = hidden[top:bottom, left:right]
        cell = max(max(face.shape[:2]) / CELLS, 2)
        rows, columns = (max(round(side / cell), 1) for side in face.shape[:2])
        cells = cv2.resize(face, (columns, rows), interpolation=cv2.INTER_AREA)
        face[:] = cv2.resize(cells, (right - left, bottom - top), interpolation=enlarge)
    return hidden
