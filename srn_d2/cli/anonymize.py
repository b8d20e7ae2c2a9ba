"""Anonymisation of pictures: faces reduced to a few cells of colour."""

from typing import Literal

import cv2
import numpy as np

CELLS = 6
"""Cells along the longer side of a face."""

MARGIN = 0.1
"""Hidden margin around a box, as a fraction of the box's sides."""

Method = Literal["blur", "pixelate"]
# Interpolation by which the cells are enlarged.
INTERPOLATIONS = {"blur": cv2.INTER_LINEAR, "pixelate": cv2.INTER_NEAREST}


def pixelate(image: np.ndarray, boxes: np.ndarray, margin: float = MARGIN) -> np.ndarray:
    """Show each face as squares of its mean colours, ``CELLS`` along its longer side.

    Args:
        image: (H, W, 3), uint8 or uint16.
        boxes: (n, 4), XYXY.
        margin: hidden margin around a box, as a fraction of the box's sides.

    Returns:
        a copy of the image; pixels outside the boxes with their margins are unchanged.
    """
    hidden = image.copy()
    hide(hidden, boxes, "pixelate", margin)
    return hidden


def blur(image: np.ndarray, boxes: np.ndarray, margin: float = MARGIN) -> np.ndarray:
    """Show each face as a smooth interpolation of the mean colours of ``pixelate``."""
    hidden = image.copy()
    hide(hidden, boxes, "blur", margin)
    return hidden


def hide(image: np.ndarray, boxes: np.ndarray, method: Method, margin: float = MARGIN) -> None:
    """Downscale the boxes' pixels to few cells and enlarge these again, in place.

    Args:
        image: (H, W) or (H, W, C), uint8 or uint16.
        boxes, margin: see ``pixelate``.
        method: "blur" or "pixelate".
    """
    height, width = image.shape[:2]
    for x1, y1, x2, y2 in boxes.tolist():
        margin_x, margin_y = margin * (x2 - x1), margin * (y2 - y1)
        left, top = max(int(np.floor(x1 - margin_x)), 0), max(int(np.floor(y1 - margin_y)), 0)
        right = min(int(np.ceil(x2 + margin_x)), width)
        bottom = min(int(np.ceil(y2 + margin_y)), height)
        if left >= right or top >= bottom:
            continue
        face = image[top:bottom, left:right]
        cell = max(max(face.shape[:2]) / CELLS, 2)
        rows, columns = (max(round(side / cell), 1) for side in face.shape[:2])
        cells = cv2.resize(face, (columns, rows), interpolation=cv2.INTER_AREA)
        enlarged = cv2.resize(cells, face.shape[1::-1], interpolation=INTERPOLATIONS[method])
        face[:] = enlarged.reshape(face.shape)
