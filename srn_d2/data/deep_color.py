"""Colours of more than 8 bits, which Pillow cuts to their upper 8 or refuses, through OpenCV."""

from io import BytesIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

# TIFF 6.0, section 8.
_IMAGE_WIDTH, _IMAGE_LENGTH, _BITS_PER_SAMPLE, _ICC_PROFILE = 256, 257, 258, 34675
_DEEP_PNG = ("RGB;16B", "RGBA;16B")


def encoded_if_deep(image: Image.Image) -> bytes | None:
    """The file of a PNG or TIFF image with colours of 16 bits; None of all others.

    Args:
        image: opened, at the frame wanted, not decoded.
    """
    file = getattr(image, "fp", None)  # of an image that is decoded it is None or not there
    if file is None or not _is_deep(image):
        return None
    position = file.tell()
    file.seek(0)
    encoded = file.read()
    file.seek(position)
    return encoded


def decode_deep(encoded: bytes, image: Image.Image) -> np.ndarray | None:
    """The colours of 16 bits of which Pillow has the upper 8.

    Args:
        encoded: from ``encoded_if_deep``.
        image: the same image, decoded.

    Returns:
        uint16 (H, W, 3) or (H, W, 4), RGB(A); None if OpenCV does not read the same image.
    """
    pixels = _decode(encoded, image.tell() if image.format == "TIFF" else 0)
    upper = np.asarray(image)
    if pixels is None or pixels.dtype != np.uint16 or pixels.shape != upper.shape:
        return None
    return pixels if np.array_equal(pixels >> 8, upper) else None


def _is_deep(image: Image.Image) -> bool:
    if image.format == "PNG":
        animated = getattr(image, "is_animated", False)
        return not animated and any(tile.args in _DEEP_PNG for tile in image.tile)
    if image.format == "TIFF" and image.mode in ("RGB", "RGBA"):
        return max(image.tag_v2.get(_BITS_PER_SAMPLE, (8,))) == 16
    return False


def tiff_header(encoded: bytes) -> ImageFileDirectory_v2 | None:
    """The tags of a TIFF file's first page; None if it is no TIFF."""
    try:
        tags = ImageFileDirectory_v2(encoded[:8])
        file = BytesIO(encoded)
        file.seek(tags.next)
        tags.load(file)
    except Exception:  # anything at all, of damaged bytes
        return None
    return tags if {_IMAGE_WIDTH, _IMAGE_LENGTH} <= tags.keys() else None


def header_size(tags: ImageFileDirectory_v2) -> tuple[int, int]:
    """(height, width) of a page as its tags say."""
    return int(tags[_IMAGE_LENGTH]), int(tags[_IMAGE_WIDTH])


def decode_tiff(encoded: bytes, tags: ImageFileDirectory_v2) -> np.ndarray | None:
    """Pixels of a TIFF file of one page that Pillow does not know, such as colours in floats.

    Returns:
        (H, W), (H, W, 3) or (H, W, 4) of any number type; None if OpenCV does not read it.
    """
    if tags.next:  # more pages, which would be lost
        return None
    return _decode(encoded, 0)


def icc_profile(tags: ImageFileDirectory_v2) -> bytes | None:
    return tags.get(_ICC_PROFILE)


def _decode(encoded: bytes, page: int) -> np.ndarray | None:
    """Pixels as stored, RGB(A) or grey; None if OpenCV does not read them."""
    import cv2

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    buffer = np.frombuffer(encoded, np.uint8)
    try:
        if page == 0:
            pixels = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
        else:
            found = cv2.imdecodemulti(buffer, cv2.IMREAD_UNCHANGED, None, (page, page + 1))
            pixels = found[1][0] if found[0] else None
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if pixels is None or pixels.ndim == 2:
        return pixels
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(pixels.shape[2])
    return None if order is None else pixels[:, :, order]
