"""Files of FDDB without its images: detections, ellipse lists, image sizes and ROC curves.

Detections are records, in one file or in a folder with one for each fold::

    2002/08/11/big/img_591          image
    2                               number of detections
    123.5 85.5 70 90 0.98           left, top, width, height, score: a rectangle
    60.2 41 1.26 269.6 161.3 0.97   or the radii, angle, centre and score of an ellipse

Of either kind all in a file must be. A suffix of the image (.jpg and so on) is left out. Sizes are
lines ``image width height``; curves are lines of a rate, a number of false positives and mostly a
score, as the official program writes them.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srn_d2.data.annotation_files import (
    AnnotationFormatError,
    read_annotation_text,
    shown,
    without_image_suffix,
)
from srn_d2.data.fddb_lists import parse_ellipse_list

_RECTANGLE, _ELLIPSE = 5, 6  # numbers of a detection with its score


class FddbDetections(NamedTuple):
    """The detections of one image, in the order of the file."""

    regions: np.ndarray  # (D, 4) XYXY or (D, 5) ellipses
    scores: np.ndarray  # (D,) finite


def read_detections(path: str | os.PathLike) -> dict[str, FddbDetections]:
    """The detections of each image from a file, or from the .txt files of a folder.

    A folder's files are those named like fold-01-out.txt, if there are any, otherwise all .txt.

    Raises:
        FileNotFoundError: there is no such file.
        AnnotationFormatError: a file is damaged, an image is listed twice, or rectangles and
            ellipses are mixed; the message has the file and the line.
    """
    found: dict[str, FddbDetections] = {}
    first: dict[str, str] = {}  # where an image is listed
    num_columns = 0
    for file in _files(path, "*fold-*out*.txt"):
        for number, name, values in _records(file):
            if name in found:
                problem = f"{shown(name)} was listed before, in {first[name]}"
                raise AnnotationFormatError(file, f"line {number}", problem)
            first[name] = f"{file.name}, line {number}"
            if len(values) and num_columns not in (0, values.shape[1]):
                problem = "rectangles and ellipses are mixed"
                raise AnnotationFormatError(file, f"line {number}", problem)
            num_columns = values.shape[1] if len(values) else num_columns
            found[name] = FddbDetections(values[:, :-1], values[:, -1])
    return found


def read_ellipses(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """(M, 5) ellipses of each image from a list, or from a folder of FDDB-fold-XX-ellipseList.txt.

    Raises:
        FileNotFoundError: there is no such file.
        AnnotationFormatError: a list is damaged, an image is in two of them, or there is no face.
    """
    faces: dict[str, np.ndarray] = {}
    first: dict[str, str] = {}  # the list of an image
    for file in _files(path, "*ellipseList.txt"):
        text = read_annotation_text(file)
        for record in parse_ellipse_list(text, str(file)):
            if record.name in faces:
                number = [line.strip() for line in text.split("\n")].index(record.name) + 1
                problem = f"{shown(record.name)} was listed before, in {first[record.name]}"
                raise AnnotationFormatError(file, f"line {number}", problem)
            first[record.name] = file.name
            faces[record.name] = np.array(record.faces, dtype=np.float64).reshape(-1, 5)
    if not any(map(len, faces.values())):
        raise AnnotationFormatError(path, "ellipses", f"there is no face in {len(faces)} images")
    return faces


def read_sizes(path: str | os.PathLike) -> dict[str, tuple[int, int]]:
    """(height, width) of each image, in pixels.

    Raises:
        FileNotFoundError: the file is not there.
        AnnotationFormatError: a line is not "image width height", or an image has two sizes.
    """
    sizes: dict[str, tuple[int, int]] = {}
    for number, line in _lines(path):
        words = line.split()
        if len(words) != 3 or not all(word.isdigit() and int(word) for word in words[1:]):
            problem = f"expected image, width and height, found {shown(' '.join(words))}"
            raise AnnotationFormatError(path, f"line {number}", problem)
        name, size = without_image_suffix(words[0]), (int(words[2]), int(words[1]))
        if sizes.setdefault(name, size) != size:
            problem = f"{shown(name)} had another size before"
            raise AnnotationFormatError(path, f"line {number}", problem)
    return sizes


def read_curve(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Rates and false positives, both (P,), of a published ROC file, by rising false positives.

    Raises:
        FileNotFoundError: the file is not there.
        AnnotationFormatError: a line is not two or three numbers, a rate in [0, 1] first and then
            a number of false positives, or there is none.
    """
    rows = []
    for number, line in _lines(path):
        words = line.split()
        values = _floats(words)
        if len(values) not in (2, 3) or not 0 <= values[0] <= 1 or values[1] < 0:
            problem = (
                "expected a rate in 0 .. 1, false positives and mostly a score, found "
                f"{shown(' '.join(words))}"
            )
            raise AnnotationFormatError(path, f"line {number}", problem)
        rows.append(values[:2])
    if not rows:
        raise AnnotationFormatError(path, "line 1", "the file is empty")
    rates, false_positives = np.array(rows, dtype=np.float64).reshape(-1, 2).T
    order = np.lexsort((rates, false_positives))
    return rates[order], false_positives[order]


