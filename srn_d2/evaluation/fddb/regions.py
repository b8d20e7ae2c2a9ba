"""Face regions of FDDB: ellipses and rectangles, drawn in pixels, and a map between them.

FDDB annotates a face by an ellipse, a detector returns rectangles. Both are drawn as pixel masks
and the overlap of two regions is counted in pixels, by the drawing rules of the official C++
program: rounded centre, truncated radii, whole degrees, inclusive corners, nothing outside the
image, and the sign of a side or a radius ignored, so that a region without area is drawn one pixel
wide. On detections of the kinds that are published, and on made-up ones with half pixels, half
degrees and sides of zero, both ROC curves equal the program's line by line
(tests/evaluation/fddb/test_official_curves.py). Against exact geometry, the overlap of
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

# Room around an ellipse's exact extent for what OpenCV draws beyond it.
_DRAWING_MARGIN = 2
# Coordinates and radii beyond it would not fit OpenCV's integers; no image is so large.
_MAX_COORDINATE = 1_000_000


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


class RegionMask(NamedTuple):
    """The pixels of a region, in a window of the image."""

    left: int
    top: int
    pixels: np.ndarray  # (h, w) uint8, 0 or 1
    area: int  # number of pixels


class EllipseDrawings:
    """What OpenCV is told to draw for n ellipses, each in an image of its own size.

    Attributes:
        windows: (n, 4) int64 XYXY, right and bottom exclusive: the part of the image that holds all
            of an ellipse; empty where it lies outside the image.
    """

    def __init__(self, ellipses: np.ndarray, image_sizes: np.ndarray) -> None:
        """Round as the official program does.

        Args:
            ellipses: (n, 5).
            image_sizes: (n, 2) or (2,), height and width.
        """
        ellipses = np.asarray(ellipses, float).reshape(-1, 5)
        centers = _round(ellipses[:, 3:])
        radii = np.minimum(np.abs(np.trunc(ellipses[:, :2])), _MAX_COORDINATE)
        # In this order: with another one, half degrees are rounded to the other side.
        degrees = np.rint(180 - (math.pi - ellipses[:, 2]) * 180 / math.pi) % 360
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        axes = np.stack([cos, sin, sin, cos], axis=1).reshape(-1, 2, 2)  # of x, of y
        extent = np.hypot(*np.moveaxis(radii[:, None] * axes, 2, 0))
        half = np.ceil(extent).astype(np.int64) + _DRAWING_MARGIN
        low = np.maximum(centers - half, 0)
        high = np.minimum(centers + half + 1, np.asarray(image_sizes)[..., ::-1])
        self.windows = np.hstack([low, high])
        self._centers = (centers - low).tolist()  # in the window
        self._radii = radii.astype(np.int64).tolist()
        self._degrees = degrees.astype(np.int64).tolist()
        self._shapes = np.maximum(high - low, 0)[:, ::-1].tolist()

    def draw(self, i: int) -> np.ndarray:
        """The pixels of ellipse ``i`` in its window, (h, w) uint8, 0 or 1."""
        pixels = np.zeros(self._shapes[i], np.uint8)
        if pixels.size:
            arguments = self._centers[i], self._radii[i], self._degrees[i]
            cv2.ellipse(pixels, *arguments, 0, 360, 1, cv2.FILLED)
        return pixels


def draw_ellipse(ellipse: np.ndarray, image_size: tuple[int, int]) -> RegionMask:
    """Draw an ellipse, (5,), as the official program does; image_size is height, width."""
    drawings = EllipseDrawings(ellipse, np.array(image_size))
    pixels = drawings.draw(0)
    left, top = drawings.windows[0, :2].tolist()
    return RegionMask(left, top, pixels, cv2.countNonZero(pixels) if pixels.size else 0)


def pixel_rectangles(boxes: np.ndarray, image_size: np.ndarray | tuple[int, int]) -> np.ndarray:
    """The pixels that the official program fills, as (D, 4) int64 XYXY, right, bottom exclusive.

    Corners may be in any order: a box without area is one pixel wide.

    Args:
        boxes: (D, 4).
        image_size: height and width, (2,), or (D, 2).
    """
    corners = _round(boxes).reshape(-1, 2, 2)
    limits = np.asarray(image_size)[..., ::-1]
    low = np.maximum(np.minimum(corners.min(axis=1), limits), 0)
    high = np.minimum(np.maximum(corners.max(axis=1), -1) + 1, limits)
    return np.hstack([low, high])


def _round(coordinates: np.ndarray) -> np.ndarray:
    # As cvPointFrom32f: in float32, half to even.
    coordinates = np.clip(coordinates, -_MAX_COORDINATE, _MAX_COORDINATE)
    return np.rint(coordinates.astype(np.float32)).astype(np.int64)


def _center_and_size(boxes: np.ndarray) -> tuple[np.ndarray, ...]:
    x1, y1, x2, y2 = np.asarray(boxes, float).reshape(-1, 4).T
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
