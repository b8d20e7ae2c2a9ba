"""Detection within the available memory: an image that does not fit is processed in tiles.

Sides, overlaps and boxes are in pixels of the image that the detector is given. Needs neither
torch nor detectron2.
"""

import functools
import itertools
import logging
import sys
from collections.abc import Callable

import numpy as np

from .detections import Detections, concatenate
from .tiles import OVERLAP_PER_FACE, SMALLEST_CUT_SIDE, Span, cut, grid, padded_pixels

logger = logging.getLogger(__name__)

Detect = Callable[[np.ndarray], Detections]
"""Function from an image (H, W, C) to its detections, in its pixels."""

OUT_OF_MEMORY_MESSAGES = (
    "can't allocate memory",  # torch on a CPU
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",  # cuDNN up to 8
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "unable to find an engine to execute this computation",  # no workspace for any of cuDNN's
)
"""Parts of out-of-memory messages of torch's allocators, cuDNN and cuBLAS in RuntimeErrors."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error is an out-of-memory error, of a GPU or of the machine."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError"  # torch's
        or any(message in str(error) for message in OUT_OF_MEMORY_MESSAGES)
    )


def release_cached_memory() -> None:
    """Release torch's cached GPU memory, if torch is imported."""
    if "torch" in sys.modules:
        sys.modules["torch"].cuda.empty_cache()


def detect_within_memory(
    detect: Detect,
    image: np.ndarray,
    *,
    merge: Callable[[Detections], Detections],
    max_face: float | None,
    name: str,
    max_pixels: int | None = None,
) -> Detections:
    """``detect(image)``, in overlapping tiles where the whole image takes too much memory.

    An image of more than ``max_pixels`` is cut into the grid that has the fewest pixels in all.
    One that runs out of memory is cut into 2 x 2 tiles (2 x 1 where a side is too short to be
    cut), with a warning in the log. A tile that still does not fit is cut again.

    In the overlap of two tiles, each keeps the detections whose centres lie up to a little beyond
    the middle. So a face of up to ``max_face`` is taken from a tile that contains it whole with
    some context, and partial detections from the neighbour are dropped. Duplicates are left to
    ``merge``.

    Args:
        detect: the detector; its boxes are in pixels of the image it is given.
        image: (H, W, C).
        merge: removes the duplicates among detections, all in pixels of ``image``.
        max_face: longer side of the largest face that is to be found; None: any size. Overlaps
            are at most half of the side that is cut, and of the root of ``max_pixels``: faces
            larger than half of that can be found in part only.
        name: name of the image, for the log.
        max_pixels: maximum number of pixels of an input of ``detect``, each side rounded up to a
            multiple of TILE_ALIGNMENT; at least SMALLEST_CUT_SIDE squared; None: no limit.

    Raises:
        ValueError: ``max_pixels`` is too small.
        the detector's error, if it has another reason or if the image is too small to be cut; a
            side of SMALLEST_CUT_SIDE is large enough.
    """
    if max_pixels is not None and max_pixels < SMALLEST_CUT_SIDE**2:
        raise ValueError(f"max_pixels is {max_pixels}, less than {SMALLEST_CUT_SIDE}²")
    height, width = image.shape[:2]
    if max_pixels is None or padded_pixels(height, width) <= max_pixels:
        try:
            return detect(image)
        except (RuntimeError, MemoryError) as error:
            rows, columns = cut(height, max_face), cut(width, max_face)
            if not is_out_of_memory(error) or len(rows) == len(columns) == 1:
                raise
            _log(logging.WARNING, f"Out of memory for {name}", rows, columns, max_face)
        # Outside the handler: the error's traceback would keep the failed run's tensors alive.
        release_cached_memory()
    else:
        rows, columns = grid(height, width, max_face, max_pixels)
        _log(logging.INFO, f"Too many pixels for one run in {name}", rows, columns, max_face)
    options = {"merge": merge, "max_face": max_face, "name": name, "max_pixels": max_pixels}
    detect_tile = functools.partial(detect_within_memory, detect, **options)
    return merge(_detect_in_tiles(detect_tile, image, rows, columns))


def _detect_in_tiles(
    detect: Detect, image: np.ndarray, rows: list[Span], columns: list[Span]
) -> Detections:
    """Detections of each tile in its own region, in pixels of the whole image."""
    found = []
    for y, x in itertools.product(rows, columns):
        in_tile = detect(image[y.start : y.stop, x.start : x.stop])
        boxes = in_tile.boxes + np.array([x.start, y.start] * 2, dtype=in_tile.boxes.dtype)
        centre_x, centre_y = ((boxes[:, :2] + boxes[:, 2:]) / 2).T
        is_owned = x.owns(centre_x) & y.owns(centre_y)
        found.append(in_tile._replace(boxes=boxes).take(is_owned))
    return concatenate(found)


def _log(
    level: int, reason: str, rows: list[Span], columns: list[Span], max_face: float | None
) -> None:
    """Log the tiles of an image, and the size of faces that exceed them."""
    height, width = (max(span.stop - span.start for span in spans) for spans in (rows, columns))
    overlaps = [spans[0].stop - spans[1].start for spans in (rows, columns) if len(spans) > 1]
    whole = min(overlaps) / OVERLAP_PER_FACE
    limit = ""
    if max_face is None or whole < int(max_face):
        limit = f"; faces larger than {whole:.0f} pixels may be found in part only"
    logger.log(
        level,
        "%s, %d x %d pixels: doing it in %d tiles of up to %d x %d pixels%s",
        *(reason, columns[-1].stop, rows[-1].stop),
        *(len(rows) * len(columns), width, height, limit),
    )
