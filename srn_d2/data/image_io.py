"""Reading of image files as RGB uint8, with a typed error for every defect."""

import logging
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from .deep_color import decode_tiff, file_if_deep, header_size, icc_profile, tiff_header
from .image_errors import (
    CorruptImageError,
    EmptyImageError,
    ImageTypeError,
    InvalidImageError,
    NotAnImageError,
    TooManyPixelsError,
    TruncatedImageError,
    UnreadFormatError,
)
from .image_formats import (
    HEADER_BYTES,
    MissingHeifError,
    is_heif,
    read_formats,
    register_heif,
    unread_format,
)
from .image_pixels import EXIF_ORIENTATION, DecodedImage, to_decoded, to_pixels

__all__ = [
    "EXIF_ORIENTATION",
    "CorruptImageError",
    "EmptyImageError",
    "ImageCache",
    "ImageTypeError",
    "InvalidImageError",
    "NotAnImageError",
    "TooManyPixelsError",
    "TruncatedImageError",
    "UnreadFormatError",
    "check_pixel_count",
    "decode_image",
    "megapixels",
    "open_image",
    "pillow_to_rgb",
    "pixel_limit",
    "read_image",
]

logger = logging.getLogger(__name__)


def read_image(path: str | Path, max_pixels: int | None = None) -> np.ndarray:
    """Read an image file upright, as RGB.

    The format is detected from the bytes, not the name. Images of any mode are converted, by their
    ICC profile to sRGB; of more than 8 bits they are scaled by the range of their data, which the
    log says once; transparent pixels are blended with black, as in zero padding. Of an animation
    the first frame is read.

    Args:
        path: the image file.
        max_pixels: images with more are refused; None: Pillow's own guard, twice its
            ``Image.MAX_IMAGE_PIXELS``.

    Returns:
        uint8 array of shape (H, W, 3), in RGB order, after EXIF orientation.

    Raises:
        OSError: the file cannot be read (FileNotFoundError if it is missing); names the file.
        CorruptImageError: the file is not an image, is of a format that is not read, is damaged or
            truncated, or has too many pixels (a subclass for each); names the file.
    """
    name, encoded = str(path), Path(path).read_bytes()
    with pixel_limit(max_pixels), open_image(encoded, name, max_pixels=max_pixels) as image:
        return pillow_to_rgb(image, name, max_pixels)


