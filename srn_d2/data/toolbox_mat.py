"""Annotations of "Face detection without bells and whistles" (Mathias et al., ECCV 2014).

A MATLAB file has a struct array ``Annotations`` with the fields ``imgname`` and ``objects``, an
(M, 4) or (M, 6) matrix of x1, y1, x2, y2 and, in column 6, whether the face is ignored. The
coordinates are taken as they are, as the toolbox does.
"""

import os

import numpy as np

from .annotation_files import AnnotationFormatError, load_mat, matlab_string


def read_toolbox_mat(path: str | os.PathLike) -> list[tuple[str, np.ndarray]]:
    """Name and (M, 5) float64 objects of each image: x1, y1, x2, y2, and 1 if ignored.

    Raises:
        FileNotFoundError: the file is not there.
        AnnotationFormatError: it has another layout; the message names the element.
        NotImplementedError: it is of MATLAB's version 7.3; re-save it with '-v7'.
    """
    records = load_mat(path, "Annotations").ravel()
    if records.dtype.names is None or not {"imgname", "objects"} <= set(records.dtype.names):
        problem = f"expected a struct with imgname and objects, found {records.dtype}"
        raise AnnotationFormatError(path, "Annotations", problem)
    images = []
    for i, record in enumerate(records, start=1):
        where = f"Annotations({i})"
        name = matlab_string(record["imgname"], path, f"{where}.imgname")
        images.append((name, _objects(record["objects"], path, f"{where}.objects")))
    return images


def _objects(objects: np.ndarray, path: str | os.PathLike, where: str) -> np.ndarray:
    while objects.dtype == object and objects.size == 1:
        objects = np.asarray(objects.item())
    if objects.size == 0:
        return np.zeros((0, 5))
    if objects.ndim != 2 or objects.shape[1] not in (4, 6) or objects.dtype.kind not in "iuf":
        problem = f"expected a matrix of 4 or 6 columns, found {objects.dtype} {objects.shape}"
        raise AnnotationFormatError(path, where, problem)
    if not np.isfinite(objects).all():
        raise AnnotationFormatError(path, where, "there is a number that is not finite")
    ignored = objects[:, 5:] if objects.shape[1] == 6 else np.zeros((len(objects), 1))
    return np.hstack([objects[:, :4], ignored != 0]).astype(np.float64)
