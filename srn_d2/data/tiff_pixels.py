"""Samples of more than 8 bits of a TIFF page, through OpenCV.

Pillow mixes up those that are stored in planes, byte orders of compressed ones, and shows the
negative of MINISWHITE. OpenCV mixes up planes too, but reads every single one right: a page of
planes is decoded plane by plane, each as a grey page by a directory (IFD) that is made for it. A
directory without orientation is made for other pages too: some versions of OpenCV turn them.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

# TIFF 6.0, section 8, and those of tiles, predictors and numbers.
IMAGE_WIDTH, IMAGE_LENGTH, BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, ORIENTATION, SAMPLES_PER_PIXEL, STRIP_BYTE_COUNTS = 273, 274, 277, 279
PLANAR_CONFIGURATION, TILE_OFFSETS, TILE_BYTE_COUNTS, EXTRA_SAMPLES = 284, 324, 325, 338
SAMPLE_FORMAT = 339
_FILL_ORDER, _ROWS_PER_STRIP, _PREDICTOR, _TILE_WIDTH, _TILE_LENGTH = 266, 278, 317, 322, 323
_COPIED = (
    *(IMAGE_WIDTH, IMAGE_LENGTH, COMPRESSION, _FILL_ORDER, _ROWS_PER_STRIP, _PREDICTOR),
    *(_TILE_WIDTH, _TILE_LENGTH),
)
_USED = (
    *(*_COPIED, BITS_PER_SAMPLE, PHOTOMETRIC, STRIP_OFFSETS, ORIENTATION, SAMPLES_PER_PIXEL),
    *(STRIP_BYTE_COUNTS, PLANAR_CONFIGURATION, TILE_OFFSETS, TILE_BYTE_COUNTS, EXTRA_SAMPLES),
    SAMPLE_FORMAT,
)
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB = 0, 1, 2
_UNCOMPRESSED = 1
_ASSOCIATED_ALPHA = 1
_SHORT, _LONG = 3, 4  # types of values
_MAX_LONG = 2**32 - 1
_MAX_SHORT = 2**16 - 1


class TiffPage(NamedTuple):
    """A page of a TIFF file.

    Attributes:
        encoded: the whole file.
        tags: its tags -> their values, as in Pillow's ``tag_v2``.
    """

    encoded: bytes
    tags: Mapping[int, Any]

    @property
    def is_deep(self) -> bool:
        """Whether its samples have more than 8 bits."""
        return max(_values(self.tags.get(BITS_PER_SAMPLE, 1))) > 8

    @property
    def is_planar(self) -> bool:
        """Whether the samples of a pixel are in several planes."""
        return self.tags.get(PLANAR_CONFIGURATION, 1) == 2 and self._num_samples > 1

    @property
    def is_stored_in_planes(self) -> bool:
        """Whether it is stored in planes, be it one: Pillow fails at many such."""
        return self.tags.get(PLANAR_CONFIGURATION, 1) == 2

    @property
    def is_compressed(self) -> bool:
        return self.tags.get(COMPRESSION, _UNCOMPRESSED) != _UNCOMPRESSED

    @property
    def has_negative_samples(self) -> bool:
        """Whether samples of more than 8 bits are the higher the darker."""
        return self.is_deep and self._photometric == _MIN_IS_WHITE

    @property
    def is_negative_plane(self) -> bool:
        """Whether it is one plane of samples that are the higher the darker."""
        is_one = self.is_stored_in_planes and self._num_samples == 1
        return is_one and self._photometric == _MIN_IS_WHITE

    @property
    def has_associated_alpha(self) -> bool:
        """Whether its colours are multiplied by an opacity that follows them."""
        return _ASSOCIATED_ALPHA in _values(self.tags.get(EXTRA_SAMPLES, ()))

    @property
    def is_grey_or_rgb(self) -> bool:
        return self._photometric in (_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB)

    @property
    def _photometric(self) -> int:
        return self.tags.get(PHOTOMETRIC, _MIN_IS_WHITE)

    @property
    def _num_samples(self) -> int:
        return self.tags.get(SAMPLES_PER_PIXEL, 1)

    def decode(self) -> np.ndarray | None:
        """The samples of more than 8 bits of grey, RGB or RGBA.

        Returns:
            (H, W), (H, W, 3) or (H, W, 4) of any number type, as stored: not turned upright, not
            inverted. None if this cannot be done.
        """
        colours = 3 if self._photometric == _RGB else 1
        extra = self._num_samples - colours
        if not self.is_deep or not self.is_grey_or_rgb or extra < 0 or (extra and colours == 1):
            return None
        kinds = _values(self.tags.get(EXTRA_SAMPLES, ()))
        has_alpha = extra > 0 and (kinds[0] != 0 if kinds else extra == 1)
        if not self.is_planar:
            return self._decode_mixed(colours + has_alpha)
        planes = [self._decode_file(number) for number in range(colours + has_alpha)]
        if any(plane is None or plane.ndim != 2 for plane in planes):
            return None
        if len({(plane.shape, plane.dtype) for plane in planes}) > 1:
            return None
        return np.stack(planes, axis=-1)

    def _decode_mixed(self, channels: int) -> np.ndarray | None:
        """The first samples of each pixel, of a page that stores them pixel by pixel."""
        pixels = self._decode_file(None)
        if pixels is None:
            return None
        if pixels.ndim == 2:
            return pixels if channels == 1 else None
        return pixels[:, :, [2, 1, 0, 3][:channels]] if pixels.shape[2] >= channels else None

    def _decode_file(self, plane: int | None) -> np.ndarray | None:
        file = self._file_of(plane)
        return None if file is None else decode_opencv(file)

    def _file_of(self, plane: int | None) -> bytearray | None:
        """This file with a directory at its end, the only one.

        Args:
            plane: number of the plane that is its page, in grey; None: the whole page.
        """
        order = {b"II": "<", b"MM": ">"}.get(self.encoded[:2])
        position = len(self.encoded) + len(self.encoded) % 2
        entries = dict(self._entries(plane))
        if order is None or entries.keys().isdisjoint((STRIP_OFFSETS, TILE_OFFSETS)):
            return None
        if any(not 0 <= x <= _MAX_LONG for values in entries.values() for x in (*values, position)):
            return None
        if not _is_whole(entries, len(self.encoded)):
            return None
        directory = bytearray(struct.pack(f"{order}H", len(entries)))
        rest = bytearray()
        rest_position = position + 2 + 12 * len(entries) + 4
        for tag, values in sorted(entries.items()):
            kind, letter = (_SHORT, "H") if max(values) <= _MAX_SHORT else (_LONG, "I")
            packed = struct.pack(f"{order}{len(values)}{letter}", *values)
            directory += struct.pack(f"{order}HHI", tag, kind, len(values))
            if len(packed) <= 4:
                directory += packed.ljust(4, b"\0")
            else:
                directory += struct.pack(f"{order}I", rest_position + len(rest))
                rest += packed + b"\0" * (len(packed) % 2)
        directory += bytes(4)  # no further page
        file = bytearray(self.encoded) + bytes(position - len(self.encoded)) + directory + rest
        file[:8] = self.encoded[:2] + struct.pack(f"{order}HI", 42, position)
        return file

    def _entries(self, plane: int | None) -> Iterator[tuple[int, tuple[int, ...]]]:
        """The tags of a page, with their values; the page is not turned, nor inverted."""
        for tag in _COPIED:
            if tag in self.tags:
                yield tag, _values(self.tags[tag])
        is_rgb = plane is None and self._photometric == _RGB
        yield PHOTOMETRIC, (_RGB if is_rgb else _MIN_IS_BLACK,)
        yield SAMPLES_PER_PIXEL, (self._num_samples if plane is None else 1,)
        yield PLANAR_CONFIGURATION, (1,)
        for tag in (BITS_PER_SAMPLE, SAMPLE_FORMAT, EXTRA_SAMPLES):
            values = _values(self.tags.get(tag, ()))
            if values and plane is None:
                yield tag, values
            elif values and tag != EXTRA_SAMPLES:
                yield tag, (values[plane if plane < len(values) else 0],)
        for tag in (STRIP_OFFSETS, STRIP_BYTE_COUNTS, TILE_OFFSETS, TILE_BYTE_COUNTS):
            values = _values(self.tags.get(tag, ()))
            size = len(values) // self._num_samples
            if values:
                yield tag, values if plane is None else values[plane * size : (plane + 1) * size]


def _is_whole(entries: Mapping[int, tuple[int, ...]], size: int) -> bool:
    """Whether all strips, or tiles, of a page end within the file, which has this size in bytes."""
    strips = entries.get(STRIP_OFFSETS, ()), entries.get(STRIP_BYTE_COUNTS, ())
    tiles = entries.get(TILE_OFFSETS, ()), entries.get(TILE_BYTE_COUNTS, ())
    offsets, counts = tiles if tiles[0] else strips
    return len(offsets) == len(counts) > 0 and all(
        offset + count <= size for offset, count in zip(offsets, counts, strict=True)
    )


def _values(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def page_of(image: Image.Image, encoded: bytes) -> TiffPage:
    """The current page of a TIFF image that Pillow has opened, not decoded."""
    return TiffPage(encoded, {tag: image.tag_v2[tag] for tag in _USED if tag in image.tag_v2})


def decode_opencv(encoded: bytes | bytearray, page: int = 0) -> np.ndarray | None:
    """Pixels of a page, or of a picture, of a file, as stored; None if OpenCV reads none.

    Args:
        page: number of the page, from 0.

    Returns:
        (H, W), or (H, W, C) in OpenCV's order of channels: BGR, BGRA.
    """
    import cv2

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    buffer = np.frombuffer(encoded, np.uint8)
    try:
        if page == 0:
            return cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
        found = cv2.imdecodemulti(buffer, cv2.IMREAD_UNCHANGED, None, (page, page + 1))
        return found[1][0] if found[0] else None
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
