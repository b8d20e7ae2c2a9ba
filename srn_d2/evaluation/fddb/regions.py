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
    masks = [draw_ellipse(face, image_size) for face in faces]
    if detections.shape[1] == 4:
        return _rectangle_overlaps(masks, pixel_rectangles(detections, image_size))
    overlaps = np.zeros((len(faces), len(detections)))
    touching = _boxes_touch(_padded_boxes(faces), _padded_boxes(detections))  # (M, D)
    for d in np.flatnonzero(touching.any(axis=0)):
        detected = draw_ellipse(detections[d], image_size)
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


def draw_ellipse(ellipse: np.ndarray, image_size: tuple[int, int]) -> RegionMask:
    """Draw an ellipse as EllipseR.cpp does; one without area has no pixels."""
    major, minor = int(ellipse[0]), int(ellipse[1])
    degrees = round(math.degrees(ellipse[2]))
    x, y = (int(value) for value in _round(ellipse[3:]))
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    half_width = math.ceil(math.hypot(major * cos, minor * sin)) + _DRAWING_MARGIN
    half_height = math.ceil(math.hypot(major * sin, minor * cos)) + _DRAWING_MARGIN
    left, right = max(x - half_width, 0), min(x + half_width + 1, image_size[1])
    top, bottom = max(y - half_height, 0), min(y + half_height + 1, image_size[0])
    if ellipse[0] <= 0 or ellipse[1] <= 0 or right <= left or bottom <= top:
        return RegionMask(0, 0, np.zeros((0, 0), np.uint8), 0)
    pixels = np.zeros((bottom - top, right - left), np.uint8)
    cv2.ellipse(pixels, (x - left, y - top), (major, minor), degrees, 0, 360, 1, cv2.FILLED)
    return RegionMask(left, top, pixels, cv2.countNonZero(pixels))


def pixel_rectangles(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """The pixels that RectangleR.cpp fills, as (D, 4) int64 XYXY, right and bottom exclusive.

    A box without area has none: its right or bottom is not above its left or top.
    """
    height, width = image_size
    rectangles = np.clip(_round(boxes) + np.array([0, 0, 1, 1]), 0, [width, height] * 2)
    rectangles[(boxes[:, 2:] <= boxes[:, :2]).any(axis=1)] = 0
    return rectangles


def _rectangle_overlaps(masks: list[RegionMask], rectangles: np.ndarray) -> np.ndarray:
    """(M, D) intersection over union of faces and the outcome of :func:`pixel_rectangles`."""
    overlaps = np.zeros((len(masks), len(rectangles)))
    areas = np.prod(rectangles[:, 2:] - rectangles[:, :2], axis=1)
    for m, mask in enumerate(masks):
        if mask.area == 0:
            continue
        height, width = mask.pixels.shape
        in_window = rectangles - [mask.left, mask.top] * 2
        left, top, right, bottom = np.clip(in_window, 0, [width, height] * 2).T
        sums = cv2.integral(mask.pixels)
        intersections = (
            sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        )
        overlaps[m] = intersections / (mask.area + areas - intersections)
    return overlaps


def _padded_boxes(ellipses: np.ndarray) -> np.ndarray:
    """(n, 4) boxes that hold all that is drawn of (n, 5) ellipses."""
    boxes = ellipse_bounding_boxes(ellipses)
    # The angle is rounded by up to half a degree, 0.009 radians.
    padding = _DRAWING_MARGIN + 1 + 0.009 * np.abs(ellipses[:, :2]).max(axis=1, keepdims=True)
    return np.concatenate([boxes[:, :2] - padding, boxes[:, 2:] + padding], axis=1)


def _boxes_touch(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, m) bool: which boxes of ``first`` and ``second`` intersect."""
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
    return cv2.countNonZero(cv2.bitwise_and(*windows))


def _round(coordinates: np.ndarray) -> np.ndarray:
    # As cvPointFrom32f: in float32, half to even.
    return np.rint(np.asarray(coordinates, np.float32)).astype(np.int64)


def _center_and_size(boxes: np.ndarray) -> tuple[np.ndarray, ...]:
    x1, y1, x2, y2 = np.asarray(boxes, float).reshape(-1, 4).T
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
