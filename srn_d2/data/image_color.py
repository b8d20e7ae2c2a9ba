"""Conversion of colours to sRGB by an image's ICC profile, through LittleCMS."""

import functools
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

MAX_SRGB_DIFFERENCE = 3
"""Largest difference, in 255ths, by which a profile's colours count as sRGB already."""
_GRID_LEVELS = 6
_CACHED_PROFILES = 32


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert an image of mode L, RGB, RGBA, CMYK or LAB to RGB or RGBA in sRGB.

    Args:
        profile: its ICC profile; None, and a damaged one or one of other colours: none.

    Returns:
        the image itself if its colours are sRGB already.
    """
    if image.mode == "LAB":
        return _lab_transform().apply(image)
    if profile:
        mode = "RGB" if image.mode == "RGBA" else image.mode
        transform = _transform(profile, mode)
        if transform is not None:
            return _apply(transform, image)
    return image if image.mode in ("RGB", "RGBA") else image.convert("RGB")


def _apply(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return transform.apply(image)
    converted = transform.apply(image.convert("RGB"))
    converted.putalpha(image.getchannel("A"))
    return converted


@functools.lru_cache(_CACHED_PROFILES)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Transform of ``mode`` to sRGB; None if none is needed or the profile cannot be used."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        transform = ImageCms.buildTransform(source, _srgb(), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    if mode not in ("L", "RGB"):
        return transform
    levels = np.linspace(0, 255, _GRID_LEVELS, dtype=np.uint8)
    if mode == "L":
        colors = levels[None]
    else:
        colors = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    grid = Image.fromarray(colors)
    difference = np.asarray(transform.apply(grid)).astype(int) - np.asarray(grid.convert("RGB"))
    return transform if np.abs(difference).max() > MAX_SRGB_DIFFERENCE else None


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.createProfile("sRGB")


@functools.cache
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), _srgb(), "LAB", "RGB")
