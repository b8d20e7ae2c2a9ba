"""The bounds of a COCO segmentation: polygons, or a mask in run-length encoding (RLE)."""

from typing import Any

import numpy as np


def segmentation_bounds(segmentation: Any) -> tuple[list[float], str]:
    """The box around a segmentation.

    Args:
        segmentation: a list of polygons, each x1, y1, x2, y2, ... or [[x1, y1], ...]; one such
            polygon; or {"counts", "size"}, with the counts as numbers or as text.

    Returns:
        x, y, w, h and ""; or [] and what is wrong.
    """
    if not segmentation:
        return [], "there is neither a box nor a segmentation"
    if isinstance(segmentation, dict):
        return _mask_bounds(segmentation)
    try:
        points = np.concatenate(
            [np.asarray(polygon, dtype=np.float64).reshape(-1) for polygon in segmentation]
        ).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError):
        return [], "there is no box, and the segmentation holds no polygons of x and y"
    if len(points) < 2 or not np.isfinite(points).all():
        return [], "there is no box, and the segmentation holds no polygons of x and y"
    low, high = points.min(axis=0), points.max(axis=0)
    return [*low.tolist(), *(high - low).tolist()], ""


def _mask_bounds(rle: dict[str, Any]) -> tuple[list[float], str]:
    """pycocotools' bounds; the box spans whole pixels."""
    from pycocotools import mask as mask_utils

    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
        if height <= 0 or width <= 0:
            raise ValueError
        if isinstance(counts, list):
            if sum(counts) != height * width or min(counts, default=0) < 0:
                return [], "there is no box, and the RLE's counts do not add up to its size"
            size = [height, width]
            encoded = mask_utils.frPyObjects({"size": size, "counts": counts}, height, width)
        else:
            encoded = {"size": [height, width], "counts": counts.encode("ascii")}
        box = mask_utils.toBbox(encoded).tolist()
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return [], "there is no box, and the segmentation is no RLE with counts and size"
    return (box, "") if box[2] > 0 and box[3] > 0 else ([], "there is no box, and the RLE is empty")
