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
from dataclasses import dataclass
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
    line: int  # 1-based
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class PredictionFolder:
    """Predictions and issues found by :func:`read_predictions`.

    Attributes:
        predictions: image id -> (n, 5) float64: x, y, w, h, score, in the order of the file; only
            images with a readable file.
        missing: the images without a file, which count as without detections.
        malformed: the first bad line of each damaged file, which counts likewise.
        non_finite: lines with a NaN or infinite number. Where it is the score the box is left out,
            as it has no rank; other such boxes stay, and match no face.
        num_non_positive: boxes of zero or negative width or height; they stay (the official code
            keeps them).
        num_unread_lines: lines beyond the count that are not blank; the official code does not
            read them.
    """

    predictions: dict[str, np.ndarray]
    missing: tuple[str, ...] = ()
    malformed: tuple[PredictionIssue, ...] = ()
    non_finite: tuple[PredictionIssue, ...] = ()
    num_non_positive: int = 0
    num_unread_lines: int = 0

    def warnings(self) -> list[str]:
        """One line of text for each kind of problem, with up to three examples."""
        problems = [
            (self.missing, "images have no file and count as without detections"),
            (self.malformed, "files are malformed and count as without detections"),
            (self.non_finite, "boxes are not finite; those with such a score are left out"),
        ]
        lines = [
            f"{len(found)} {meaning}: {_examples(found)}" for found, meaning in problems if found
        ]
        if self.num_non_positive:
            lines.append(f"{self.num_non_positive} boxes have zero or negative width or height")
        if self.num_unread_lines:
            lines.append(f"{self.num_unread_lines} lines beyond the files' counts are not read")
        return lines


def read_predictions(directory: str | os.PathLike, image_ids: Iterable[str]) -> PredictionFolder:
    """Read the prediction files of ``image_ids`` ("event/image"); other files are skipped.

    Raises:
        NotADirectoryError: ``directory`` is not a folder.
    """
    if not os.path.isdir(directory):
        raise NotADirectoryError(f"No folder of predictions: {directory}")
    predictions: dict[str, np.ndarray] = {}
    missing, malformed, non_finite = [], [], []
    num_non_positive = num_unread_lines = 0
    for image_id in image_ids:
        path = os.path.join(directory, f"{image_id}.txt")
        try:
            text = Path(path).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            missing.append(image_id)
            continue
        try:
            boxes, unread = parse_predictions(text, path)
        except PredictionFormatError as error:
            malformed.append(error.issue)
            continue
        non_finite.extend(_non_finite_issues(boxes, path))
        boxes = boxes[np.isfinite(boxes[:, 4])]
        predictions[image_id] = boxes
        num_non_positive += int((boxes[:, 2:4] <= 0).any(axis=1).sum())
        num_unread_lines += unread
    return PredictionFolder(
        predictions,
        tuple(missing),
        tuple(malformed),
        tuple(non_finite),
        num_non_positive,
        num_unread_lines,
    )


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
        boxes = np.array(rows, dtype=np.float64).reshape(-1, 5)
    if len(boxes) < count:
        message = f"the file ends after {len(boxes)} of {count} boxes"
        raise PredictionFormatError(PredictionIssue(source, len(boxes) + 3, message))
    return boxes, sum(1 for line in lines[2 + count :] if line.strip())


def write_predictions(directory: str | os.PathLike, predictions: Mapping[str, np.ndarray]) -> None:
    """Write a prediction folder that :func:`read_predictions` reads back exactly.

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
    number = _to_number(text)
    if number is None or not number.is_integer() or number < 0:
        message = f"expected the number of boxes, found {text!r}"
        raise PredictionFormatError(PredictionIssue(source, 2, message))
    return int(number)


def _parse_plain_boxes(lines: list[str]) -> np.ndarray | None:
    """(n, 5) where every line is five plain numbers between blanks; None otherwise. Fast."""
    rows = [line.split() for line in lines]
    if not all(len(row) == 5 for row in rows) or not _PLAIN_NUMBERS.fullmatch("\n".join(lines)):
        return None
    try:
        numbers = [[float(token) for token in row] for row in rows]
    except ValueError:
        return None
    return np.array(numbers, dtype=np.float64).reshape(-1, 5)


def _parse_box(line: str, issue: PredictionIssue) -> list[float]:
    """The first five numbers of a line that holds nothing but numbers."""
    tokens = _SEPARATOR.split(line.strip().rstrip(",;").rstrip())
    numbers = [_to_number(token) for token in tokens]
    if None in numbers or len(numbers) < 5:
        message = f"expected x y w h score, found {line.strip()!r}"
        raise PredictionFormatError(issue._replace(message=message))
    return numbers[:5]


def _to_number(text: str) -> float | None:
    if not _NUMBER.fullmatch(text):
        return None
    return float(text.lower().replace("d", "e"))


def _non_finite_issues(boxes: np.ndarray, path: str) -> list[PredictionIssue]:
    return [
        PredictionIssue(
            path,
            int(row) + 3,
            f"score {boxes[row, 4]}" if not np.isfinite(boxes[row, 4]) else f"box {boxes[row, :4]}",
        )
        for row in np.flatnonzero(~np.isfinite(boxes).all(axis=1))
    ]


def _examples(items: tuple, limit: int = 3) -> str:
    return "; ".join(map(str, items[:limit])) + ("; ..." if len(items) > limit else "")
