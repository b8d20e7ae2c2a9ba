"""Readers of face annotations in PASCAL VOC's XML and in the face toolbox's MATLAB files.

PASCAL face is 851 images of VOC 2012 with 1,335 faces. The toolbox of "Face detection without
bells and whistles" (Mathias et al., ECCV 2014) has its usual annotations, and new ones of AFW.
"""

import math
import os
import zlib
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
from detectron2.structures import BoxMode

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

    The file has a struct array ``Annotations`` with the fields ``imgname`` and ``objects``, an
    (M, 4) or (M, 6) matrix of x1, y1, x2, y2 and, in column 6, whether the face is ignored. The
    coordinates are taken as they are, as the toolbox does.

    Raises:
        FileNotFoundError: the file, or any image, is not where it is expected.
        AnnotationFormatError: the file has another layout; the message names the element.
        NotImplementedError: it is of MATLAB's version 7.3; re-save it with '-v7'.
    """
    records = load_mat(path, "Annotations").ravel()
    if records.dtype.names is None or not {"imgname", "objects"} <= set(records.dtype.names):
        problem = f"expected a struct with imgname and objects, found {records.dtype}"
        raise AnnotationFormatError(path, "Annotations", problem)
    names, faces = [], []
    for i, record in enumerate(records, start=1):
        where = f"Annotations({i})"
        name = matlab_string(record["imgname"], path, f"{where}.imgname")
        names.append(name if has_image_suffix(name) else f"{name}.jpg")
        faces.append(_toolbox_annotations(record["objects"], path, f"{where}.objects"))
    return to_dataset(image_root, names, faces, path)


def load_mat(path: str | os.PathLike, variable: str) -> np.ndarray:
    """One variable of a MATLAB file up to version 7.

    Raises:
        FileNotFoundError: the file is not there.
        NotImplementedError: it is of version 7.3, which is another format (HDF5).
        AnnotationFormatError: it is no MATLAB file, or has no such variable.
    """
    # An optional dependency, only needed for these files.
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not os.path.isfile(path):
        raise FileNotFoundError(f"The annotation file {path} is not there; {README_HINT}.")
    try:
        content = loadmat(path)
    except (MatReadError, OSError, TypeError, ValueError, zlib.error) as error:
        raise AnnotationFormatError(path, "header", f"not a MATLAB file ({error})") from error
    if variable not in content:
        found = sorted(name for name in content if not name.startswith("__"))
        raise AnnotationFormatError(path, variable, f"there is no such variable, only {found}")
    return content[variable]


def matlab_string(value: Any, path: str | os.PathLike, where: str) -> str:
    """The text of a char array, as scipy reads it."""
    value = np.asarray(value)
    while value.dtype == object and value.size == 1:
        value = np.asarray(value.item())
    if value.size != 1 or value.dtype.kind != "U" or not value.item().strip():
        raise AnnotationFormatError(path, where, f"expected an image name, found {value.tolist()}")
    return value.item().strip()


def corners_annotation(corners: np.ndarray | list[float], ignore: bool = False) -> dict[str, Any]:
    """One annotation in detectron2's form from x1, y1, x2, y2."""
    x1, y1, x2, y2 = map(float, corners)
    return {
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": 0,
        "iscrowd": 0,
        "ignore": bool(ignore),
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


def _toolbox_annotations(
    objects: np.ndarray, path: str | os.PathLike, where: str
) -> list[dict[str, Any]]:
    while objects.dtype == object and objects.size == 1:
        objects = np.asarray(objects.item())
    if objects.size == 0:
        return []
    if objects.ndim != 2 or objects.shape[1] not in (4, 6) or objects.dtype.kind not in "iuf":
        problem = f"expected a matrix of 4 or 6 columns, found {objects.dtype} {objects.shape}"
        raise AnnotationFormatError(path, where, problem)
    if not np.isfinite(objects).all():
        raise AnnotationFormatError(path, where, "there is a number that is not finite")
    is_ignored = objects[:, 5] != 0 if objects.shape[1] == 6 else np.zeros(len(objects), bool)
    return [corners_annotation(row[:4], i) for row, i in zip(objects, is_ignored, strict=True)]


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
