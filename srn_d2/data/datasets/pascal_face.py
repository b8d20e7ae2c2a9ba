"""Readers of face annotations in PASCAL VOC's XML and in the face toolbox's MATLAB files.

PASCAL face is 851 images of VOC 2012 with 1,335 faces. The toolbox of "Face detection without
bells and whistles" (Mathias et al., ECCV 2014) has its usual annotations, and new ones of AFW.
"""

import math
import os
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
from detectron2.structures import BoxMode

from srn_d2.data.toolbox_mat import read_toolbox_mat

from .common import (
    README_HINT,
    AnnotationFormatError,
    drop_degenerate_boxes,
    has_image_suffix,
    require_images,
)

_LINE = "srn_d2_line"  # the attribute in which an XML element's line is kept


def load_voc_faces(
    image_root: str | os.PathLike, annotation_folder: str | os.PathLike
) -> list[dict[str, Any]]:
    """The faces of a folder of VOC XML files as detectron2's list of dicts, by file name.

    Objects called "face" count, "difficult" ones as ignored; other objects are skipped. VOC's
    corners count pixels from 1 and are inclusive: (xmin - 1, ymin - 1, xmax, ymax) is the box.

    Raises:
        FileNotFoundError: the folder holds no XML file, or an image is missing.
        AnnotationFormatError: a file is damaged; the message names it and the line.
    """
    files = sorted(Path(annotation_folder).glob("*.xml"))
    if not files:
        raise FileNotFoundError(f"There is no XML file in {annotation_folder}; {README_HINT}.")
    names, faces = [], []
    for path in files:
        tree = _read_xml(path)
        names.append(_child(tree, "filename", path).text or "")
        objects = [obj for obj in tree.iter("object") if _name(obj, path) == "face"]
        faces.append([_voc_annotation(obj, path) for obj in objects])
    return to_dataset(image_root, names, faces, annotation_folder)


def load_toolbox_mat(
    image_root: str | os.PathLike, path: str | os.PathLike
) -> list[dict[str, Any]]:
    """The faces of one of the toolbox's files as detectron2's list of dicts.

    See :mod:`srn_d2.data.toolbox_mat`.

    Raises:
        FileNotFoundError: the file, or any image, is not where it is expected.
        AnnotationFormatError: the file has another layout; the message names the element.
        NotImplementedError: it is of MATLAB's version 7.3; re-save it with '-v7'.
    """
    names, faces = [], []
    for name, objects in read_toolbox_mat(path):
        names.append(name if has_image_suffix(name) else f"{name}.jpg")
        faces.append([corners_annotation(row[:4], bool(row[4])) for row in objects])
    return to_dataset(image_root, names, faces, path)


def corners_annotation(
    corners: np.ndarray | list[float], ignore: bool | float = False
) -> dict[str, Any]:
    """One annotation in detectron2's form from x1, y1, x2, y2, which "corners" keeps exactly."""
    x1, y1, x2, y2 = map(float, corners)
    return {
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": 0,
        "iscrowd": 0,
        "ignore": bool(ignore),
        "corners": [x1, y1, x2, y2],
    }


def to_dataset(
    image_root: str | os.PathLike,
    names: list[str],
    annotations: list[list[dict[str, Any]]],
    source: str | os.PathLike,
) -> list[dict[str, Any]]:
    """detectron2's list of dicts; the image_id is the name without its suffix.

    Boxes without area are left out; their number is logged.

    Raises:
        AnnotationFormatError: an image is there twice.
        FileNotFoundError: an image is missing.
    """
    repeated = [name for name, number in Counter(names).items() if number > 1]
    if repeated:
        raise AnnotationFormatError(source, "images", f"{repeated[0]!r} is there twice")
    dataset = [
        {"file_name": path, "image_id": os.path.splitext(name)[0], "annotations": faces}
        for path, name, faces in zip(
            require_images(image_root, names), names, annotations, strict=True
        )
    ]
    return drop_degenerate_boxes(dataset, source)


def _voc_annotation(obj: ElementTree.Element, path: Path) -> dict[str, Any]:
    box = _child(obj, "bndbox", path)
    corners = [_number(_child(box, key, path), path) for key in ("xmin", "ymin", "xmax", "ymax")]
    difficult = obj.find("difficult")
    is_difficult = difficult is not None and _number(difficult, path) != 0
    return corners_annotation([corners[0] - 1, corners[1] - 1, *corners[2:]], is_difficult)


def _read_xml(path: Path) -> ElementTree.Element:
    """The root element; every element has its line in the attribute ``_LINE``."""
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler = lambda tag, attributes: builder.start(
        tag, {**attributes, _LINE: str(parser.CurrentLineNumber)}
    )
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        problem = expat.errors.messages[error.code]
        raise AnnotationFormatError(path, f"line {error.lineno}", problem) from error
    return builder.close()


def _child(parent: ElementTree.Element, tag: str, path: Path) -> ElementTree.Element:
    child = parent.find(tag)
    if child is None:
        problem = f"<{parent.tag}> has no <{tag}>"
        raise AnnotationFormatError(path, f"line {parent.get(_LINE)}", problem)
    return child


def _name(obj: ElementTree.Element, path: Path) -> str:
    return (_child(obj, "name", path).text or "").strip().lower()


def _number(element: ElementTree.Element, path: Path) -> float:
    try:
        value = float(element.text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        problem = f"expected a number in <{element.tag}>, found {element.text!r}"
        raise AnnotationFormatError(path, f"line {element.get(_LINE)}", problem)
    return value
