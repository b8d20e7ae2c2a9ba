"""FDDB (Jain and Learned-Miller, UM-CS-2010-009): reader of its ellipse lists.

A list is a sequence of records::

    2002/08/11/big/img_591                                       image below originalPics, no suffix
    1                                                            number of faces
    123.583300 85.549500 1.265839 269.693400 161.781200  1       major radius, minor radius, angle,
                                                                 centre x, centre y, 1

in pixels and radians; the major axis points along (cos, sin) of the angle, y down.
"""

import math
from typing import NamedTuple

import numpy as np

from .annotation_files import AnnotationFormatError, shown

_ELLIPSE = "an ellipse (radii, angle, centre and 1)"


class FddbEllipse(NamedTuple):
    """One face, in the file's order and units."""

    major_radius: float
    minor_radius: float
    angle: float
    center_x: float
    center_y: float

    @property
    def is_degenerate(self) -> bool:
        """True if the ellipse has no area."""
        return self.major_radius <= 0 or self.minor_radius <= 0


class FddbRecord(NamedTuple):
    """One image: its path below originalPics, without suffix, and its faces."""

    name: str
    faces: tuple[FddbEllipse, ...]


def parse_ellipse_list(text: str, source: str = "<text>") -> list[FddbRecord]:
    """Read an ellipse list; ellipses without area are kept, for the caller to count.

    Args:
        text: the file's content; blank lines are skipped.
        source: the file's name for error messages.

    Raises:
        AnnotationFormatError: at the first line that is not what its place demands.
    """
    lines = [(i, line.strip()) for i, line in enumerate(text.split("\n"), start=1) if line.strip()]
    records, first_lines = [], {}
    position = 0
    while position < len(lines):
        number, name = lines[position]
        if len(name.split()) != 1 or _is_number(name):
            raise AnnotationFormatError(
                source, f"line {number}", f"expected an image name, found {shown(name)}"
            )
        if name in first_lines:
            problem = f"{name!r} was listed before, in line {first_lines[name]}"
            raise AnnotationFormatError(source, f"line {number}", problem)
        first_lines[name] = number
        count = _parse_count(lines, position + 1, source)
        faces = tuple(_parse_ellipse(lines, position + 2 + i, source) for i in range(count))
        records.append(FddbRecord(name, faces))
        position += 2 + count
    return records


def ellipse_bounding_boxes(ellipses: np.ndarray) -> np.ndarray:
    """The tight axis-parallel boxes (M, 4), XYXY, of (M, 5) ellipses."""
    major, minor, angle, x, y = np.asarray(ellipses, float).reshape(-1, 5).T
    half_width = np.hypot(major * np.cos(angle), minor * np.sin(angle))
    half_height = np.hypot(major * np.sin(angle), minor * np.cos(angle))
    return np.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=1)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _line(lines: list[tuple[int, str]], index: int, expected: str, source: str) -> tuple[int, str]:
    if index >= len(lines):
        problem = f"the file ends after this line, expected {expected}"
        raise AnnotationFormatError(source, f"line {lines[-1][0]}", problem)
    return lines[index]


def _parse_count(lines: list[tuple[int, str]], index: int, source: str) -> int:
    number, text = _line(lines, index, "a number of faces", source)
    if not (text.isascii() and text.isdigit()):
        problem = f"expected a number of faces, found {shown(text)}"
        raise AnnotationFormatError(source, f"line {number}", problem)
    return int(text)


def _parse_ellipse(lines: list[tuple[int, str]], index: int, source: str) -> FddbEllipse:
    number, text = _line(lines, index, _ELLIPSE, source)
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if len(values) != 6 or not all(map(math.isfinite, values)) or values[5] != 1:
        raise AnnotationFormatError(
            source, f"line {number}", f"expected {_ELLIPSE}, found {shown(text)}"
        )
    return FddbEllipse(*values[:5])
