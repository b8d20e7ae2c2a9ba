"""Reading of image files as RGB uint8, with a typed error for every defect."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

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


class InvalidImageError(ValueError):
    """An image that cannot be used; ``reason`` says why in a few words, the message in full."""

    reason = "invalid image"


class CorruptImageError(InvalidImageError):
    """An image file that is there but cannot be decoded. The message names the file."""

    reason = "cannot be decoded"


class NotAnImageError(CorruptImageError):
    """A file of no known image format."""

    reason = "not an image"


class TruncatedImageError(CorruptImageError):
    """An image file that ends early or is damaged."""

    reason = "truncated or damaged"


class TooManyPixelsError(CorruptImageError):
    """An image with more pixels than allowed, as a decompression bomb has; it is not decoded."""

    reason = "too many pixels"


class EmptyImageError(InvalidImageError):
    """An image without a pixel."""

    reason = "no pixels"


class ImageTypeError(InvalidImageError):
    """An array or a tensor of a wrong dtype or shape."""

    reason = "wrong dtype or shape"


def read_image(path: str | Path, max_pixels: int | None = None) -> np.ndarray:
    """Read an image file upright, as RGB.

    The format is detected from the bytes, not the name. Grey, palette and CMYK images are
    converted; 16-bit images are scaled to 8 bits; transparent pixels are blended with black, as in
    zero padding. Of an animation the first frame is read.

    Args:
        path: the image file.
        max_pixels: images with more are refused. Pillow's own guard, twice its
            ``Image.MAX_IMAGE_PIXELS``, always applies as well.

    Returns:
        uint8 array of shape (H, W, 3), in RGB order, after EXIF orientation.

    Raises:
        OSError: the file cannot be read (FileNotFoundError if it is missing); names the file.
        CorruptImageError: the file is not an image, is damaged or truncated, has too many pixels
            (a subclass for each), or has no defined 8-bit range (32-bit integers, floats); names
            the file.
    """
    with open_image(Path(path).read_bytes(), str(path)) as image:
        return pillow_to_rgb(image, str(path), max_pixels)


def open_image(encoded: bytes, name: str, formats: Sequence[str] | None = None) -> Image.Image:
    """A Pillow image that is not decoded yet: of these bytes its header has been read.

    Args:
        encoded: the whole file.
        name: name of the image, for messages.
        formats: Pillow's names of those to allow; None: all that Pillow reads.

    Raises:
        CorruptImageError: it is of none of these formats (NotAnImageError), is damaged
            (TruncatedImageError), or has too many pixels even for Pillow (TooManyPixelsError).
    """
    try:
        return Image.open(BytesIO(encoded), formats=formats)
    except UnidentifiedImageError as error:
        wanted = "an image" if formats is None else f"an image of {', '.join(formats)}"
        raise NotAnImageError(f"{name} cannot be decoded: it is not {wanted}") from error
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(f"{name} cannot be decoded: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # decoders raise nearly anything when fed with damaged bytes
        raise TruncatedImageError(f"{name} cannot be decoded: {error}") from error


def pillow_to_rgb(image: Image.Image, name: str, max_pixels: int | None = None) -> np.ndarray:
    """The pixels of a Pillow image, decoded now if they are not yet, as ``read_image`` has them.

    Args:
        image: of any mode.
        name: name of the image, for messages.
        max_pixels: as in ``read_image``.

    Raises:
        EmptyImageError: it has no pixels.
        CorruptImageError: as ``read_image``.
    """
    check_pixel_count(image.height, image.width, name, max_pixels)
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # see open_image
        raise TruncatedImageError(f"{name} cannot be decoded: {error}") from error
    try:
        return np.array(_to_rgb(_turn_upright(image)))
    except MemoryError:
        raise
    except Exception as error:  # such as damaged palettes
        raise CorruptImageError(f"{name} cannot be decoded: {error}") from error


def check_pixel_count(height: int, width: int, name: str, max_pixels: int | None) -> None:
    """Raise an EmptyImageError or a TooManyPixelsError unless 0 < pixels <= ``max_pixels``."""
    if height == 0 or width == 0:
        raise EmptyImageError(f"{name} has no pixels: it is {width} x {height}")
    if max_pixels is not None and height * width > max_pixels:
        raise TooManyPixelsError(
            f"{name} has {width} x {height} pixels, more than the limit of {max_pixels}"
        )


def _turn_upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; a damaged EXIF block counts as none."""
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # as in detectron2: the pixels do not depend on the metadata
        return image
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to mode "RGB"."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):  # "I;16", "I;16B", or "I" for PGM: 16-bit grey
        return Image.fromarray(_scale_16_to_8_bits(np.asarray(image))).convert("RGB")
    if image.mode == "F":
        raise ValueError("a floating-point image has no defined range")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert(
            "RGB"
        )
    return image.convert("RGB")


def _scale_16_to_8_bits(grey: np.ndarray) -> np.ndarray:
    """Map 0..65535 onto 0..255, rounded. Raises ValueError for values outside that range."""
    if grey.size and (grey.min() < 0 or grey.max() > 65535):
        raise ValueError("a 32-bit integer image has no defined range")
    return ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)


class ImageCache:
    """``read_image`` that keeps decoded images in memory until a budget is used up.

    Nothing is ever evicted: training visits every image once an epoch, in random order, so that
    eviction would not raise the hit rate. Arrays from the cache are read-only.
    """

    def __init__(self, max_bytes: int):
        """
        Args:
            max_bytes: budget in bytes of decoded pixels; 0 caches nothing.
        """
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self._images: dict[str, np.ndarray] = {}

    def __call__(self, path: str | Path) -> np.ndarray:
        """Return ``read_image(path)``, decoded now or earlier."""
        key = str(path)
        if key in self._images:
            return self._images[key]
        image = read_image(path)
        if self.used_bytes + image.nbytes <= self.max_bytes:
            image.flags.writeable = False
            self._images[key] = image
            self.used_bytes += image.nbytes
        return image