def open_image(
    encoded: bytes,
    name: str,
    formats: Sequence[str] | None = None,
    max_pixels: int | None = None,
) -> Image.Image:
    """A Pillow image that is not decoded yet: of these bytes its header has been read.

    Args:
        encoded: the whole file.
        name: name of the image, for messages.
        formats: Pillow's names of those to allow; None: all that are read.
        max_pixels: limit of what must be decoded at once, such as a TIFF file of floats; None:
            Pillow's.

    Raises:
        CorruptImageError: it is of none of these formats (NotAnImageError, UnreadFormatError), is
            damaged (TruncatedImageError), or has too many pixels even for Pillow
            (TooManyPixelsError).
    """
    prefix = encoded[:HEADER_BYTES]
    kind = unread_format(name, prefix)
    if kind is not None:
        raise UnreadFormatError(
            f"{name} is not read: it is {kind}; convert it, to PNG for instance"
        )
    allowed = read_formats() if formats is None else formats
    try:
        if is_heif(prefix):
            register_heif()
            allowed = ["HEIF"] if formats is None or "HEIF" in formats else formats
        return Image.open(BytesIO(encoded), formats=allowed)
    except MissingHeifError as error:
        raise UnreadFormatError(f"{name} cannot be decoded: {error}") from error
    except UnidentifiedImageError as error:
        image = _open_unknown_tiff(encoded, name, max_pixels) if "TIFF" in allowed else None
        if image is not None:
            return image
        wanted = "an image" if formats is None else f"an image of {', '.join(formats)}"
        raise NotAnImageError(f"{name} cannot be decoded: it is not {wanted}") from error
    except Image.DecompressionBombError as error:
        limit = _limit(max_pixels)
        raise TooManyPixelsError(
            f"{name} has more pixels than the limit of {megapixels(limit)}"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # decoders raise nearly anything when fed with damaged bytes
        raise TruncatedImageError(f"{name} cannot be decoded: {error}") from error


def _open_unknown_tiff(encoded: bytes, name: str, max_pixels: int | None) -> Image.Image | None:
    """A TIFF image that Pillow does not know, such as colours in floats; None if it is none.

    Raises:
        UnreadFormatError: OpenCV does not read it either.
    """
    tags = tiff_header(encoded)
    if tags is None:
        return None
    check_pixel_count(*header_size(tags), name, _limit(max_pixels))
    try:
        deep = decode_tiff(encoded, tags)
    except (ValueError, TypeError, LookupError, ArithmeticError, struct.error):  # odd tags
        deep = None
    if deep is None:
        raise UnreadFormatError(
            f"{name} is not read: it is a TIFF file of an unusual kind, or damaged; convert it, to "
            "PNG for instance"
        )
    image, scaled = to_decoded(deep)
    image.format = "TIFF"
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = deep.orientation or 1
    image.info = {"scaled": scaled, "icc_profile": icc_profile(tags), "exif": exif.tobytes()}
    return image


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
    decoded = decode_image(image, name, max_pixels)
    if decoded.scaled is not None:
        _say_once(f"{name} has values of {decoded.scaled}, scaled to 0 to 255; so are others")
    return decoded.rgb


def decode_image(image: Image.Image, name: str, max_pixels: int | None = None) -> DecodedImage:
    """The same as ``pillow_to_rgb`` with transparency, and the range that was scaled."""
    check_pixel_count(image.height, image.width, name, max_pixels)
    try:
        file = file_if_deep(image)
        if file is None or file.planes is None:
            image.load()
    except MemoryError:
        raise
    except Exception as error:  # see open_image
        raise TruncatedImageError(f"{name} cannot be decoded: {error}") from error
    try:
        return to_pixels(image, name, file)
    except (MemoryError, UnreadFormatError):
        raise
    except Exception as error:  # such as damaged palettes
        raise CorruptImageError(f"{name} cannot be decoded: {error}") from error


def check_pixel_count(height: int, width: int, name: str, max_pixels: int | None) -> None:
    """Raise an EmptyImageError or a TooManyPixelsError unless 0 < pixels <= ``max_pixels``."""
    if height == 0 or width == 0:
        raise EmptyImageError(f"{name} has no pixels: it is {width} x {height}")
    if max_pixels is not None and height * width > max_pixels:
        raise TooManyPixelsError(
            f"{name} has {width} x {height} pixels, more than the limit of {megapixels(max_pixels)}"
        )


def megapixels(number: float) -> str:
    """A number of pixels for a message."""
    return f"{number / 1e6:g} megapixels"


def _limit(max_pixels: int | None) -> int | None:
    """The limit, or that of Pillow's own guard, if it has one."""
    if max_pixels is None and Image.MAX_IMAGE_PIXELS is not None:
        return 2 * Image.MAX_IMAGE_PIXELS
    return max_pixels


_limits_lock = threading.Lock()
_limits: list[int] = []  # of the contexts that are open
_limit_of_pillow: int | None = None


@contextmanager
def pixel_limit(max_pixels: int | None) -> Iterator[None]:
    """Context in which Pillow refuses no image of up to ``max_pixels``; None: its own guard.

    Pillow's guard is one number for all threads: the largest limit of those in the context.
    """
    global _limit_of_pillow
    if max_pixels is None:
        yield
        return
    with _limits_lock:
        if not _limits:
            _limit_of_pillow = Image.MAX_IMAGE_PIXELS
        _limits.append(max_pixels)
        _apply_limits()
    try:
        yield
    finally:
        with _limits_lock:
            _limits.remove(max_pixels)
            _apply_limits()


def _apply_limits() -> None:
    if _limit_of_pillow is not None:
        Image.MAX_IMAGE_PIXELS = max([_limit_of_pillow, *_limits])


_said = False


def _say_once(message: str) -> None:
    """Log a message, unless one was logged before in this process."""
    global _said
    if not _said:
        _said = True
        logger.warning(message)


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
