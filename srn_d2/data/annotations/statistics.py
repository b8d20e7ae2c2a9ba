"""Figures on a data set: histograms of its faces, and boxes that may be wrong."""

import itertools
from collections.abc import Sequence

import numpy as np

from .table import FaceTable

# Edges of the bins: the shorter side in pixels, width over height, faces of an image.
SIDE_EDGES = (4, 8, 16, 32, 64, 128, 256, 512)
ASPECT_EDGES = (0.33, 0.5, 0.67, 0.8, 1, 1.25, 1.5, 2, 3)
COUNT_EDGES = (1, 2, 6, 21, 101)
# A box is suspicious beyond these: pixels, width over height or its inverse, parts of its side and
# of the image.
_SMALL_SIDE, _EXTREME_ASPECT, _BEYOND, _LARGE = 3.0, 3.0, 0.25, 0.9
_BAR = 40  # letters of the longest bar


def suspicious_boxes(table: FaceTable) -> dict[str, np.ndarray]:
    """Why boxes may be wrong -> their rows; ignore regions are left out.

    Args:
        table: boxes XYWH in pixels; where the size of an image is not known, less is checked.
    """
    boxes, sizes = table.boxes, table.best_sizes()[table.image_of]
    low, sides = boxes[:, :2], boxes[:, 2:]
    high = low + sides
    is_known = (sizes > 0).all(axis=1)
    visible = np.clip(np.minimum(high, sizes) - np.maximum(low, 0), 0, None)
    is_outside = is_known & (visible <= 0).any(axis=1)
    ratio = sides[:, 0] / sides[:, 1]
    covered = sides.prod(axis=1) / np.maximum(sizes.prod(axis=1), 1)
    masks = {
        "outside of the image": is_outside,
        f"more than {_BEYOND:.0%} of a side beyond the image's edge": is_known
        & ~is_outside
        & (visible < (1 - _BEYOND) * sides).any(axis=1),
        f"the shorter side is below {_SMALL_SIDE:g} pixels": sides.min(axis=1, initial=np.inf)
        < _SMALL_SIDE,
        f"one side more than {_EXTREME_ASPECT:g} times the other": np.maximum(ratio, 1 / ratio)
        > _EXTREME_ASPECT,
        f"more than {_LARGE:.0%} of the image": is_known & (covered > _LARGE),
        "twice the same box": _is_repeated(table),
    }
    found = {why: np.flatnonzero(mask & ~table.ignored) for why, mask in masks.items()}
    return {why: rows for why, rows in found.items() if len(rows)}


def describe(table: FaceTable) -> list[str]:
    """Lines of text: the histograms, without ignore regions."""
    is_face = ~table.ignored
    sides = table.boxes[is_face, 2:]
    counts = np.bincount(table.image_of[is_face], minlength=len(table.names))
    lines = _histogram("shorter side, pixels", sides.min(axis=1, initial=np.inf), SIDE_EDGES)
    lines += _histogram("width / height", sides[:, 0] / sides[:, 1], ASPECT_EDGES)
    return lines + _histogram("faces of an image", counts, COUNT_EDGES, is_whole=True)


def _histogram(
    title: str, values: np.ndarray, edges: Sequence[float], is_whole: bool = False
) -> list[str]:
    counts = np.bincount(np.digitize(values, edges), minlength=len(edges) + 1).tolist()
    labels = [f"below {edges[0]:g}"]
    labels += [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    labels += [f"{edges[-1]:g} or more"]
    if is_whole:
        pairs = itertools.pairwise(edges)
        labels = ["0", *(f"{a}" if b - a == 1 else f"{a} to {b - 1}" for a, b in pairs), labels[-1]]
    lines = [f"{title}:"]
    for label, count in zip(labels, counts, strict=True):
        bar = "#" * -(-_BAR * count // max(*counts, 1))
        lines.append(f"  {label:>13} {count:>8} {bar}".rstrip())
    return lines


def _is_repeated(table: FaceTable) -> np.ndarray:
    """Which boxes are there a second time in their image (M,)."""
    keys = np.column_stack([table.image_of, table.boxes])
    repeated = np.ones(len(keys), dtype=bool)
    if len(keys):
        repeated[np.unique(keys, axis=0, return_index=True)[1]] = False
    return repeated
