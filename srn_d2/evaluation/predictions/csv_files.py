"""CSV files of predictions: a detection a line, such as faces.csv of ``srn-d2 detect``."""

import csv
import io
import os
import re
from pathlib import Path

import numpy as np

from srn_d2.evaluation.widerface.prediction_files import PredictionIssue, parse_number

from .columns import Columns, header_columns
from .found import FoundRows, examples, notes_on_names
from .image_names import ImageId, ImageNames
from .text_files import decode

_NAME_COLUMNS = ("file_name", "file", "filename", "image", "image_name", "image_path", "path")
_NAME_COLUMNS += ("image_id", "img", "name")
_DELIMITERS = (",", ";", "\t", "|")


class CsvFormatError(ValueError):
    """Error for a CSV file whose header does not name an image, a box and a score."""


def read_csv(path: str | os.PathLike, images: ImageNames) -> FoundRows:
    """The rows of a CSV file with a header.

    The image is in a column file_name, file or image; the others are x1,y1,x2,y2,score or
    x,y,w,h,score or what tools call these. Lines with empty numbers are images without detections.

    Raises:
        CsvFormatError: the header does not name them, or no line can be read.
    """
    source = str(path)
    text, _ = decode(Path(path).read_bytes(), source)
    lines = text.split("\n")
    first = lines[0] if lines else ""
    delimiter = max(_DELIMITERS, key=first.count)
    header = next(csv.reader([first], delimiter=delimiter), [])
    names = [word.strip().lower() for word in header]
    name_column = next((names.index(name) for name in _NAME_COLUMNS if name in names), None)
    columns = header_columns(names)
    if name_column is None or columns is None:
        raise CsvFormatError(
            f"{source}, line 1: expected a header such as file_name,x1,y1,x2,y2,score or "
            f"file,x,y,w,h,score, found {first!r}"
        )
    rows: dict[str, list[list[float]]] = {}
    malformed: list[PredictionIssue] = []
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    next(reader)
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        problem = _add_row(cells, name_column, columns, delimiter, rows)
        if problem:
            malformed.append(PredictionIssue(source, reader.line_num, problem))
    if malformed and not any(rows.values()):
        raise CsvFormatError(f"none of its {len(malformed)} lines can be read: {malformed[0]}")
    return _found(source, rows, columns, malformed, images)


def _add_row(
    cells: list[str],
    name_column: int,
    columns: Columns,
    delimiter: str,
    rows: dict[str, list[list[float]]],
) -> str:
    """Add a line to ``rows``; returns what is wrong with it."""
    name = cells[name_column].strip() if len(cells) > name_column else ""
    if not name:
        return "there is no image"
    values = [cells[i].strip() if i < len(cells) else "" for i in range(len(columns.names))]
    used = [i for i, column in enumerate(columns.names) if column != "-"]
    if not any(values[i] for i in used):
        rows.setdefault(name, [])
        return ""
    numbers = [0.0] * len(values)
    for i in used:
        word = values[i]
        if delimiter != ",":
            word = re.sub(r"(?<=\d),(?=\d)", ".", word)
        number = parse_number(word)
        if number is None:
            return f"expected a number as {columns.names[i]}, found {values[i]!r}"
        numbers[i] = number
    rows.setdefault(name, []).append(numbers)
    return ""


def _found(
    source: str,
    rows: dict[str, list[list[float]]],
    columns: Columns,
    malformed: list[PredictionIssue],
    images: ImageNames,
) -> FoundRows:
    matches = images.match(rows)
    if rows and not matches.images:
        raise CsvFormatError(
            f"{source}: none of its {len(rows)} images is annotated: {examples(list(rows))}; "
            f"annotated are {examples(list(images.names.values()))}"
        )
    arrays: dict[ImageId, np.ndarray] = {
        image_id: np.array(rows[name], dtype=np.float64).reshape(-1, len(columns.names))
        for name, image_id in matches.images.items()
    }
    for image_id in images.names:  # an image without detections has no line
        arrays.setdefault(image_id, np.zeros((0, len(columns.names))))
    return FoundRows(
        source=source,
        rows=arrays,
        columns=columns,
        places={image_id: f"{source}, {images.names[image_id]}" for image_id in arrays},
        malformed=tuple(malformed),
        notes=tuple(notes_on_names(matches, images)),
    )
