"""Reader of CSV: a line for each face, columns by the names in the header."""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from srn_d2.data.annotation_files import AnnotationFormatError, read_annotation_text

from .categories import canonical_key, choose_face_categories, list_categories, note_on_choice
from .coco_json import to_flag
from .foreign_formats import describe_foreign_header
from .table import FaceTable

CSV_COLUMNS = ("file", "x", "y", "w", "h")

# Names in headers, without case and without what is neither letter nor digit.
_FILE = ("file", "filename", "filepath", "image", "imagename", "imagepath", "path", "img")
_FILE += ("imagefile", "imageid", "name")
_LABEL = ("label", "class", "classname", "category", "labelname", "categoryname")
_IGNORED = ("ignore", "iscrowd", "ignored", "difficult", "invalid")
_SCORE = ("score", "confidence", "conf", "probability")
# What the four numbers are -> the names of their columns, the first match counts.
_BOXES = {
    "xyxy": (
        ("xmin", "x1", "left", "bboxxmin", "x0"),
        ("ymin", "y1", "top", "bboxymin", "y0"),
        ("xmax", "x2", "right", "bboxxmax", "x1"),
        ("ymax", "y2", "bottom", "bboxymax", "y1"),
    ),
    "cxcywh": (
        ("cx", "xcenter", "centerx", "xcentre", "centrex"),
        ("cy", "ycenter", "centery", "ycentre", "centrey"),
        ("w", "width", "bw", "boxwidth", "bboxwidth"),
        ("h", "height", "bh", "boxheight", "bboxheight"),
    ),
    "xywh": (
        ("x", "left", "xmin", "x1", "bboxx", "boxx"),
        ("y", "top", "ymin", "y1", "bboxy", "boxy"),
        ("w", "width", "bw", "boxwidth", "bboxwidth", "bboxw"),
        ("h", "height", "bh", "boxheight", "bboxheight", "bboxh"),
    ),
}
_SIZE = (("imagewidth", "imgwidth", "width"), ("imageheight", "imgheight", "height"))


def read_csv(
    annotation_file: str | os.PathLike, categories: Sequence[str | int] | None = None
) -> FaceTable:
    """The faces of a CSV file; commas, semicolons, tabs or bars separate the fields.

    Args:
        annotation_file: its header names the file and x, y, w, h, or x1, y1, x2, y2 (xmin ...),
            or the centre; the four fields are empty for an image without faces. A column of labels
            and one of ignore regions are read; others are passed over.
        categories: see :func:`choose_face_categories`.

    Raises:
        FileNotFoundError: the file is not there.
        AnnotationFormatError: it is damaged; names the line.
    """
    source = str(annotation_file)
    lines = read_annotation_text(annotation_file).splitlines(keepends=True)
    reader, header, columns = _read_header(lines, source)
    keys: dict[str, int] = {}
    sizes: list[tuple[float, float]] = []
    rows: list[list[float]] = []
    image_of, numbers, labels, ignored = [], [], [], []
    for line, fields in _records(reader, len(header), source):
        name = fields[columns.file]
        if not name:
            raise AnnotationFormatError(source, f"line {line}", "the column file is empty")
        image = keys.setdefault(name, len(keys))
        if image == len(sizes):
            sizes.append(columns.size(fields))
        values = [fields[column] for column in columns.box]
        if values != [""] * 4:
            rows.append(_to_numbers(values, source, line))
            image_of.append(image)
            numbers.append(line)
            labels.append(fields[columns.label].strip() if columns.label is not None else "")
            ignored.append(columns.ignored is not None and to_flag(fields[columns.ignored]))
    table = FaceTable(
        source,
        list(keys),
        list(keys),
        np.array(rows, dtype=np.float64).reshape(-1, 4),
        np.array(image_of, dtype=np.int64),
        np.array(ignored, dtype=bool),
        declared_sizes=np.array(sizes, dtype=np.float64).reshape(-1, 2),
        box_format=columns.box_format,
        where=lambda row: f"line {numbers[row]}",
    )
    if columns.score is not None:
        name = header[columns.score]
        table.notes.append(f"the column {name} is passed over: are these detections?")
    if columns.label is not None:
        keep_face_labels(table, labels, categories, f"the column {header[columns.label]}")
    elif categories is not None:
        raise AnnotationFormatError(source, "line 1", "there is no column of categories")
    table.sort_by_image()
    return table


