"""The user's own pictures and boxes: one call registers them."""

import csv
import io
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detectron2.structures import BoxMode

from .common import (
    AnnotationFormatError,
    drop_degenerate_boxes,
    read_annotation_text,
    register_face_dataset,
    require_images,
)
from .wider_face import load_wider_face

CSV_COLUMNS = ("file", "x", "y", "w", "h")

# The parts of a COCO file that are read, and the JSON types they may have.
_IMAGE_FIELDS = {"id": (int, str), "file_name": (str,)}
_ANNOTATION_FIELDS = {"image_id": (int, str), "category_id": (int, str), "bbox": (list,)}
_CATEGORY_FIELDS = {"id": (int, str), "name": (str,)}


def register_face_folder(
    name: str, image_root: str | os.PathLike, annotations: str | os.PathLike
) -> None:
    """Register your own faces under ``name``, for DATASETS.TRAIN and DATASETS.TEST.

    The files are read when the data set is first used.

    Args:
        image_root: the folder below which the annotations' image names are.
        annotations: by its suffix,
            ``.txt``: WIDER FACE's text, see ``wider_face.py``;
            ``.json``: COCO; the category called "face", or the only one; ``iscrowd`` boxes are
            ignore regions;
            ``.csv``: with the header ``file,x,y,w,h`` and one face a line, left, top, width and
            height in pixels; the four numbers are left empty for an image without faces.

    Raises:
        ValueError: the suffix is none of these.
    """
    load = _loader_for(annotations)
    image_root, annotations = Path(image_root).absolute(), Path(annotations).absolute()
    register_face_dataset(
        name,
        lambda: load(image_root, annotations),
        evaluator_type="coco_face",
        image_root=str(image_root),
        annotation_file=str(annotations),
    )


def load_coco_faces(
    image_root: str | os.PathLike, annotation_file: str | os.PathLike
) -> list[dict[str, Any]]:
    """The faces of a COCO JSON file as detectron2's list of dicts.

    detectron2's own ``load_coco_json`` maps every category to a class and knows no "ignore".

    Raises:
        FileNotFoundError: the annotation file, or any image, is not where it is expected.
        AnnotationFormatError: the file is damaged; the message names line or key.
    """
    source = str(annotation_file)
    text = read_annotation_text(annotation_file)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise AnnotationFormatError(source, f"line {error.lineno}", error.msg) from error
    if not isinstance(content, dict):
        raise AnnotationFormatError(source, "line 1", "expected a JSON object")
    face_category = _face_category(content, source)
    annotations_of: dict[Any, list[dict[str, Any]]] = {}
    names = []
    for i, image in enumerate(_checked_list(content, "images", _IMAGE_FIELDS, source)):
        if image["id"] in annotations_of:
            raise AnnotationFormatError(
                source, f"images[{i}].id", f"{image['id']!r} is there twice"
            )
        annotations_of[image["id"]] = []
        names.append(image["file_name"])
    for i, annotation in enumerate(
        _checked_list(content, "annotations", _ANNOTATION_FIELDS, source)
    ):
        if annotation["category_id"] != face_category:
            continue
        if annotation["image_id"] not in annotations_of:
            problem = f"there is no image with the id {annotation['image_id']!r}"
            raise AnnotationFormatError(source, f"annotations[{i}].image_id", problem)
        box = _to_box(annotation["bbox"], source, f"annotations[{i}].bbox")
        is_crowd = bool(annotation.get("iscrowd", 0))
        annotations_of[annotation["image_id"]].append(_to_annotation(box, is_crowd))
    paths = require_images(image_root, names)
    dataset = [
        {"file_name": path, "image_id": image_id, "annotations": annotations}
        for path, (image_id, annotations) in zip(paths, annotations_of.items(), strict=True)
    ]
    return drop_degenerate_boxes(dataset, source)


