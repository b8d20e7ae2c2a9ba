"""Layout of the overlapping tiles of a large image.

Sides, overlaps and positions are in pixels of the image. Needs neither torch nor detectron2.
"""

import math
from typing import NamedTuple

import numpy as np

MAX_TILE_PIXELS = 4096 * 4096
"""Maximum number of pixels of an untiled image, after padding to multiples of TILE_ALIGNMENT.

The same on all machines, for the same results. On a CPU in float32 the network then takes some
5 GB ("lite", 300 bytes a pixel) to 11 GB (configs/srn_R50_released.yaml, 650).
"""

TILE_ALIGNMENT = 128
"""Tiles start at multiples of the coarsest stride, so that cells and anchors keep their grid."""

SMALLEST_CUT_SIDE = 4 * TILE_ALIGNMENT
"""Side in pixels from which an image can be cut, whatever the overlap."""

MAX_PARTS = 16
"""Maximum number of tiles along a side; tiles of larger images are cut again."""

OVERLAP_PER_FACE = 2.0
"""Overlap of two tiles, as a multiple of the largest face that has to lie within one tile."""

MAX_OVERLAP_SHARE = 0.5
"""Maximum overlap, as a share of the side that is cut: tiles must be smaller than the image."""

OWNED_OVERLAP_SHARE = 1 / 8
"""Margin beyond the middle of an overlap, as a share of it, in which a tile keeps detections."""


class Span(NamedTuple):
    """A tile along one axis: pixels [start, stop); keeps box centres in [owned_from, owned_to)."""

    start: int
    stop: int
    owned_from: float
    owned_to: float

    def owns(self, centres: np.ndarray) -> np.ndarray:
        """Mask, of the same shape, of the box centres along the axis that belong to this tile."""
        return (centres >= self.owned_from) & (centres < self.owned_to)


def padded_pixels(height: int, width: int) -> int:
    """Pixels of an image whose sides are padded to multiples of TILE_ALIGNMENT."""
    return math.prod(math.ceil(side / TILE_ALIGNMENT) * TILE_ALIGNMENT for side in (height, width))


def grid(
    height: int, width: int, max_face: float | None, max_pixels: int
) -> tuple[list[Span], list[Span]]:
    """Rows and columns of overlapping tiles, each of up to ``max_pixels`` after padding.

    The grid with the fewest pixels in all; if there is none (images of thousands of megapixels),
    2 x 2 tiles that have to be cut again. Overlaps are at most half of the side of a square of
    ``max_pixels``, so that all tiles together have at most some four times the image's pixels.

    Args:
        height, width: size of the image.
        max_face: longer side of the largest face that has to lie within a tile; None: any size.
        max_pixels: maximum number of pixels of a tile, each side rounded up to a multiple of
            TILE_ALIGNMENT.
    """

    def lengths(spans: list[Span]) -> list[int]:
        return [span.stop - span.start for span in spans]

    largest = MAX_OVERLAP_SHARE * math.sqrt(max_pixels) / OVERLAP_PER_FACE
    max_face = largest if max_face is None else min(max_face, largest)
    parts = range(1, MAX_PARTS + 1)
    grids = [
        (rows, columns)
        for rows in [cut(height, max_face, n) for n in parts]
        for columns in [cut(width, max_face, n) for n in parts]
        if padded_pixels(max(lengths(rows)), max(lengths(columns))) <= max_pixels
    ]
    if not grids:
        return cut(height, max_face), cut(width, max_face)
    return min(grids, key=lambda spans: sum(lengths(spans[0])) * sum(lengths(spans[1])))


def cut(side: int, max_face: float | None, parts: int = 2) -> list[Span]:
    """Cut a side into overlapping tiles, fewer than ``parts`` or one if it is too short.

    Args:
        side: length of the side.
        max_face: see ``grid``.
    """
    overlap = int(side * MAX_OVERLAP_SHARE)
    if max_face is not None:
        overlap = min(overlap, int(OVERLAP_PER_FACE * max_face))
    steps = ((side - overlap) * part // parts for part in range(parts))
    starts = sorted({step // TILE_ALIGNMENT * TILE_ALIGNMENT for step in steps})
    stops = [*(start + overlap for start in starts[1:]), side]
    middles = [start + overlap / 2 for start in starts[1:]]  # of the overlaps
    reach = overlap * OWNED_OVERLAP_SHARE
    owned_from = [-math.inf, *(middle - reach for middle in middles)]
    owned_to = [*(middle + reach for middle in middles), math.inf]
    return list(map(Span, starts, stops, owned_from, owned_to))
