"""Pixels of a Pillow image of any mode: upright, 8 bits, sRGB, with their transparency."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from .deep_color import DeepFile, DeepPixels
from .image_color import to_srgb
from .pixel_range import PixelRange, find_range

EXIF_ORIENTATION = 0x0112

# EXIF orientation -> transform to upright pixels (CIPA DC-008, "Orientation").
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FULL_16_BITS = PixelRange(0.0, 65535.0)


class DecodedImage(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: uint8 (H, W, 3), RGB, or with transparency (H, W, 4): RGB multiplied by the opacity
            (blended with black), and the opacity. Upright.
        scaled: the range of values that was scaled to 8 bits, if it was not a standard one.
    """

    pixels: np.ndarray
    scaled: PixelRange | None = None

    @property
    def rgb(self) -> np.ndarray:
        """uint8 (H, W, 3), contiguous."""
        return np.ascontiguousarray(self.pixels[:, :, :3])


def to_pixels(image: Image.Image, name: str, file: DeepFile | None = None) -> DecodedImage:
    """The pixels of an image that Pillow has decoded, at its current frame.

    Args:
        image: of any mode.
        name: name of the image, for messages.
        file: its file, if it has samples of more than 8 bits: ``file_if_deep``.

    Raises:
        UnreadFormatError: as ``DeepFile.decode``.
        Exception: nearly any, if the bytes were damaged.
    """
    scaled = image.info.get("scaled")
    orientation = _orientation(image)
    profile = image.info.get("icc_profile")
    deep = None if file is None else file.decode(image, name)
    if deep is not None:
        orientation = orientation if deep.orientation is None else deep.orientation
        image, scaled = to_decoded(deep)
    elif image.mode.startswith("I") or image.mode == "F":
        image, scaled = to_decoded(DeepPixels(np.asarray(image)))
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    return DecodedImage(np.array(_to_rgb(image, profile)), scaled)


def to_decoded(deep: DeepPixels) -> tuple[Image.Image, PixelRange | None]:
    """An image of 8 bits from pixels of more, scaled by the range of their data.

    Returns:
        an image of mode L, RGB or RGBA, as stored, and the range; None if it is a standard one.
    """
    pixels = deep.pixels
    colors = pixels if pixels.ndim == 2 else pixels[:, :, :3]
    limits = find_range(colors)
    scaled = limits.scale(colors)
    if deep.is_negative:
        scaled = 255 - scaled
    is_standard = limits == _FULL_16_BITS or pixels.dtype == np.uint8
    limits_said = None if is_standard else limits
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return Image.fromarray(scaled), limits_said
    opacity = find_range(pixels[:, :, 3])._replace(low=0.0).scale(pixels[:, :, 3])
    mode = "RGBa" if deep.is_premultiplied else "RGBA"
    size = (pixels.shape[1], pixels.shape[0])
    image = Image.frombytes(mode, size, np.dstack([scaled, opacity]).tobytes())
    return image.convert("RGBA"), limits_said


def _orientation(image: Image.Image) -> int | None:
    """The EXIF orientation; a damaged EXIF block counts as none."""
    try:
        return image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # as in detectron2: the pixels do not depend on the metadata
        return None


def _to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert an image of 8 bits to mode RGB or, with transparency, to RGBa (premultiplied)."""
    if image.has_transparency_data:
        if image.mode == "LA" and profile:
            return _grey_with_alpha(image, profile).convert("RGBa")
        return to_srgb(image.convert("RGBA"), profile).convert("RGBa")
    if image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("RGB")
    return to_srgb(image, profile)


def _grey_with_alpha(image: Image.Image, profile: bytes) -> Image.Image:
    """RGBA of an image of mode LA, whose profile is one of grey."""
    converted = to_srgb(image.getchannel("L"), profile)
    converted.putalpha(image.getchannel("A"))
    return converted
