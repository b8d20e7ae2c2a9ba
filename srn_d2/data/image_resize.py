"""Resizing of pixels, in data loading and in detection alike. Needs no torch."""

import cv2
import numpy as np

# Bilinear sampling reads two pixels a side: beyond this reduction it would skip some.
MAX_BILINEAR_REDUCTION = 2.0


def resize_pixels(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image (H, W, C) or (H, W) in another size, in pixels.

    Bilinear up to a reduction of 2, mean of the covered area beyond, so that every pixel counts.
    """
    reduction = max(image.shape[0] / height, image.shape[1] / width)
    method = cv2.INTER_LINEAR if reduction <= MAX_BILINEAR_REDUCTION else cv2.INTER_AREA
    return cv2.resize(image, (width, height), interpolation=method)
