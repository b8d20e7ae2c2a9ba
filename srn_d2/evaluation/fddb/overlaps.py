"""Overlaps of FDDB's faces and detections, of many images at once.

Which regions can touch is found by the windows that hold them, for all images together; only
ellipses in such pairs are drawn, each once, and only pixels that both windows have are counted.

M faces and D detections of one image.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import cv2
import numpy as np

from .regions import EllipseDrawings, pixel_rectangles

Columns = dict[int, list[tuple[int, float]]]
"""The overlaps above 0 of one image: detection -> faces, rising, with their overlaps."""

# So many images, and so many pairs of windows, are compared at once: some MB of memory.
_BATCH = 500
_MAX_PAIRS = 1 << 16
# Drawn detections that are kept for the next faces of their image.
_KEPT_DRAWINGS = 64


class FddbImage(NamedTuple):
    """The faces and the detections of one image."""

    faces: np.ndarray  # (M, 5) ellipses, see :mod:`.regions`
    regions: np.ndarray  # (D, 4) rectangles or (D, 5) ellipses
    scores: np.ndarray  # (D,) finite
    size: tuple[int, int]  # height, width of the image


class _Pairs(NamedTuple):
    """n pairs of a face and a detection whose windows have pixels in common."""

    faces: np.ndarray  # (n,) rising
    detections: np.ndarray  # (n,)
    windows: np.ndarray  # (n, 4) the pixels in common, XYXY


def overlap_columns(images: Iterable[FddbImage]) -> Iterator[Columns]:
    """The overlaps of each image: intersection over union, in pixels.

    What lies outside an image does not count.
    """
    images = iter(images)
    while batch := list(itertools.islice(images, _BATCH)):
        columns: list[Columns] = [{} for _ in batch]
        for num_numbers in (4, 5):
            chosen = [
                i
                for i, image in enumerate(batch)
                if len(image.faces) and len(image.regions) and image.regions.shape[1] == num_numbers
            ]
            if chosen:
                _fill([columns[i] for i in chosen], [batch[i] for i in chosen])
        yield from columns


def region_overlaps(
    faces: np.ndarray, detections: np.ndarray, image_size: tuple[int, int]
) -> np.ndarray:
    """Intersection over union, in pixels, of every face with every detection of one image.

    Args:
        faces: (M, 5) ellipses.
        detections: (D, 4) rectangles or (D, 5) ellipses.
        image_size: height, width; what lies outside the image does not count.

    Returns:
        (M, D) float64.
    """
    overlaps = np.zeros((len(faces), len(detections)))
    image = FddbImage(
        np.asarray(faces, float), np.asarray(detections, float), np.zeros(0), image_size
    )
    for detection, column in next(overlap_columns([image])).items():
        for face, overlap in column:
            overlaps[face, detection] = overlap
    return overlaps


def _fill(columns: Sequence[Columns], images: Sequence[FddbImage]) -> None:
    """Add the overlaps of images with faces and with detections of one kind."""
    num_faces = np.array([len(image.faces) for image in images])
    num_detections = np.array([len(image.regions) for image in images])
    sizes = np.array([image.size for image in images])
    faces = EllipseDrawings(
        np.concatenate([image.faces for image in images]), np.repeat(sizes, num_faces, axis=0)
    )
    regions = np.concatenate([image.regions for image in images])
    sizes = np.repeat(sizes, num_detections, axis=0)
    drawings = EllipseDrawings(regions, sizes) if regions.shape[1] == 5 else None
    windows = pixel_rectangles(regions, sizes) if drawings is None else drawings.windows
    image_of_face = np.repeat(np.arange(len(images)), num_faces)
    first_faces = np.cumsum(num_faces) - num_faces
    first_detections = np.cumsum(num_detections) - num_detections
    for pairs in _touching(
        faces.windows, windows, num_detections[image_of_face], first_detections[image_of_face]
    ):
        overlaps = _overlaps(faces, windows, drawings, pairs)
        found = np.flatnonzero(overlaps)
        image = image_of_face[pairs.faces[found]]
        for i, face, detection, overlap in zip(
            image.tolist(),
            (pairs.faces[found] - first_faces[image]).tolist(),
            (pairs.detections[found] - first_detections[image]).tolist(),
            overlaps[found].tolist(),
            strict=True,
        ):
            columns[i].setdefault(detection, []).append((face, overlap))


def _touching(
    faces: np.ndarray, detections: np.ndarray, num_detections: np.ndarray, first: np.ndarray
) -> Iterator[_Pairs]:
    """The pairs of touching windows, some at a time.

    Args:
        faces, detections: windows, (m, 4) and (n, 4), XYXY.
        num_detections, first: (m,) the detections in the image of each face: how many, from which.
    """
    ends = np.cumsum(num_detections)
    start = 0
    while start < len(faces):
        done = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, done + _MAX_PAIRS, side="right")), start + 1)
        part = slice(start, stop)
        face = np.repeat(np.arange(start, stop), num_detections[part])
        offset = first[part] - (ends[part] - num_detections[part] - done)
        detection = np.arange(len(face)) + np.repeat(offset, num_detections[part])
        low = np.maximum(faces[face, :2], detections[detection, :2])
        high = np.minimum(faces[face, 2:], detections[detection, 2:])
        touching = np.flatnonzero((low < high).all(axis=1))
        common = np.hstack([low[touching], high[touching]])
        yield _Pairs(face[touching], detection[touching], common)
        start = stop


def _overlaps(
    faces: EllipseDrawings, windows: np.ndarray, drawings: EllipseDrawings | None, pairs: _Pairs
) -> np.ndarray:
    """(n,) intersection over union of pairs.

    Args:
        faces: of all images.
        windows: of the detections.
        drawings: of the detections; None: they fill their windows.
        pairs: rising by face.
    """
    num_pairs = np.bincount(pairs.faces, minlength=len(faces.windows))
    touching = np.flatnonzero(num_pairs)
    in_face = (pairs.windows - np.tile(faces.windows[pairs.faces, :2], 2)).T.tolist()
    windows_of_faces = zip(*in_face, strict=True)
    left, top, right, bottom = windows[pairs.detections].T
    areas = (right - left) * (bottom - top)
    if drawings is not None:
        corners = windows[pairs.detections, :2]
        in_detection = (pairs.windows - np.tile(corners, 2)).T.tolist()
        windows_of_detections = zip(pairs.detections.tolist(), *in_detection, strict=True)
        draw = lru_cache(maxsize=_KEPT_DRAWINGS)(partial(_draw, drawings))
        detection_areas: list[int] = []
    counts: list[int] = []
    face_areas = []
    for face, number in zip(touching.tolist(), num_pairs[touching].tolist(), strict=True):
        pixels, face_area = _draw(faces, face)
        face_areas.append(face_area)
        parts = [
            pixels[y1:y2, x1:x2] for x1, y1, x2, y2 in itertools.islice(windows_of_faces, number)
        ]
        if drawings is not None:
            for k, part in enumerate(parts):
                detection, x1, y1, x2, y2 = next(windows_of_detections)
                detection_pixels, area = draw(detection)
                parts[k] = cv2.bitwise_and(part, detection_pixels[y1:y2, x1:x2])
                detection_areas.append(area)
        counts += map(cv2.countNonZero, parts)
    if drawings is not None:
        areas = np.array(detection_areas, np.int64)
    intersection = np.array(counts, np.int64)
    face_areas_of_pairs = np.repeat(np.array(face_areas, np.int64), num_pairs[touching])
    return intersection / (face_areas_of_pairs + areas - intersection)


def _draw(drawings: EllipseDrawings, i: int) -> tuple[np.ndarray, int]:
    """The pixels of an ellipse in its window, and their number."""
    pixels = drawings.draw(i)
    return pixels, cv2.countNonZero(pixels)
