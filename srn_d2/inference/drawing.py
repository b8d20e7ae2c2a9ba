"""Boxes and scores on pictures. Needs neither torch nor detectron2."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

DETECTION_COLOR = "lime"
# Scores are left out of pictures with more faces than this: they would hide the faces.
MAX_SCORED_FACES = 30
# Pixels of an image's longer side for each of a line's width, and of the letters' height.
SIDE_PER_LINE, SIDE_PER_LETTER = 300, 45
MIN_LETTER = 11


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    colors: Sequence[str],
    labels: Sequence[str] | None = None,
) -> np.ndarray:
    """Draw boxes on a copy of an image.

    Args:
        image: uint8 (H, W, 3), RGB.
        boxes: (M, 4), XYXY.
        colors: CSS color of each box.
        labels: text of each box, above it or, at the upper edge of the image, inside; None: no
            text.
    """
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    side = max(image.shape[:2])
    width = max(round(side / SIDE_PER_LINE), 1)
    # A pixel's centre is at its index and a half.
    corners = np.floor(np.asarray(boxes, dtype=float).reshape(-1, 4)).astype(int)
    areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    # Small faces last, so that they are not hidden.
    order = np.argsort(-areas, kind="stable")
    for index in order:
        draw.rectangle(corners[index].tolist(), outline=colors[index], width=width)
    if labels is None:
        return np.array(picture)
    font = ImageFont.load_default(max(side / SIDE_PER_LETTER, MIN_LETTER))
    for index in order:
        x1, y1, x2, y2 = draw.textbbox((0, 0), labels[index], font=font)
        left, top = corners[index, :2].tolist()
        left = min(max(left, 0), max(image.shape[1] - (x2 - x1), 0))
        top = top - (y2 - y1) if top >= y2 - y1 else max(top, 0)
        draw.rectangle((left, top, left + x2 - x1, top + y2 - y1), fill="black")
        draw.text((left - x1, top - y1), labels[index], fill=colors[index], font=font)
    return np.array(picture)


def draw_scored_boxes(image: np.ndarray, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Draw detections, with their scores unless there are many.

    Args:
        image: uint8 (H, W, 3), RGB.
        boxes: (n, 4), XYXY.
        scores: (n,).
    """
    labels = None
    if len(boxes) <= MAX_SCORED_FACES:
        labels = [f"{score:.2f}" for score in scores.tolist()]
    return draw_boxes(image, boxes, [DETECTION_COLOR] * len(boxes), labels)