def _files(path: str | os.PathLike, pattern: str) -> list[Path]:
    path = Path(path)
    if not path.is_dir():
        return [path]
    files = sorted(path.glob(pattern)) or sorted(path.glob("*.txt"))
    if not files:
        raise FileNotFoundError(f"{path} has neither {pattern} nor another .txt file")
    return files


def _lines(path: str | os.PathLike) -> list[tuple[int, str]]:
    """Number and text of each line that is not blank."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no file {path}")
    text = read_annotation_text(path).split("\n")
    return [(i, line) for i, line in enumerate(text, start=1) if line and not line.isspace()]


class _Record(NamedTuple):
    number: int  # line of the image
    image: str
    count: int
    rows: list[tuple[int, str]]  # number and text of the line of each detection


def _records(path: Path) -> Iterator[tuple[int, str, np.ndarray]]:
    """Line, image and numbers of each record: XYXY and score, or an ellipse and score."""
    records: list[_Record] = []
    try:
        records.extend(_split(path))
    except AnnotationFormatError:
        for record in records:  # the first line that is wrong may be one of these
            _numbers(path, record)
        raise
    values = _block([line for record in records for _, line in record.rows])
    if values is None:  # something is wrong, or rectangles and ellipses are mixed
        for record in records:
            yield record.number, record.image, _numbers(path, record)
        return
    if values.shape[1] == _RECTANGLE:
        values[:, 2:4] += values[:, :2]
    position = 0
    for record in records:
        yield record.number, record.image, values[position : position + record.count]
        position += record.count


def _split(path: Path) -> Iterator[_Record]:
    """The records of a file, their rows not looked at."""
    lines = _lines(path)
    position = 0
    while position < len(lines):
        number, words = lines[position][0], lines[position][1].split()
        if len(words) != 1 or _floats(words):
            problem = (
                f"expected an image, found {shown(' '.join(words))}: does the count before fit?"
            )
            raise AnnotationFormatError(path, f"line {number}", problem)
        if position + 1 == len(lines):
            raise AnnotationFormatError(path, f"line {number}", "the file ends before the count")
        count = _count(path, *lines[position + 1])
        rows = lines[position + 2 : position + 2 + count]
        yield _Record(number, without_image_suffix(words[0]), count, rows)
        position += 2 + count
    if position > len(lines):
        problem = f"the file ends after {len(rows)} of {count} detections"
        raise AnnotationFormatError(path, f"line {lines[-1][0]}", problem)


def _block(rows: list[str]) -> np.ndarray | None:
    """The numbers of all rows; None if they are not of one kind and finite."""
    if not rows:
        return np.zeros((0, _RECTANGLE))
    try:
        values = np.loadtxt(rows, comments=None, ndmin=2)
    except ValueError:
        return None
    is_valid = values.shape[1] in (_RECTANGLE, _ELLIPSE) and np.isfinite(values).all()
    return values if is_valid else None


def _count(path: Path, number: int, line: str) -> int:
    words = line.split()
    values = _floats(words)
    if len(values) != 1 or values[0] < 0 or values[0] % 1:
        problem = f"expected a number of detections, found {shown(' '.join(words))}"
        raise AnnotationFormatError(path, f"line {number}", problem)
    return int(values[0])


def _numbers(path: Path, record: _Record) -> np.ndarray:
    """The numbers of one record, each row checked."""
    values: list[list[float]] = []
    for number, line in record.rows:
        words = line.split()
        values.append(_floats(words))
        if len(words) == 1 and not values[-1]:
            problem = (
                f"expected detection {len(values)} of the {record.count} that {record.image} has "
                f"by line {record.number + 1}, found {shown(words[0])}: the count does not fit"
            )
            raise AnnotationFormatError(path, f"line {number}", problem)
        if len(values[-1]) not in (_RECTANGLE, _ELLIPSE) or len(values[-1]) != len(values[0]):
            problem = (
                "expected a rectangle or an ellipse and its score, five or six finite numbers, "
                f"found {shown(' '.join(words))}"
            )
            raise AnnotationFormatError(path, f"line {number}", problem)
    return np.array(values, dtype=np.float64).reshape(len(values), -1 if values else _RECTANGLE)


def _floats(words: list[str]) -> list[float]:
    """The numbers, or [] if one of the words is no finite number."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return []
    return values if all(map(math.isfinite, values)) else []