def load_csv_faces(
    image_root: str | os.PathLike, annotation_file: str | os.PathLike
) -> list[dict[str, Any]]:
    """The faces of a CSV file, see :func:`register_face_folder`, as detectron2's list of dicts.

    Raises:
        FileNotFoundError: the annotation file, or any image, is not where it is expected.
        AnnotationFormatError: the file is damaged; the message names the line.
    """
    source = str(annotation_file)
    annotations_of: dict[str, list[dict[str, Any]]] = {}
    for line, row in _csv_rows(read_annotation_text(annotation_file), source):
        where = f"line {line}"
        if not row["file"]:
            raise AnnotationFormatError(source, where, "the column file is empty")
        annotations = annotations_of.setdefault(row["file"], [])
        values = [row[column] for column in CSV_COLUMNS[1:]]
        if values != [""] * 4:
            annotations.append(_to_annotation(_to_box(values, source, where), is_crowd=False))
    paths = require_images(image_root, list(annotations_of))
    dataset = [
        {"file_name": path, "image_id": name, "annotations": annotations}
        for path, (name, annotations) in zip(paths, annotations_of.items(), strict=True)
    ]
    return drop_degenerate_boxes(dataset, source)


def _csv_rows(text: str, source: str) -> list[tuple[int, dict[str, str]]]:
    """The rows below the header, each with the number of its line."""
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    try:
        if not set(CSV_COLUMNS) <= set(reader.fieldnames or ()):
            problem = f"expected the header {','.join(CSV_COLUMNS)}, found {reader.fieldnames}"
            raise AnnotationFormatError(source, "line 1", problem)
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise AnnotationFormatError(source, f"line {reader.line_num}", str(error)) from error
    for line, row in rows:
        if any(row.get(None, ())):  # further fields, which 1,5 for 1.5 makes
            problem = f"more fields than the header has: {row[None]} at its end"
            raise AnnotationFormatError(source, f"line {line}", problem)
    return rows


_LOADERS = {".txt": load_wider_face, ".json": load_coco_faces, ".csv": load_csv_faces}


def _loader_for(annotations: str | os.PathLike) -> Callable[..., list[dict[str, Any]]]:
    suffix = Path(annotations).suffix.lower()
    if suffix not in _LOADERS:
        raise ValueError(
            f"{annotations}: annotations end in one of {', '.join(_LOADERS)} "
            "(WIDER FACE text, COCO JSON, CSV)"
        )
    return _LOADERS[suffix]


def _checked_list(
    content: dict[str, Any], key: str, fields: dict[str, tuple[type, ...]], source: str
) -> list[dict[str, Any]]:
    """``content[key]``, checked to be a list of objects with ``fields`` of the given types."""
    items = content.get(key)
    if not isinstance(items, list):
        raise AnnotationFormatError(source, key, "this list is missing")
    for i, item in enumerate(items):
        for field, types in fields.items():
            if not isinstance(item, dict) or not isinstance(item.get(field), types):
                expected = " or ".join(t.__name__ for t in types)
                raise AnnotationFormatError(source, f"{key}[{i}].{field}", f"expected {expected}")
    return items


def _face_category(content: dict[str, Any], source: str) -> Any:
    """The id of the category "face", or of the only category."""
    categories = _checked_list(content, "categories", _CATEGORY_FIELDS, source)
    faces = [c["id"] for c in categories if c["name"].lower() == "face"]
    if len(faces) == 1:
        return faces[0]
    if len(categories) == 1:
        return categories[0]["id"]
    names = [c["name"] for c in categories]
    raise AnnotationFormatError(
        source, "categories", f"expected one called 'face' or only one, found {names}"
    )


def _to_box(values: Any, source: str, where: str) -> list[float]:
    """Four finite numbers, XYWH."""
    try:
        box = [float(v) for v in values]
    except (TypeError, ValueError, OverflowError):  # the last: an integer beyond all floats
        box = []
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise AnnotationFormatError(source, where, f"expected four numbers, found {values!r}")
    return box


def _to_annotation(box: list[float], is_crowd: bool) -> dict[str, Any]:
    return {
        "bbox": box,
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": 0,
        "iscrowd": int(is_crowd),
        "ignore": is_crowd,
    }
