"""Text files of predictions as other tools write them: one file for each image.

The official format (:mod:`srn_d2.evaluation.widerface.prediction_files`) is tried first, so a file
that the official code reads is read as it does. Other files are read where they have one meaning:
without the image's name, the count or both, with tensor(...) or np.float64(...), labels, blank
lines, decimal commas, in UTF-16. ``forms`` says what was found.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srn_d2.evaluation.widerface.prediction_files import (
    PredictionFormatError,
    PredictionIssue,
    parse_number,
    parse_rows,
)

from .columns import Columns, header_columns

MIN_NUMBERS = 5  # of a line: a box and its score
# tensor(0.98, device='cuda:0'), np.float64(0.98), tf.Tensor(0.98, shape=(), dtype=float32), [1, 2]
_TENSORFLOW = re.compile(r"<tf\.Tensor:[^>]*\bnumpy=([^>]*)>")
_KEYWORD = re.compile(
    r",?\s*\b(?:device|dtype|grad_fn|requires_grad|shape|size)\s*=\s*"
    r"(?:'[^']*'|\"[^\"]*\"|<[^>]*>|\([^)]*\)|[\w.]+)"
)
_CALL = re.compile(
    r"\b(?:(?:np|numpy|torch|jnp|tf)\.)*"
    r"(?:[Tt]ensor|[Aa]rray|float_?\d*|double|u?int_?\d*|Decimal|list|tuple)\s*(?=\()"
)
_BRACKETS = re.compile(r"[\[\](){}]")
_SPLIT = re.compile(r"\s*[,;|]\s*|\s+")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(?:,\d+)?(?:[eE][+-]?\d+)?", re.ASCII)

UTF_16 = "are in UTF-16"
NO_NAME = "lack the image's name"
NO_COUNT = "lack the number of boxes"
BOXES_ONLY = "lack the image's name and the number of boxes"
COLUMN_NAMES = "have a line of column names"
WRAPPED = "have tensor(...), np.float64(...) or brackets around the numbers"
LABELS = "have words beside the numbers"
BLANK_LINES = "have blank lines among the boxes"
COMMAS = "have decimal commas"
EMPTY = "are empty and count as without detections"


@dataclass(frozen=True)
class TextRows:
    """The numbers of a file.

    Attributes:
        rows: (n, K) float64, K >= 5: the columns that all its lines have.
        lines: the number of each row's line, from 1.
        num_unread: lines beyond the count that are not blank.
        forms: in what the file differs from the official format.
        columns: the columns, where the file names them.
    """

    rows: np.ndarray
    lines: Sequence[int] = ()
    num_unread: int = 0
    forms: tuple[str, ...] = ()
    columns: Columns | None = None


def parse_text(data: bytes, source: str, strict: bool = False) -> TextRows:
    """The rows of one file.

    Args:
        data: content of the file.
        source: the file's name for error messages.
        strict: read the official format only.

    Raises:
        PredictionFormatError: at the first line that cannot be read.
    """
    text = _with_line_feeds(data.decode("utf-8", "replace"))
    try:
        rows, num_unread = parse_rows(text, source)
    except PredictionFormatError as error:
        if strict:
            raise
        other = _parse_other(data, source)
        if other.forms == (BLANK_LINES,) and _count(text.split("\n")[1]) is not None:
            raise error  # one blank line in an official file: damaged, not another format
        return other
    if "," in text and not strict and _has_decimal_commas(text.split("\n")[2 : 2 + len(rows)]):
        rows, num_unread = parse_rows(_without_decimal_commas(text), source)
        return _official(rows, num_unread, (COMMAS,))
    return _official(rows, num_unread)


def _official(rows: np.ndarray, num_unread: int, forms: tuple[str, ...] = ()) -> TextRows:
    return TextRows(rows, range(3, 3 + len(rows)), num_unread, forms)


def _parse_other(data: bytes, source: str) -> TextRows:
    text, forms = decode(data, source)
    if not text.strip():
        return TextRows(np.zeros((0, MIN_NUMBERS)), forms=(*forms, EMPTY))
    if forms:
        try:
            return _official(*parse_rows(text, source), forms)
        except PredictionFormatError:
            pass  # of another form as well
    lines = [(i, line.strip()) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
    if _has_decimal_commas([line for _, line in lines if _looks_like_boxes(line)]):
        lines = [(i, _without_decimal_commas(line)) for i, line in lines]
        forms = (*forms, COMMAS)
    first_box, count, columns, form = _header(lines, Path(source).stem)
    boxes = lines[first_box:] if count is None else lines[first_box : first_box + count]
    rows, more_forms = _box_rows(boxes, source)
    if count is not None and len(rows) < count:
        problem = f"the file ends after {len(rows)} of {count} boxes"
        raise PredictionFormatError(PredictionIssue(source, lines[-1][0] + 1, problem))
    if not (form or more_forms):
        more_forms = (BLANK_LINES,)
    forms = (*forms, *((form,) if form else ()), *more_forms)
    numbers = [number for number, _ in boxes]
    return TextRows(rows, numbers, len(lines) - first_box - len(boxes), forms, columns)


def _header(
    lines: list[tuple[int, str]], image: str
) -> tuple[int, int | None, Columns | None, str]:
    """(index of the first box line, count or None, columns or None, form) of an image's file."""
    first = lines[0][1]
    count = _count(first)
    second_count = _count(lines[1][1]) if len(lines) > 1 else None
    if second_count is not None:  # a name, which may be a number
        return 2, second_count, None, ""
    if count is not None and first == image and count != len(lines) - 1:  # a number as its name
        return 1, None, None, NO_COUNT
    if count is not None:
        return 1, count, None, NO_NAME
    if _looks_like_boxes(first):
        return 0, None, None, BOXES_ONLY
    columns = header_columns(_SPLIT.split(first))
    return 1, None, columns, COLUMN_NAMES if columns else NO_COUNT


