"""Face regions of FDDB: ellipses and rectangles, their overlap, and a map from one to the other.

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
# Above so many detections of an image, numpy finds sooner than a loop which ones touch a face.
_MANY = 40


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


def region_overlaps(
    faces: np.ndarray, detections: np.ndarray, image_size: tuple[int, int]
) -> np.ndarray:
    """Intersection over union, in pixels, of every face with every detection.

    Args:
        faces: (M, 5) ellipses.
        detections: (D, 4) rectangles or (D, 5) ellipses.
        image_size: height, width; what lies outside the image does not count.

    Returns:
        (M, D) float64.
    """
    faces, detections = np.asarray(faces, float), np.asarray(detections, float)
    overlaps = np.zeros((len(faces), len(detections)))
    if not overlaps.size:
        return overlaps
    drawings: list[_Drawing] = []
    if detections.shape[1] == 4:
        windows = pixel_rectangles(detections, image_size)
    else:
        drawings = _drawings(detections, image_size)
        windows = np.array([drawing[:4] for drawing in drawings])
    window_list = windows.tolist()
    drawn: dict[int, RegionMask] = {}
    for m, face in enumerate(_drawings(faces, image_size)):
        mask = None
        for d in _touching(face[:4], windows, window_list):
            mask = mask or _draw(face)
            if drawings and d not in drawn:
                drawn[d] = _draw(drawings[d])
            intersection, area = _intersection(mask, window_list[d], drawn.get(d))
            if intersection:
                overlaps[m, d] = intersection / (mask.area + area - intersection)
    return overlaps


def draw_ellipse(ellipse: np.ndarray, image_size: tuple[int, int]) -> RegionMask:
    """Draw an ellipse, (5,), as the official program does; image_size is height, width."""
    return _draw(_drawings(np.asarray(ellipse, float)[None], image_size)[0])


class _Drawing(NamedTuple):
    """What OpenCV is told to draw, and the window of the image that holds all of it.

    ``right`` and ``bottom`` are exclusive; they are not above ``left`` and ``top`` where the
    ellipse lies outside the image.
    """

    left: int
    top: int
    right: int
    bottom: int
    center: tuple[int, int]
    radii: tuple[int, int]
    degrees: int


def _drawings(ellipses: np.ndarray, image_size: tuple[int, int]) -> list[_Drawing]:
    height, width = image_size
    drawings = []
    centers = _round(ellipses[:, 3:]).tolist()
    for (major, minor, angle, *_), (x, y) in zip(ellipses.tolist(), centers, strict=True):
        major, minor = abs(int(major)), abs(int(minor))
        # In this order: with another one, half degrees are rounded to the other side.
        degrees = round(180 - (math.pi - angle) * 180 / math.pi)
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        half_width = math.ceil(math.hypot(major * cos, minor * sin)) + _DRAWING_MARGIN
        half_height = math.ceil(math.hypot(major * sin, minor * cos)) + _DRAWING_MARGIN
        left, right = max(x - half_width, 0), min(x + half_width + 1, width)
        top, bottom = max(y - half_height, 0), min(y + half_height + 1, height)
        drawings.append(_Drawing(left, top, right, bottom, (x, y), (major, minor), degrees))
    return drawings


def _draw(drawing: _Drawing) -> RegionMask:
    left, top, right, bottom, (x, y), radii, degrees = drawing
    if right <= left or bottom <= top:
        return RegionMask(0, 0, np.zeros((0, 0), np.uint8), 0)
    pixels = np.zeros((bottom - top, right - left), np.uint8)
    cv2.ellipse(pixels, (x - left, y - top), radii, degrees, 0, 360, 1, cv2.FILLED)
    return RegionMask(left, top, pixels, cv2.countNonZero(pixels))


def _touching(
    window: tuple[int, int, int, int], windows: np.ndarray, window_list: list[list[int]]
) -> list[int]:
    """The indices of the windows that have a pixel in common with ``window``."""
    left, top, right, bottom = window
    if len(window_list) > _MANY:
        low = np.maximum(windows[:, :2], [left, top])
        high = np.minimum(windows[:, 2:], [right, bottom])
        return np.flatnonzero((low < high).all(axis=1)).tolist()
    return [
        d
        for d, (x1, y1, x2, y2) in enumerate(window_list)
        if max(x1, left) < min(x2, right) and max(y1, top) < min(y2, bottom)
    ]


def _intersection(
    mask: RegionMask, window: list[int], detected: RegionMask | None
) -> tuple[int, int]:
    """Pixels that a face shares with a detection, and those of the detection.

    Args:
        mask: the face.
        window: of the detection, XYXY; it touches the face's.
        detected: the detection's mask; None: it is all of its window.
    """
    x1, y1, x2, y2 = window
    left, top = max(x1, mask.left), max(y1, mask.top)
    height, width = mask.pixels.shape
    right, bottom = min(x2, mask.left + width), min(y2, mask.top + height)
    pixels = _window(mask, left, top, right, bottom)
    if detected is None:
        return cv2.countNonZero(pixels), (x2 - x1) * (y2 - y1)
    pixels = cv2.bitwise_and(pixels, _window(detected, left, top, right, bottom))
    return cv2.countNonZero(pixels), detected.area


def pixel_rectangles(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """The pixels that the official program fills, as (D, 4) int64 XYXY, right, bottom exclusive.

    Corners may be in any order: a box without area is one pixel wide.
    """
    height, width = image_size
    rectangles = [
        (
            max(min(x1, x2, width), 0),
            max(min(y1, y2, height), 0),
            min(max(x1, x2, -1) + 1, width),
            min(max(y1, y2, -1) + 1, height),
        )
        for x1, y1, x2, y2 in _round(boxes).tolist()
    ]
    return np.array(rectangles, np.int64).reshape(-1, 4)


def _window(mask: RegionMask, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    return mask.pixels[top - mask.top : bottom - mask.top, left - mask.left : right - mask.left]


def _round(coordinates: np.ndarray) -> np.ndarray:
    # As cvPointFrom32f: in float32, half to even.
    return np.rint(np.asarray(coordinates, np.float32)).astype(np.int64)


def _center_and_size(boxes: np.ndarray) -> tuple[np.ndarray, ...]:
    x1, y1, x2, y2 = np.asarray(boxes, float).reshape(-1, 4).T
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
