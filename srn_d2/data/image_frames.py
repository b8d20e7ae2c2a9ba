"""All frames of an image file: of an animation, or the pages of a TIFF file."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from .image_errors import TruncatedImageError
from .image_io import decode_image, open_image, pixel_limit
from .pixel_range import PixelRange

# Formats whose frames are pictures of their own; the frames of others are layers (PSD) or sizes
# (icons), of which Pillow gives the whole or the largest picture.
_WITH_FRAMES = ("GIF", "PNG", "WEBP", "TIFF", "AVIF", "MPO", "HEIF", "FLI", "DCX", "IM", "SPIDER")
_ANIMATIONS = ("GIF", "PNG", "WEBP", "AVIF", "FLI")
_GAIN_MAP_MARKS = (b"HDRGainMap", b"hdrgainmap")  # Apple's; of Ultra HDR Pillow reads the picture
_SECONDS_PER_DURATION = 1e-3


class ImageFrame(NamedTuple):
    """One frame of an image file.

    Attributes:
        pixels: see ``DecodedImage``.
        rgb: uint8 (H, W, 3): its colours, blended with black.
        duration: seconds that an animation shows it; None if it is no animation.
        scaled: see ``DecodedImage``.
    """

    pixels: np.ndarray
    rgb: np.ndarray
    duration: float | None = None
    scaled: PixelRange | None = None


class ImageFrames:
    """The frames of an image file, decoded one at a time.

    Args:
        encoded: the whole file.
        name: name of the image, for messages.
        max_pixels: images and frames with more pixels are refused.

    Attributes:
        format: Pillow's name of it.
        num_frames: number of frames to read: 1 for a plain picture.
        num_left_out: number of further images in the file that are none of its frames, such as the
            gain map of an HDR photograph and previews.
        loop: repetitions of an animation, as its format counts them (0: for ever); None: not said.
        is_first_apart: whether the first frame is a PNG's default image, which is not part of its
            animation.

    Raises:
        InvalidImageError: as ``open_image``.
    """

    def __init__(self, encoded: bytes, name: str, max_pixels: int | None = None):
        self.name = name
        self.max_pixels = max_pixels
        with pixel_limit(max_pixels):
            self._image = open_image(encoded, name, max_pixels=max_pixels)
            self._indices = self._find_frames()
        self.format = self._image.format
        self.num_left_out = _count_frames(self._image, name) - len(self._indices)
        self.num_frames = len(self._indices)
        self.loop: int | None = self._image.info.get("loop")
        self.is_first_apart = bool(self._image.info.get("default_image"))

    def __enter__(self) -> "ImageFrames":
        return self

    def __exit__(self, *_: object) -> None:
        self._image.close()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the first frame as stored, before EXIF orientation."""
        return self._image.height, self._image.width

    def __iter__(self) -> Iterator[ImageFrame]:
        """
        Raises:
            InvalidImageError: a frame cannot be decoded; those before it have been yielded.
        """
        for position, index in enumerate(self._indices):
            with pixel_limit(self.max_pixels):
                frame = self._read(position, index)
            yield frame

    def _read(self, position: int, index: int) -> ImageFrame:
        name = self.name if self.num_frames == 1 else f"{self.name}, frame {position + 1}"
        try:
            if self.num_frames > 1:
                self._image.seek(index)
        except MemoryError:
            raise
        except Exception as error:  # decoders raise nearly anything when fed with damaged bytes
            raise TruncatedImageError(f"{name} cannot be decoded: {error}") from error
        decoded = decode_image(self._image, name, self.max_pixels)
        duration = None
        if self.num_frames > 1 and self.format in _ANIMATIONS:
            duration = self._image.info.get("duration", 0) * _SECONDS_PER_DURATION
        return ImageFrame(decoded.pixels, decoded.rgb, duration, decoded.scaled)

    def _find_frames(self) -> list[int]:
        """Pillow's numbers of the frames to read."""
        count = _count_frames(self._image, self.name)
        if self._image.format != "MPO" or count == 1:
            return list(range(count))
        # A photograph with pictures of other sizes beside it, such as previews.
        if any(mark in self._image.info.get("xmp", b"") for mark in _GAIN_MAP_MARKS):
            return [0]
        size = self._image.size
        return [index for index in range(count) if index == 0 or self._size_of(index) == size]

    def _size_of(self, index: int) -> tuple[int, int] | None:
        try:
            self._image.seek(index)
            return self._image.size
        except Exception:  # a damaged index of pictures; the first one is whole
            return None
        finally:
            self._image.seek(0)


def _count_frames(image: Image.Image, name: str) -> int:
    """Number of frames by the file's header, or of a GIF by its content."""
    if image.format not in _WITH_FRAMES:
        return 1
    try:
        return max(int(getattr(image, "n_frames", 1)), 1)
    except Exception as error:  # of damaged bytes
        raise TruncatedImageError(f"{name} cannot be decoded: {error}") from error