def _box_rows(lines: list[tuple[int, str]], source: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """(n, K) numbers of the box lines, and in what way they are written."""
    rows: list[list[float]] = []
    forms: dict[str, None] = {}
    has_labels = bool(lines) and _numbers(lines[0][1])[1] == LABELS
    for number, line in lines:
        numbers, form = _numbers(line)
        if (form == LABELS) != has_labels:
            numbers = None  # damaged
        if numbers is None or len(numbers) < MIN_NUMBERS:
            problem = f"expected x y w h score, found {line!r}"
            if numbers and len(numbers) == 4:
                problem = f"a box without a score: {line!r}"
            raise PredictionFormatError(PredictionIssue(source, number, problem))
        rows.append(numbers)
        if form:
            forms[form] = None
    width = min(map(len, rows), default=MIN_NUMBERS)
    table = np.array([row[:width] for row in rows], dtype=np.float64).reshape(-1, width)
    return table, tuple(forms)


def _numbers(line: str) -> tuple[list[float] | None, str]:
    """The numbers of a line, or None; and how they are written beside plain numbers."""
    bare = _unwrapped(line)
    form = WRAPPED if bare != line else ""
    words = [word for word in _SPLIT.split(bare.strip()) if word]
    numbers = [parse_number(word) for word in words]
    while numbers and numbers[0] is None:  # a label before or after the numbers
        numbers, form = numbers[1:], LABELS
    while numbers and numbers[-1] is None:
        numbers, form = numbers[:-1], LABELS
    return (None if None in numbers else numbers), form


def _unwrapped(line: str) -> str:
    line = _TENSORFLOW.sub(r"\1", line)
    return _BRACKETS.sub(" ", _CALL.sub("", _KEYWORD.sub("", line))).strip()


def _looks_like_boxes(line: str) -> bool:
    """True for a line that begins a file without a header: numbers alone, a label apart."""
    numbers, form = _numbers(line)
    return numbers is not None and len(numbers) >= 4 and (form != LABELS or len(numbers) >= 5)


def _count(line: str) -> int | None:
    numbers, form = _numbers(line)
    if numbers is None or len(numbers) != 1 or form == LABELS:
        return None
    number = numbers[0]
    return int(number) if np.isfinite(number) and number >= 0 and number == int(number) else None


def decode(data: bytes, source: str) -> tuple[str, tuple[str, ...]]:
    """The text without a byte order mark, and (UTF_16,) where it is that.

    Raises:
        PredictionFormatError: it is no text.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or (b"\0" in data and len(data) % 2 == 0):
        encoding = "utf-16"
        if data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
            encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
        text = _with_line_feeds(data.decode(encoding, "replace"))
        if "\0" not in text and sum(map(str.isascii, text)) > len(text) / 2:
            return text, (UTF_16,)
    text = _with_line_feeds(data.decode("utf-8-sig", "replace"))
    if "\0" in text:
        raise PredictionFormatError(PredictionIssue(source, 1, "the file is binary, not text"))
    return text, ()


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _has_decimal_commas(lines: list[str]) -> bool:
    """True if each line is five or more numbers between blanks or semicolons, some with a comma."""
    rows = [re.split(r"[\s;]+", line.strip()) for line in lines]
    return (
        bool(rows)
        and all(len(row) >= MIN_NUMBERS for row in rows)
        and all(_DECIMAL_COMMA.fullmatch(word) for row in rows for word in row)
        and any("," in word for row in rows for word in row)
    )


def _without_decimal_commas(text: str) -> str:
    return re.sub(r"(?<=\d),(?=\d)", ".", text)
