"""Colours of more than 8 bits, which Pillow cuts to their upper 8 or refuses, through OpenCV."""

from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from .image_errors import UnreadFormatError
from .tiff_pixels import IMAGE_LENGTH, IMAGE_WIDTH, ORIENTATION, TiffPage, decode_opencv, page_of

_ICC_PROFILE = 34675
_DEEP_PNG = ("RGB;16B", "RGBA;16B")
_DEEP_PPM = ("RGB", 65535)
# JPEG 2000 (ISO 15444-1, A.5): the first markers of its data, and the place after them of the first
# component's number of bits, less one, with the sign in the highest bit.
_JPEG_2000_MARKERS, _JPEG_2000_BITS = b"\xff\x4f\xff\x51", 42
_DEEP_GREY_PNG = "LA;16B"  # with opacity; without it Pillow has all bits


class DeepPixels(NamedTuple):
    """Samples of more than 8 bits.

    Attributes:
        pixels: (H, W), (H, W, 3) or (H, W, 4) of any number type, grey or RGB(A), as stored.
        is_negative: whether they are the higher the darker.
        is_premultiplied: whether the colours are multiplied by the opacity.
        orientation: by which they become upright, as EXIF numbers it; None: as the image's.
    """

    pixels: np.ndarray
    is_negative: bool = False
    is_premultiplied: bool = False
    orientation: int | None = None


class DeepFile(NamedTuple):
    """The file of an image with samples of more than 8 bits.

    Attributes:
        encoded: the whole file.
        page: the image's page, if it is a TIFF file.
        is_rounded: whether the upper 8 bits that Pillow has are rounded, not cut.
        planes: its samples, if they are stored in planes and could be read.
    """

    encoded: bytes
    page: TiffPage | None = None
    is_rounded: bool = False
    planes: np.ndarray | None = None

    def decode(self, image: Image.Image, name: str) -> DeepPixels | None:
        """The samples, of which Pillow may have the upper 8 bits.

        Args:
            image: the same image, decoded unless there are ``planes``.
            name: name of the image, for messages.

        Returns:
            None if what Pillow has is to be taken.

        Raises:
            UnreadFormatError: they are stored in a way that is read wrong, by Pillow too.
        """
        if self.page is None:
            return _upper_checked(self.encoded, image, is_rounded=self.is_rounded)
        if not self.page.is_planar and image.mode in ("RGB", "RGBA"):
            return _upper_checked(self.encoded, image, image.tell())
        pixels = self.page.decode() if self.planes is None else self.planes
        if pixels is not None:
            return _of_page(self.page, pixels)
        if _pillow_mixes_up(self.page, image.mode):
            raise UnreadFormatError(
                f"{name} is not read: it is a TIFF file whose samples are stored in an unusual way "
                f"({_layout(self.page)}); convert it, to PNG for instance"
            )
        return None


def file_if_deep(image: Image.Image) -> DeepFile | None:
    """The file of a PNG, TIFF, PPM or JPEG 2000 with colours of 16 bits; None of all others.

    Args:
        image: opened, at the frame wanted, not decoded.
    """
    file = getattr(image, "fp", None)  # of an image that is decoded it is None or not there
    if file is None or not _may_be_deep(image):
        return None
    position = file.tell()
    file.seek(0)
    encoded = file.read()
    file.seek(position)
    if image.format == "JPEG2000" and not _is_deep_jpeg_2000(encoded):
        return None
    if image.format != "TIFF":
        return DeepFile(encoded, is_rounded=image.format != "PNG")
    page = page_of(image, encoded)
    return DeepFile(encoded, page, planes=page.decode() if page.is_stored_in_planes else None)


def _may_be_deep(image: Image.Image) -> bool:
    """Whether an image has colours of 16 bits by its header; of JPEG 2000 Pillow does not say."""
    if image.format == "JPEG2000":
        return image.mode in ("RGB", "RGBA")
    is_deep_ppm = image.format == "PPM" and _DEEP_PPM in {tile.args for tile in image.tile}
    return is_deep_ppm or _is_deep_png(image) or _is_deep_tiff(image)


