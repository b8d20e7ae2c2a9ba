"""Annotation files of all kinds -> faces: the one way from a file to what is trained on."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from srn_d2.data.annotation_files import AnnotationFormatError, read_annotation_text

from .box_format import convert_boxes
from .coco_json import read_coco
from .csv_faces import keep_face_labels, read_csv
from .folder_formats import read_folder
from .foreign_formats import describe_foreign_file, describe_yolo_line
from .image_paths import resolve_names
from .image_sizes import check_sizes
from .table import FaceTable
from .wider_records import WiderFace
from .wider_text import WiderText, parse_wider_text

logger = logging.getLogger(__name__)

SUFFIXES = (".txt", ".json", ".csv", ".tsv")
_ATTRIBUTES = WiderFace._fields[4:]
_logged: set[str] = set()


def read_faces(
    annotations: str | os.PathLike,
    image_root: str | os.PathLike | None = None,
    *,
    categories: Sequence[str | int] | None = None,
    box_format: str | None = None,
    allow_size_mismatch: bool = False,
) -> FaceTable:
    """Read an annotation file, check it against its images, and log one line on it.

    Needs neither torch nor detectron2.

    Args:
        annotations: by its suffix COCO JSON, CSV or WIDER FACE's text; or a folder with a file for
            each image, see :func:`read_folder`.
        image_root: the folder of the images; the header of each is read. None: images are neither
            looked for nor opened.
        categories: names of the categories (labels, classes) that are all faces; None: the one
            called "face", else the only one that has annotations.
        box_format: what the four numbers are, see ``BOX_FORMATS``; None: what the file says, an
            error if the boxes do not look like it.
        allow_size_mismatch: whether the file may give images another size than they have.

    Returns:
        Boxes XYWH in pixels, none of them without an area; see :class:`FaceTable`.

    Raises:
        FileNotFoundError: the annotation file, or any image, is not where it is expected.
        AnnotationFormatError: the file is damaged or ambiguous; the message names line or key, and
            what to do.
        ValueError: the suffix or ``box_format`` is not known.
    """
    path = Path(annotations)
    check_suffix(path)
    if path.is_dir():
        if image_root is None:
            raise ValueError(f"{path}: a folder of annotation files needs image_root")
        table = read_folder(path, image_root, categories)
    elif path.is_file():
        table = _READERS[path.suffix.lower()](path, categories)
        _require_different_names(table)
    else:
        raise FileNotFoundError(f"The annotation file {path.absolute()} is not there")
    if image_root is not None:
        table.paths, note = resolve_names(image_root, table.names)
        table.notes += [note] if note else []
        check_sizes(table, allow_size_mismatch)
    convert_boxes(table, box_format)
    finish(table)
    return table


def _require_different_names(table: FaceTable) -> None:
    """Raise if an image is listed twice: each of the two would lack the other's faces."""
    if len(set(table.names)) == len(table.names):
        return
    name, number = Counter(table.names).most_common(1)[0]
    raise AnnotationFormatError(
        table.source,
        "images",
        f"{name!r} is there {number} times: put all of its faces into one entry",
    )


def check_suffix(path: Path) -> None:
    """Raise a ValueError unless ``path`` is a folder or has the suffix of a file that is read."""
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        return
    foreign = describe_foreign_file(path)
    if foreign:
        raise ValueError(f"{path} is {foreign}")
    raise ValueError(
        f"{path}: annotations end in one of {', '.join(SUFFIXES)} "
        "(WIDER FACE text, COCO JSON, CSV), or are a folder with a file for each image"
    )


def finish(table: FaceTable) -> None:
    """Leave out boxes without an area, and log the table's summary once in a process."""
    table.drop_empty_boxes()
    summary = table.summary()
    if summary in _logged:
        return
    _logged.add(summary)
    needs_attention = table.dropped or table.notes or not table.num_faces
    logger.log(logging.WARNING if needs_attention else logging.INFO, "%s", summary)


def read_wider(
    annotation_file: str | os.PathLike, categories: Sequence[str | int] | None = None
) -> FaceTable:
    """The faces of a text of WIDER FACE's kind; see :mod:`.wider_text`.

    Raises:
        FileNotFoundError: the file is not there.
        WiderFaceFormatError: it is damaged; names the line.
        AnnotationFormatError: it is of another format.
    """
    source = str(annotation_file)
    text = read_annotation_text(annotation_file)
    foreign = describe_yolo_line(text.lstrip().split("\n", 1)[0])
    if foreign:
        raise AnnotationFormatError(source, "line 1", f"this is {foreign}")
    parsed = parse_wider_text(text, source)
    table = wider_table(parsed, source)
    if any(parsed.labels):
        # datumaro leaves out the label "face".
        labels = [label or "face" for label in parsed.labels]
        keep_face_labels(table, labels, categories, "labels at the end of the lines")
    return table


def wider_table(parsed: WiderText, source: str) -> FaceTable:
    """The table of a parsed text, with the six attributes as columns."""
    faces = np.array(
        [face for image in parsed.images for face in image.faces], dtype=np.float64
    ).reshape(-1, len(WiderFace._fields))
    counts = [len(image.faces) for image in parsed.images]
    attributes = faces[:, 4:].astype(np.int64)
    columns = {name: attributes[:, place] for place, name in enumerate(_ATTRIBUTES)}
    return FaceTable(
        source,
        [image.name for image in parsed.images],
        [image.image_id for image in parsed.images],
        faces[:, :4],
        np.repeat(np.arange(len(counts)), counts),
        columns["invalid"] != 0,
        columns,
        notes=list(parsed.notes),
        is_crowd=False,
        where=lambda row: f"line {parsed.lines[row]}",
    )


_READERS = {".txt": read_wider, ".json": read_coco, ".csv": read_csv, ".tsv": read_csv}
