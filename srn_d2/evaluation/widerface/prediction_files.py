"""Prediction files and folders of the official WIDER FACE evaluation: reader and writer.

A prediction folder holds one text file for each image, ``<event>/<image>.txt``::

    0--Parade/0_Parade_marchingband_1_465.jpg     line 1: anything
    2                                             line 2: number of boxes
    541.5 354 36 46.25 0.98                       x y w h score, pixels
    101 98.25 12 17 0.07

Only the first ``count`` box lines are read. Where a file is empty, ends before that, or has among
them a line that is not at least five numbers, the official code takes the whole image as one
without detections; so does this module, and it says which file and line it was. A missing file is
the same. The order of the boxes does not matter.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

# Numbers between blanks, commas or semicolons, as MATLAB's str2num reads them.
_SEPARATOR = re.compile(r"\s*[,;]\s*|\s+")
_NUMBER = re.compile(
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?|nan|inf)", re.ASCII | re.IGNORECASE
)
_PLAIN_NUMBERS = re.compile(r"[-+.0-9eE \t\n]*")


class PredictionIssue(NamedTuple):
    """Something wrong in a prediction file; ``str()`` gives "path:line: message"."""

    path: str
    line: int | str  # from 1, or the key in a JSON file
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


class PredictionFormatError(ValueError):
    """A file that the official code cannot read; ``issue`` says where and why."""

    def __init__(self, issue: PredictionIssue) -> None:
        super().__init__(str(issue))
        self.issue = issue


def parse_predictions(text: str, source: str = "<text>") -> tuple[np.ndarray, int]:
    """Parse one prediction file.

    Args:
        text: the content, with "\\n" line ends.
        source: the file's name for error messages.

    Returns:
        (n, 5) float64 boxes and scores, NaN and infinite ones included; and the number of lines
        beyond the count that are not blank.

    Raises:
        PredictionFormatError: at the first line that makes the file unreadable.
    """
    rows, num_unread_lines = parse_rows(text, source)
    return rows[:, :5], num_unread_lines


def parse_rows(text: str, source: str = "<text>") -> tuple[np.ndarray, int]:
    """As :func:`parse_predictions`, with the columns that all box lines have: (n, K), K >= 5."""
    lines = text.split("\n")
    count = _parse_count(lines, source)
    box_lines = lines[2 : 2 + count]
    if lines[-1] == "" and len(box_lines) + 2 == len(lines):
        box_lines = box_lines[:-1]  # text after the last line end is not a line
    boxes = _parse_plain_boxes(box_lines)
    if boxes is None:
        rows = [
            _parse_box(line, PredictionIssue(source, number, ""))
            for number, line in enumerate(box_lines, start=3)
        ]
        width = min(map(len, rows), default=5)
        boxes = np.array([row[:width] for row in rows], dtype=np.float64).reshape(-1, width)
    if len(boxes) < count:
        message = f"the file ends after {len(boxes)} of {count} boxes"
        raise PredictionFormatError(PredictionIssue(source, len(boxes) + 3, message))
    return boxes, sum(1 for line in lines[2 + count :] if line.strip())


def write_predictions(directory: str | os.PathLike, predictions: Mapping[str, np.ndarray]) -> None:
    """Write a prediction folder, which :func:`.read_predictions` reads back exactly.

    Args:
        directory: is created; existing files of the same images are overwritten.
        predictions: image id ("event/image") -> (n, 5): x, y, w, h, score.
    """
    for image_id, boxes in predictions.items():
        path = Path(directory) / f"{image_id}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = np.asarray(boxes, dtype=np.float64).tolist()
        path.write_text(format_predictions(image_id, rows), encoding="utf-8")


def format_predictions(image_id: str, rows: Iterable[Sequence[float]]) -> str:
    """The text of a prediction file, which :func:`parse_predictions` reads back exactly.

    Args:
        image_id: becomes line 1, a line break in it a blank. The official code does not read it;
            others take the part after the last "/" as the image's name.
        rows: x, y, w, h, score, each a Python int or float.
    """
    # repr() of a float is the shortest text that reads back as the same number.
    lines = [" ".join(map(repr, row)) for row in rows]
    return "\n".join([re.sub(r"[\r\n]", " ", image_id), str(len(lines)), *lines, ""])


def _parse_count(lines: list[str], source: str) -> int:
    """The number on line 2."""
    if lines == [""]:
        raise PredictionFormatError(PredictionIssue(source, 1, "the file is empty"))
    text = lines[1].strip() if len(lines) > 1 else ""
    number = parse_number(text)
    if number is None or not number.is_integer() or number < 0:
        message = f"expected the number of boxes, found {text!r}"
        raise PredictionFormatError(PredictionIssue(source, 2, message))
    return int(number)


def _parse_plain_boxes(lines: list[str]) -> np.ndarray | None:
    """(n, K) where every line is K >= 5 plain numbers between blanks; None otherwise. Fast."""
    rows = [line.split() for line in lines]
    width = len(rows[0]) if rows else 5
    if (
        width < 5
        or not all(len(row) == width for row in rows)
        or not _PLAIN_NUMBERS.fullmatch("\n".join(lines))
    ):
        return None
    try:
        numbers = [[float(token) for token in row] for row in rows]
    except ValueError:
        return None
    return np.array(numbers, dtype=np.float64).reshape(-1, width)


def _parse_box(line: str, issue: PredictionIssue) -> list[float]:
    """The numbers of a line that holds nothing but numbers, five or more."""
    tokens = _SEPARATOR.split(line.strip().rstrip(",;").rstrip())
    numbers = [parse_number(token) for token in tokens]
    if None in numbers or len(numbers) < 5:
        message = f"expected x y w h score, found {line.strip()!r}"
        raise PredictionFormatError(issue._replace(message=message))
    return numbers


def parse_number(text: str) -> float | None:
    """A number as MATLAB's str2num reads it; None for any other text."""
    if not _NUMBER.fullmatch(text):
        return None
    return float(text.lower().replace("d", "e"))
