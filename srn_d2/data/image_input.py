"""Conversion of input images (files, Pillow images, arrays, tensors) to RGB arrays.

A tensor is recognised by its ``permute``: torch need not be installed for the others.
"""

import os
from typing import TYPE_CHECKING, Union

import numpy as np
from PIL import Image

from .image_io import ImageTypeError, check_pixel_count, pillow_to_rgb, pixel_limit, read_image

if TYPE_CHECKING:
    from torch import Tensor

ImageInput = Union[str, os.PathLike, Image.Image, np.ndarray, "Tensor"]
"""A file, a Pillow image, uint8 (H, W, 3) RGB or (H, W) grey, or a uint8 tensor (3, H, W) RGB."""


def as_rgb(image: ImageInput, max_pixels: int | None = None) -> np.ndarray:
    """Convert any kind of picture to upright pixels.

    The EXIF orientation of files and Pillow images is applied.

    Args:
        image: see ``ImageInput``; a tensor may be on any device.
        max_pixels: images with more are refused.

    Returns:
        uint8 (H, W, 3), RGB, contiguous; not a copy of an array that is this already.

    Raises:
        InvalidImageError: one of its subclasses says what is wrong with the image.
        OSError: a file cannot be read.
        TypeError: it is none of these kinds.
    """
    if isinstance(image, (str, os.PathLike)):
        return read_image(os.fspath(image), max_pixels)
    if isinstance(image, Image.Image):
        name = getattr(image, "filename", "") or "the image"
        with pixel_limit(max_pixels):
            return pillow_to_rgb(image, name, max_pixels)
    if isinstance(image, np.ndarray):
        return _checked_array(image, max_pixels)
    if hasattr(image, "permute"):
        return _checked_tensor(image, max_pixels)
    raise TypeError(
        f"An image is a path, a Pillow image, an array or a tensor, not {type(image).__name__}"
    )


def _checked_array(array: np.ndarray, max_pixels: int | None) -> np.ndarray:
    if array.dtype != np.uint8:
        raise ImageTypeError(f"An array must be uint8 (0 to 255), not {array.dtype}")
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] != 3):
        hint = "; give several images as a list" if array.ndim == 4 else ""
        raise ImageTypeError(f"An array must be (H, W, 3) or (H, W), not {array.shape}{hint}")
    check_pixel_count(*array.shape[:2], "the array", max_pixels)
    if array.ndim == 2:
        return np.repeat(array[:, :, None], 3, axis=2)
    return np.ascontiguousarray(array)


def _checked_tensor(tensor: "Tensor", max_pixels: int | None) -> np.ndarray:
    if str(tensor.dtype) != "torch.uint8":
        raise ImageTypeError(f"A tensor must be uint8 (0 to 255), not {tensor.dtype}")
    if tensor.ndim != 3 or tensor.shape[0] != 3:
        hint = "; give several images as a list" if tensor.ndim == 4 else ""
        raise ImageTypeError(f"A tensor must be (3, H, W), not {tuple(tensor.shape)}{hint}")
    check_pixel_count(*tensor.shape[1:], "the tensor", max_pixels)
    return np.ascontiguousarray(tensor.permute(1, 2, 0).cpu().numpy())
