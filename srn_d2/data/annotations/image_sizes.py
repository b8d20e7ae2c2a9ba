"""Sizes of images from the headers of their files, against those that annotations give."""

import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from srn_d2.data.annotation_files import AnnotationFormatError
from srn_d2.data.image_io import EXIF_ORIENTATION

from .table import FaceTable

# Orientations of EXIF that exchange width and height.
_TURNED = (5, 6, 7, 8)
# Two aspect ratios within this are those of one image in two sizes.
_ASPECT_TOLERANCE = 0.02
# Progress is shown after this many seconds.
_PROGRESS_DELAY = 3.0
_LOG_INTERVAL = 30.0  # between two, where they do not replace each other


class HeaderSizes(NamedTuple):
    """What the headers of N images say.

    Attributes:
        sizes: (N, 2) width and height, upright; 0 where the header cannot be read.
        is_turned: (N,) bool, whether the EXIF orientation exchanges width and height.
        unreadable: rows of the images whose header cannot be read.
    """

    sizes: np.ndarray
    is_turned: np.ndarray
    unreadable: list[int]


def read_header_sizes(paths: Sequence[str]) -> HeaderSizes:
    """Read the header of each image once; shows its progress if that takes long."""
    sizes = np.zeros((len(paths), 2))
    is_turned = np.zeros(len(paths), dtype=bool)
    unreadable = []
    interval = 0.5 if sys.stderr.isatty() else _LOG_INTERVAL
    bar = tqdm(paths, "image headers", unit="image", delay=_PROGRESS_DELAY, mininterval=interval)
    for row, path in enumerate(bar):
        try:
            with Image.open(path) as image:
                size = image.size
                # PNG: its EXIF may be behind the pixels; getexif would decode all of them.
                turned = "exif" in image.info and image.getexif().get(EXIF_ORIENTATION) in _TURNED
        except Exception:  # Pillow raises nearly anything; training names the file and the error
            unreadable.append(row)
            continue
        sizes[row] = size[::-1] if turned else size
        is_turned[row] = turned
    return HeaderSizes(sizes, is_turned, unreadable)


def check_sizes(table: FaceTable, allow_mismatch: bool) -> None:
    """Read the sizes of a table's images, and compare them with those that its file gives.

    Raises:
        AnnotationFormatError: they differ, unless that is allowed; names number, kind and the
            first image.
    """
    assert table.paths is not None, "resolve the names first"
    headers = read_header_sizes(table.paths)
    table.sizes = headers.sizes
    if headers.unreadable:
        first = table.names[headers.unreadable[0]]
        table.notes.append(f"{len(headers.unreadable)} images cannot be read, {first!r} first")
    declared = table.declared_sizes
    if declared is None:
        return
    is_known = (declared > 0).all(axis=1) & (headers.sizes > 0).all(axis=1)
    differs = is_known & (np.abs(declared - headers.sizes) >= 1).any(axis=1)
    if not differs.any():
        return
    problem = _describe(table, declared, headers, np.flatnonzero(differs))
    if not allow_mismatch:
        raise AnnotationFormatError(
            table.source,
            "width and height",
            f"{problem}. If the boxes were drawn on other pictures than these files, they lie "
            "elsewhere: give those pictures, or scale or turn the boxes; if they fit the files as "
            "they are, allow_size_mismatch=True reads them",
        )
    table.notes.append(problem)


def _describe(
    table: FaceTable, declared: np.ndarray, headers: HeaderSizes, rows: np.ndarray
) -> str:
    given, found = declared[rows], headers.sizes[rows]
    is_exchanged = (np.abs(given - found[:, ::-1]) < 1).all(axis=1)
    by_exif = is_exchanged & headers.is_turned[rows]
    ratio = given / found
    is_scaled = ~is_exchanged & (np.abs(ratio[:, 0] / ratio[:, 1] - 1) < _ASPECT_TOLERANCE)
    kinds = {
        "the size before the file's EXIF orientation turns it": by_exif,
        "width and height exchanged": is_exchanged & ~by_exif,
        "the same picture in another size": is_scaled,
        "another picture": ~is_exchanged & ~is_scaled,
    }
    parts = []
    for kind, mask in kinds.items():
        if mask.any():
            first = np.flatnonzero(mask)[0]
            sizes = " but the file has ".join(
                f"{width:.0f} x {height:.0f}" for width, height in (given[first], found[first])
            )
            parts.append(f"{mask.sum()} {kind} ({table.names[rows[first]]!r}: {sizes})")
    return (
        f"of {len(rows)} of {len(declared)} images the annotations give another size than the "
        f"file has: {'; '.join(parts)}"
    )