def keep_face_labels(
    table: FaceTable, labels: Sequence[str], categories: Sequence[str | int] | None, where: str
) -> None:
    """Leave the boxes of a table whose label is a face, and count the others.

    Raises:
        AnnotationFormatError: see :func:`choose_face_categories`.
    """
    keys = [canonical_key(label) for label in labels]
    names = {key: str(label) for key, label in zip(keys, labels, strict=True)}
    if not names:
        return
    counts = Counter(keys)
    faces = choose_face_categories(names, counts, categories, table.source, where)
    note = note_on_choice(names, faces, categories)
    table.notes += [note] if note else []
    others = {key: number for key, number in counts.items() if key not in faces}
    if others:
        shown = list_categories({key: names[key] for key in others}, others)
        table.dropped[f"of other categories: {shown}"] = sum(others.values())
        table.keep(np.array([key in faces for key in keys]))


class _Columns:
    """The columns that are read, by their place."""

    def __init__(self, header: Sequence[str]) -> None:
        plain = [re.sub(r"[^0-9a-z]", "", name.lower()) for name in header]

        def find(names: Sequence[str], but: Sequence[int] = ()) -> int | None:
            found = (plain.index(name) for name in names if name in plain)
            return next((place for place in found if place not in but), None)

        self.file = find(_FILE)
        self.box_format, self.box = "", []
        for box_format, groups in _BOXES.items():
            box: list[int] = []
            for names in groups:
                place = find(names, but=box)
                box += [] if place is None else [place]
            if len(box) == 4:
                self.box_format, self.box = box_format, box
                break
        self.label, self.ignored = find(_LABEL), find(_IGNORED)
        self.score = find(_SCORE)
        self._size = [find(names, but=self.box) for names in _SIZE]

    def is_complete(self) -> bool:
        return self.file is not None and len(self.box) == 4

    def size(self, fields: Sequence[str]) -> tuple[float, float]:
        """Width and height that the row gives of its image; 0 if it gives none."""
        if None in self._size:
            return 0.0, 0.0
        try:
            width, height = (float(fields[place]) for place in self._size)
        except ValueError:
            return 0.0, 0.0
        return width, height


def _read_header(lines: Sequence[str], source: str) -> tuple[Iterator, list[str], _Columns]:
    """The reader of the records, the header and its columns, with the separator that fits."""
    header: list[str] = []
    for separator in (",", ";", "\t", "|"):
        reader = csv.reader(iter(lines), delimiter=separator, skipinitialspace=True)
        try:
            fields = [field.strip() for field in next(reader, [])]
        except csv.Error as error:
            raise AnnotationFormatError(source, "line 1", str(error)) from error
        columns = _Columns(fields)
        if columns.is_complete():
            return reader, fields, columns
        if len(fields) > len(header):
            header = fields
    problem = f"expected the header {','.join(CSV_COLUMNS)}, found {header}"
    foreign = describe_foreign_header(header)
    raise AnnotationFormatError(source, "line 1", foreign or problem)


def _records(reader: Iterator, num_columns: int, source: str) -> Iterator[tuple[int, list[str]]]:
    """Line and fields of each record below the header, empty lines left out."""
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            where = f"line {reader.line_num}"  # type: ignore[attr-defined]
            raise AnnotationFormatError(source, where, str(error)) from error
        if fields is None:
            return
        line = reader.line_num  # type: ignore[attr-defined]
        fields = [field.strip() for field in fields]
        if not any(fields):
            continue
        if any(fields[num_columns:]):  # which 1,5 for 1.5 makes
            problem = f"more fields than the header has: {fields[num_columns:]} at its end"
            raise AnnotationFormatError(source, f"line {line}", problem)
        yield line, fields + [""] * (num_columns - len(fields))


def _to_numbers(values: Sequence[str], source: str, line: int) -> list[float]:
    """Four finite numbers; a comma may be the decimal sign where it does not separate fields."""
    try:
        box = [
            float(value.replace(",", ".") if value.count(",") == 1 else value) for value in values
        ]
    except ValueError:
        box = []
    if len(box) != 4 or not np.isfinite(box).all():
        raise AnnotationFormatError(
            source, f"line {line}", f"expected four numbers, found {list(values)!r}"
        )
    return box
