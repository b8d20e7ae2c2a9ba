"""FDDB (Jain and Learned-Miller, UM-CS-2010-009): reader of its ellipse lists, and its loader.

A list is a sequence of records::

    2002/08/11/big/img_591                                       image below originalPics, no suffix
    1                                                            number of faces
    123.583300 85.549500 1.265839 269.693400 161.781200  1       major radius, minor radius, angle,
                                                                 centre x, centre y, 1

in pixels and radians; the major axis points along (cos, sin) of the angle, y down.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from detectron2.structures import BoxMode

from .common import (
    README_HINT,
    AnnotationFormatError,
    drop_degenerate_boxes,
    read_annotation_text,
    require_images,
)

NUM_FOLDS = 10
IMAGE_FOLDER = "originalPics"
LIST_FOLDER = "FDDB-folds"


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
                source, f"line {number}", f"expected an image name, found {name!r}"
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


def load_fddb(
    root: str | os.PathLike, folds: Sequence[int] = range(1, NUM_FOLDS + 1)
) -> list[dict[str, Any]]:
    """The data set as detectron2's list of dicts; no image is opened.

    Each dict has "fold"; its "image_id" is the name in the list. Each annotation has "ellipse"
    (five numbers, see :class:`FddbEllipse`) and its tight "bbox". Ellipses without area are left
    out; their number is logged.

    Args:
        root: has originalPics and FDDB-folds.
        folds: numbers of the lists.

    Raises:
        FileNotFoundError: a list, or any image, is not where it is expected.
        AnnotationFormatError: a list is damaged, or an image is in two of them.
    """
    root = Path(os.path.abspath(root))
    files = {fold: root / LIST_FOLDER / f"FDDB-fold-{fold:02d}-ellipseList.txt" for fold in folds}
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of FDDB's {len(files)} ellipse lists are missing, {missing[0]} first; "
            f"{README_HINT}."
        )
    dataset, fold_of = [], {}
    for fold, path in files.items():
        records = parse_ellipse_list(read_annotation_text(path), str(path))
        for record in records:
            if record.name in fold_of:
                problem = f"{record.name!r} is in fold {fold_of[record.name]} already"
                raise AnnotationFormatError(path, "images", problem)
            fold_of[record.name] = fold
        paths = require_images(root / IMAGE_FOLDER, [f"{record.name}.jpg" for record in records])
        images = [_to_dict(*pair, fold) for pair in zip(paths, records, strict=True)]
        dataset += drop_degenerate_boxes(images, path)
    return dataset


def _to_dict(path: str, record: FddbRecord, fold: int) -> dict[str, Any]:
    boxes = ellipse_bounding_boxes(np.array(record.faces))
    boxes[:, 2:] -= boxes[:, :2]
    boxes[[face.is_degenerate for face in record.faces], 2:] = 0
    annotations = [
        {
            "bbox": box,
            "bbox_mode": BoxMode.XYWH_ABS,
            "category_id": 0,
            "iscrowd": 0,
            "ignore": False,
            "ellipse": list(face),
        }
        for box, face in zip(boxes.tolist(), record.faces, strict=True)
    ]
    return {"file_name": path, "image_id": record.name, "fold": fold, "annotations": annotations}


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
        problem = f"expected a number of faces, found {text!r}"
        raise AnnotationFormatError(source, f"line {number}", problem)
    return int(text)


def _parse_ellipse(lines: list[tuple[int, str]], index: int, source: str) -> FddbEllipse:
    expected = "an ellipse (radii, angle, centre and 1)"
    number, text = _line(lines, index, expected, source)
    words = text.split()
    values = [float(word) for word in words if _is_number(word)]
    if len(words) != 6 or len(values) != 6 or not all(map(math.isfinite, values)) or values[5] != 1:
        raise AnnotationFormatError(
            source, f"line {number}", f"expected {expected}, found {text!r}"
        )
    return FddbEllipse(*values[:5])
