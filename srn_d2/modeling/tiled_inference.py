"""Detection within the memory that there is: an image that does not fit is done in tiles.

Sides, overlaps and boxes are in pixels of the image that the detector is given.
"""

import itertools
import logging
from collections.abc import Callable
from typing import NamedTuple

import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor

logger = logging.getLogger(__name__)

Detect = Callable[[Tensor], Instances]
"""From an image (3, H, W) to Instances with ``pred_boxes``, ``scores`` and ``pred_classes``."""

TILE_ALIGNMENT = 128
"""Tiles begin at multiples of a detector's coarsest stride: its cells and anchors stay in place."""

OVERLAP_PER_FACE = 2.0
"""Overlap of two tiles, in sides of the largest face that is to be found whole in one of them."""

MAX_OVERLAP_SHARE = 0.5
"""The largest overlap, as a share of the side that is cut: tiles must be smaller than the image."""

OWNED_OVERLAP_SHARE = 1 / 8
"""How far beyond the middle of an overlap, as a share of it, a tile's detections count."""

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
"""How torch's allocators, cuDNN and cuBLAS say it in a plain RuntimeError."""


class Span(NamedTuple):
    """A tile along one axis: its pixels [start, stop); centres in [owned_from, owned_to) count."""

    start: int
    stop: int
    owned_from: float
    owned_to: float


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of a GPU or of the machine, could not be had."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(
        message in str(error) for message in OUT_OF_MEMORY_MESSAGES
    )


def detect_within_memory(
    detect: Detect,
    image: Tensor,
    *,
    merge: Callable[[Instances], Instances],
    max_face: float | None,
    name: str,
) -> Instances:
    """``detect(image)``; where that runs out of memory, the same in overlapping tiles.

    An image is cut in 2 x 2 tiles (2 x 1 where a side is too short to be cut), a tile that still
    does not fit is cut again. In the overlap of two tiles each one's detections count up to a
    little beyond the middle, by their centres. So a face of up to ``max_face`` is taken from a
    tile that shows it whole with some surroundings, and a part of it that the neighbour shows is
    not taken. What both found is left to ``merge``. Every cut is logged as a warning.

    Args:
        detect: the detector; its boxes are in pixels of the image it is given.
        image: (3, H, W).
        merge: removes the duplicates among detections, all in pixels of ``image``.
        max_face: longer side of the largest face that is to be found; None: any size. Overlaps
            are at most half of the side that is cut: larger faces can be found in part only.
        name: of the image, for the log.

    Raises:
        the detector's error, if it has another reason or if an image is too small to be cut:
            a side of 4 x TILE_ALIGNMENT never is.
    """
    try:
        return detect(image)
    except (RuntimeError, MemoryError) as error:
        height, width = image.shape[-2:]
        rows, columns = cut(height, max_face), cut(width, max_face)
        if not is_out_of_memory(error) or len(rows) == len(columns) == 1:
            raise
        _warn(name, (height, width), rows, columns, max_face)
    # Not in the handler: the error's traceback would keep the failed run's tensors alive.
    torch.cuda.empty_cache()
    found = []
    for y, x in itertools.product(rows, columns):
        tile = image[..., y.start : y.stop, x.start : x.stop]
        instances = detect_within_memory(detect, tile, merge=merge, max_face=max_face, name=name)
        found.append(_owned(instances, y, x, (height, width)))
    return merge(Instances.cat(found))


def cut(side: int, max_face: float | None) -> list[Span]:
    """Two overlapping tiles of a side, or one if it is too short.

    Args:
        side: its length.
        max_face: as in ``detect_within_memory``.
    """
    overlap = int(side * MAX_OVERLAP_SHARE)
    if max_face is not None:
        overlap = min(overlap, int(OVERLAP_PER_FACE * max_face))
    start = (side - overlap) // 2 // TILE_ALIGNMENT * TILE_ALIGNMENT  # of the second tile
    if start == 0:
        return [Span(0, side, -float("inf"), float("inf"))]
    middle, reach = start + overlap / 2, overlap * OWNED_OVERLAP_SHARE
    return [
        Span(0, start + overlap, -float("inf"), middle + reach),
        Span(start, side, middle - reach, float("inf")),
    ]


def _owned(instances: Instances, y: Span, x: Span, image_size: tuple[int, int]) -> Instances:
    """A tile's detections that count, in pixels of the whole image of (height, width)."""
    boxes = instances.pred_boxes.tensor
    boxes = boxes + boxes.new_tensor([x.start, y.start, x.start, y.start])
    centre_x, centre_y = ((boxes[:, :2] + boxes[:, 2:]) / 2).unbind(dim=1)
    owned = (centre_x >= x.owned_from) & (centre_x < x.owned_to)
    owned &= (centre_y >= y.owned_from) & (centre_y < y.owned_to)
    return Instances(
        image_size,
        pred_boxes=Boxes(boxes[owned]),
        scores=instances.scores[owned],
        pred_classes=instances.pred_classes[owned],
    )


def _warn(
    name: str,
    image_size: tuple[int, int],
    rows: list[Span],
    columns: list[Span],
    max_face: float | None,
) -> None:
    height, width = (max(span.stop - span.start for span in spans) for spans in (rows, columns))
    overlaps = [spans[0].stop - spans[1].start for spans in (rows, columns) if len(spans) == 2]
    whole = min(overlaps) / OVERLAP_PER_FACE
    limit = ""
    if max_face is None or whole < int(max_face):
        limit = f"; faces larger than {whole:.0f} pixels may be found in part only"
    logger.warning(
        "Out of memory for %s, %d x %d pixels: doing it in %d tiles of up to %d x %d pixels%s",
        *(name, image_size[1], image_size[0], len(rows) * len(columns), width, height, limit),
    )
