"""Files of AFW and PASCAL face: the toolbox's detections and annotations, without the images.

Detections are lines ``image score x1 y1 x2 y2``, in any order, or a MATLAB file with ``ids``,
``BB`` (4, n) and ``confidence``. An image's suffix (.jpg and so on) is left out of its name.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srn_d2.data.afw_mat import read_afw_mat
from srn_d2.data.annotation_files import (
    AnnotationFormatError,
    load_mat,
    matlab_string,
    read_annotation_text,
    shown,
    without_image_suffix,
)
from srn_d2.data.toolbox_mat import read_toolbox_mat

from .ap import ApImage


class ToolboxDetections(NamedTuple):
    """n detections of a data set, in the order of their file."""

    images: list[str]  # n names, without suffix
    boxes: np.ndarray  # (n, 4) XYXY
    scores: np.ndarray  # (n,)


class ToolboxFaces(NamedTuple):
    """The M faces of an image."""

    boxes: np.ndarray  # (M, 4) XYXY
    ignored: np.ndarray  # (M,) bool


def detection_lines(image: str, boxes: np.ndarray, scores: np.ndarray) -> list[str]:
    """The lines of one image's (D, 4) boxes and (D,) scores, nine digits a number."""
    return [
        f"{image} {score:.9g} {x1:.9g} {y1:.9g} {x2:.9g} {y2:.9g}"
        for (x1, y1, x2, y2), score in zip(boxes.tolist(), scores.tolist(), strict=True)
    ]


def parse_detection_lines(
    lines: Sequence[str], source: str = "<text>"
) -> tuple[np.ndarray, np.ndarray]:
    """The (n, 4) boxes and (n,) scores of lines as :func:`detection_lines` writes them.

    Raises:
        AnnotationFormatError: at the first line that does not end in five finite numbers.
    """
    rows = [_numbers(line, number, source) for number, line in enumerate(lines, start=1)]
    values = np.array(rows, dtype=np.float64).reshape(-1, 5)
    return values[:, 1:], values[:, 0]


def read_toolbox_detections(path: str | os.PathLike) -> ToolboxDetections:
    """Read a text or a MATLAB file of detections.

    Raises:
        FileNotFoundError: it is not there.
        AnnotationFormatError: it is damaged; the message has the line.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no file {path}")
    if Path(path).suffix.lower() == ".mat":
        return _read_mat_detections(path)
    text = read_annotation_text(path).split("\n")
    lines = [(number, line) for number, line in enumerate(text, start=1) if line.strip()]
    rows = [_numbers(line, number, str(path)) for number, line in lines]
    values = np.array(rows, dtype=np.float64).reshape(-1, 5)
    images = [without_image_suffix(line.split()[0]) for _, line in lines]
    return ToolboxDetections(images, values[:, 1:], values[:, 0])


def read_faces(path: str | os.PathLike) -> dict[str, ToolboxFaces]:
    """The faces of each image of a toolbox's .mat (``Annotations``) or of AFW's anno.mat.

    Faces without area are left out, as they are from the data sets.

    Raises:
        FileNotFoundError: it is not there.
        AnnotationFormatError: it has another layout; the message names the element.
        ImportError: it is of MATLAB's version 7.3 and h5py is not installed.
    """
    try:
        rows = [(name, o[:, :4], o[:, 4] != 0) for name, o in read_toolbox_mat(path)]
    except (AnnotationFormatError, NotImplementedError) as error:
        if isinstance(error, AnnotationFormatError) and error.where != "Annotations":
            raise
        rows = [(name, boxes, np.zeros(len(boxes), bool)) for name, boxes in read_afw_mat(path)]
    faces: dict[str, ToolboxFaces] = {}
    for name, boxes, ignored in rows:
        image = without_image_suffix(name)
        if image in faces:
            raise AnnotationFormatError(path, "images", f"{image!r} is there twice")
        has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        faces[image] = ToolboxFaces(boxes[has_area], ignored[has_area])
    if not any((~image.ignored).any() for image in faces.values()):
        raise AnnotationFormatError(path, "images", f"there is no face in {len(faces)} images")
    return faces


def to_ap_images(
    faces: dict[str, ToolboxFaces], detections: ToolboxDetections
) -> tuple[list[ApImage], list[str]]:
    """The images of the annotations, and the names of the other images in the detections."""
    rows: dict[str, list[int]] = {}
    for row, image in enumerate(detections.images):
        rows.setdefault(image, []).append(row)
    images = []
    for name, (boxes, ignored) in faces.items():
        ranks = np.array(rows.get(name, []), dtype=np.int64)
        images.append(
            ApImage(boxes, ignored, detections.boxes[ranks], detections.scores[ranks], ranks)
        )
    return images, [name for name in rows if name not in faces]


def _read_mat_detections(path: str | os.PathLike) -> ToolboxDetections:
    ids = np.atleast_1d(load_mat(path, "ids").squeeze())
    boxes, scores = (_mat_numbers(path, name) for name in ("BB", "confidence"))
    boxes, scores = boxes.T, scores.ravel()
    if not (len(ids) == len(boxes) == len(scores)) or boxes.shape[1:] != (4,):
        problem = f"{len(ids)} ids, {boxes.T.shape} BB and {len(scores)} confidence do not fit"
        raise AnnotationFormatError(path, "BB", problem)
    bad = np.flatnonzero(~np.isfinite(np.hstack([boxes, scores[:, None]])).all(axis=1))
    if len(bad):
        where = f"BB(:, {bad[0] + 1})"
        raise AnnotationFormatError(path, where, "a box or its confidence is not finite")
    names = [matlab_string(name, path, f"ids({i})") for i, name in enumerate(ids, start=1)]
    return ToolboxDetections([without_image_suffix(name) for name in names], boxes, scores)


def _mat_numbers(path: str | os.PathLike, variable: str) -> np.ndarray:
    values = load_mat(path, variable)
    if values.dtype.kind not in "iufb":
        problem = f"expected numbers, found {values.dtype}"
        raise AnnotationFormatError(path, variable, problem)
    return values.astype(np.float64)


def _numbers(line: str, number: int, source: str) -> list[float]:
    words = line.split()
    try:
        values = [float(word) for word in words[1:]]
    except ValueError:
        values = []
    if len(values) != 5 or not all(map(math.isfinite, values)):
        problem = f"expected image, score, x1, y1, x2, y2, found {shown(line.strip())}"
        raise AnnotationFormatError(source, f"line {number}", problem)
    return values
