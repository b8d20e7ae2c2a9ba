"""Face regions of FDDB: ellipses and rectangles, their overlap, and a map from one to the other.

FDDB annotates a face by an ellipse, a detector returns rectangles. Both are drawn as pixel masks
and the overlap of two regions is counted in pixels, by the drawing rules of the official C++ code
(EllipseR.cpp, RectangleR.cpp, Matching.cpp, Region.cpp): rounded centre, truncated radii, whole
degrees, inclusive corners, and nothing outside the image. Against exact geometry, the overlap of
an ellipse with a box is off by 0.03 (standard deviation) at a minor radius of 10 pixels, by 0.007
at 40 and 0.004 at 80; FDDB's mean is 49.

M faces and D detections of one image. An ellipse is (major radius, minor radius, angle, centre x,
centre y), the order of FDDB's files, in pixels and radians; the major axis points along (cos,
sin) of the angle, y down. A rectangle is XYXY, absolute pixels.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np

from srn_d2.data.datasets.fddb import ellipse_bounding_boxes

# Room around an ellipse's exact extent for what OpenCV draws beyond it.
_DRAWING_MARGIN = 2


class BoxToEllipse(NamedTuple):
    """A linear map from a detector's box to the ellipse that FDDB would draw around its face.

    All lengths scale with the box, so that one map serves faces of every size.
    """

    vertical_radius: float  # radius along the axis at ``angle``, per box height
    horizontal_radius: float  # radius across it, per box width
    shift_x: float  # from the box's centre to the ellipse's, per box width
    shift_y: float  # likewise, per box height; negative is up
    angle: float  # radians; pi/2 is upright

    def __call__(self, boxes: np.ndarray) -> np.ndarray:
        """Map (D, 4) boxes to (D, 5) ellipses; a box without area gives one without area."""
        center_x, center_y, width, height = _center_and_size(boxes)
        return np.stack(
            [
                self.vertical_radius * height,
                self.horizontal_radius * width,
                np.full(len(boxes), self.angle),
                center_x + self.shift_x * width,
                center_y + self.shift_y * height,
            ],
            axis=1,
        )


# FDDB's ellipses reach the top of the head, most detectors' boxes the hairline or the brows: the
# usual remedy extends the box upwards by 20 % of its height; this is the ellipse inscribed there.
FIXED_BOX_TO_ELLIPSE = BoxToEllipse(0.6, 0.5, 0.0, -0.1, math.pi / 2)


def fit_box_to_ellipse(boxes: np.ndarray, ellipses: np.ndarray) -> BoxToEllipse:
    """Learn the map from pairs of a box and the ellipse of the same face.

    Least squares of the errors relative to the box, so that large faces do not outweigh small
    ones; the angle is the mean axis (angles that differ by pi are the same).

    Args:
        boxes: (n, 4) with positive sides, n >= 1.
        ellipses: (n, 5).
    """
    boxes, ellipses = np.asarray(boxes, float), np.asarray(ellipses, float)
    if len(boxes) != len(ellipses) or len(boxes) == 0:
        raise ValueError(f"cannot fit a map to {len(boxes)} boxes and {len(ellipses)} ellipses")
    center_x, center_y, width, height = _center_and_size(boxes)
    major, minor, angle, ellipse_x, ellipse_y = ellipses.T
    return BoxToEllipse(
        # With one coefficient an output and relative errors, the solution is the mean ratio.
        float(np.mean(major / height)),
        float(np.mean(minor / width)),
        float(np.mean((ellipse_x - center_x) / width)),
        float(np.mean((ellipse_y - center_y) / height)),
        0.5 * math.atan2(np.mean(np.sin(2 * angle)), np.mean(np.cos(2 * angle))),
    )


def region_overlaps(
    faces: np.ndarray, detections: np.ndarray, image_size: tuple[int, int]
) -> np.ndarray:
    """Intersection over union, in pixels, of every face with every detection.

    Args:
        faces: (M, 5) ellipses.
        detections: (D, 4) rectangles or (D, 5) ellipses. One without a positive area overlaps
            nothing.
        image_size: height, width; what lies outside the image does not count.

    Returns:
        (M, D) float64.
    """
    faces, detections = np.asarray(faces, float), np.asarray(detections, float)
    overlaps = np.zeros((len(faces), len(detections)))
    touching = _boxes_touch(_drawn_boxes(faces), _drawn_boxes(detections))  # (M, D)
    masks = [draw_region(face, image_size) for face in faces]
    for d in np.flatnonzero(touching.any(axis=0)):
        detected = draw_region(detections[d], image_size)
        for m in np.flatnonzero(touching[:, d]):
            intersection = _intersection_area(masks[m], detected)
            if intersection:
                overlaps[m, d] = intersection / (masks[m].area + detected.area - intersection)
    return overlaps


class RegionMask(NamedTuple):
    """The pixels of a region, in a window of the image."""

    left: int
    top: int
    pixels: np.ndarray  # (h, w) uint8, 0 or 1
    area: int  # number of pixels


def draw_region(region: np.ndarray, image_size: tuple[int, int]) -> RegionMask:
    """Draw one rectangle (4 numbers) or ellipse (5) as the official code does."""
    is_rectangle = len(region) == 4
    if is_rectangle:
        has_area = region[2] > region[0] and region[3] > region[1]
    else:
        has_area = region[0] > 0 and region[1] > 0
    left, top, right, bottom = _drawn_boxes(region[None])[0]
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, image_size[1] - 1), min(bottom, image_size[0] - 1)
    if not has_area or right < left or bottom < top:
        return RegionMask(0, 0, np.zeros((0, 0), np.uint8), 0)
    pixels = np.full((bottom - top + 1, right - left + 1), is_rectangle, np.uint8)
    if not is_rectangle:
        major, minor, degrees, x, y = (int(value) for value in _drawn_ellipses(region[None])[0])
        cv2.ellipse(pixels, (x - left, y - top), (major, minor), degrees, 0, 360, 1, cv2.FILLED)
    return RegionMask(left, top, pixels, int(np.count_nonzero(pixels)))


def _drawn_boxes(regions: np.ndarray) -> np.ndarray:
    """(n, 4) int64: first and last column and row that drawing could touch, inclusive."""
    if regions.shape[1] == 4:
        return _round(regions)
    drawn = _drawn_ellipses(regions).astype(float)
    drawn[:, 2] = np.deg2rad(drawn[:, 2])
    boxes = ellipse_bounding_boxes(drawn)
    low = np.floor(boxes[:, :2]) - _DRAWING_MARGIN
    high = np.ceil(boxes[:, 2:]) + _DRAWING_MARGIN
    return np.concatenate([low, high], axis=1).astype(np.int64)


def _drawn_ellipses(ellipses: np.ndarray) -> np.ndarray:
    """(n, 5) int64: what OpenCV draws, with the angle in degrees."""
    radii = np.trunc(ellipses[:, :2]).astype(np.int64)
    degrees = np.rint(np.rad2deg(ellipses[:, 2:3])).astype(np.int64)
    return np.concatenate([radii, degrees, _round(ellipses[:, 3:])], axis=1)


def _boxes_touch(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, m) bool: which inclusive boxes of ``first`` and ``second`` share a pixel."""
    first, second = first[:, None], second[None]
    return (
        np.minimum(first[..., 2:], second[..., 2:]) >= np.maximum(first[..., :2], second[..., :2])
    ).all(axis=-1)


def _intersection_area(first: RegionMask, second: RegionMask) -> int:
    left, top = max(first.left, second.left), max(first.top, second.top)
    right = min(first.left + first.pixels.shape[1], second.left + second.pixels.shape[1])
    bottom = min(first.top + first.pixels.shape[0], second.top + second.pixels.shape[0])
    if right <= left or bottom <= top:
        return 0
    windows = (
        mask.pixels[top - mask.top : bottom - mask.top, left - mask.left : right - mask.left]
        for mask in (first, second)
    )
    return int(np.count_nonzero(np.bitwise_and(*windows)))


def _round(coordinates: np.ndarray) -> np.ndarray:
    # As cvPointFrom32f: in float32, half to even.
    return np.rint(np.asarray(coordinates, np.float32)).astype(np.int64)


def _center_and_size(boxes: np.ndarray) -> tuple[np.ndarray, ...]:
    x1, y1, x2, y2 = np.asarray(boxes, float).reshape(-1, 4).T
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