def _is_deep_jpeg_2000(encoded: bytes) -> bool:
    """Whether the first component has 16 bits, without a sign."""
    start = encoded.find(_JPEG_2000_MARKERS)
    return start >= 0 and encoded.startswith(b"\x0f", start + _JPEG_2000_BITS)


def _is_deep_png(image: Image.Image) -> bool:
    if image.format != "PNG" or getattr(image, "is_animated", False):
        return False
    kinds = {tile.args for tile in image.tile}
    # A grey profile is converted with 8 bits.
    is_deep_grey = _DEEP_GREY_PNG in kinds and "icc_profile" not in image.info
    return is_deep_grey or not kinds.isdisjoint(_DEEP_PNG)


def _is_deep_tiff(image: Image.Image) -> bool:
    if image.format != "TIFF":
        return False
    page = page_of(image, b"")
    return page.is_deep or page.is_negative_plane or (page.is_planar and not page.is_grey_or_rgb)


def _of_page(page: TiffPage, pixels: np.ndarray) -> DeepPixels:
    return DeepPixels(
        pixels,
        page.has_negative_samples,
        page.has_associated_alpha,
        page.tags.get(ORIENTATION, 1),
    )


def _pillow_mixes_up(page: TiffPage, mode: str) -> bool:
    """Whether Pillow reads a page wrong: planes, and compressed numbers of the other byte order."""
    if page.is_planar:
        return mode == "LAB" or (page.is_deep and not page.is_compressed)
    if page.is_negative_plane:
        return not page.is_compressed
    return mode in ("I", "F") and page.is_compressed and page.encoded[:2] == b"MM"


def _layout(page: TiffPage) -> str:
    return "in planes" if page.is_stored_in_planes else "compressed numbers, the highest byte first"


def _upper_checked(
    encoded: bytes, image: Image.Image, page: int = 0, is_rounded: bool = False
) -> DeepPixels | None:
    """RGB(A) of 16 bits by OpenCV; None unless their upper 8 bits are what Pillow has.

    Grey with opacity becomes RGBA.

    Args:
        is_rounded: see ``DeepFile``.
    """
    pixels = _decode(encoded, page)
    upper = np.asarray(image.convert("RGBA") if image.mode == "LA" else image)
    if pixels is None or pixels.dtype != np.uint16 or pixels.shape != upper.shape:
        return None
    found = (pixels >> 8).astype(np.uint8)
    difference = np.maximum(found, upper) - np.minimum(found, upper)
    return DeepPixels(pixels) if difference.max() <= int(is_rounded) else None


def tiff_header(encoded: bytes) -> ImageFileDirectory_v2 | None:
    """The tags of a TIFF file's first page; None if it is no TIFF."""
    try:
        tags = ImageFileDirectory_v2(encoded[:8])
        file = BytesIO(encoded)
        file.seek(tags.next)
        tags.load(file)
    except Exception:  # anything at all, of damaged bytes
        return None
    return tags if {IMAGE_WIDTH, IMAGE_LENGTH} <= tags.keys() else None


def header_size(tags: ImageFileDirectory_v2) -> tuple[int, int]:
    """(height, width) of a page as its tags say."""
    return int(tags[IMAGE_LENGTH]), int(tags[IMAGE_WIDTH])


def decode_tiff(encoded: bytes, tags: ImageFileDirectory_v2) -> DeepPixels | None:
    """Pixels of a TIFF file of one page that Pillow does not know, such as colours in floats.

    Returns:
        None if OpenCV does not read it, or not right.
    """
    if tags.next:  # more pages, which would be lost
        return None
    page = TiffPage(encoded, dict(tags))
    pixels = page.decode()
    if pixels is not None:
        return _of_page(page, pixels)
    # Others OpenCV converts, and turns if it does at all.
    pixels = None if page.is_planar else _decode(encoded, 0)
    return None if pixels is None else DeepPixels(pixels)


def icc_profile(tags: ImageFileDirectory_v2) -> bytes | None:
    return tags.get(_ICC_PROFILE)


def _decode(encoded: bytes, page: int) -> np.ndarray | None:
    """Pixels as stored, RGB(A) or grey; None if OpenCV does not read them."""
    pixels = decode_opencv(encoded, page)
    if pixels is None or pixels.ndim == 2:
        return pixels
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(pixels.shape[2])
    return None if order is None else pixels[:, :, order]
