"""AFW (Zhu and Ramanan, CVPR 2012): reader of its anno.mat.

``anno`` is a cell array with a row for each of the 205 images (468 faces)::

    anno{i, 1}       image name
    anno{i, 2}{j}    box of face j, [x1 y1; x2 y2]
    anno{i, 3}{j}    pose (not read)
    anno{i, 4}{j}    six landmarks (not read)

The distributed file is of MATLAB's version 7.3, which is HDF5 and needs the package h5py; re-saved
up to version 7 (``save('anno.mat', 'anno', '-v7')``), scipy reads it.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from .annotation_files import AnnotationFormatError, load_mat, matlab_string


def read_afw_mat(path: str | os.PathLike) -> list[tuple[str, np.ndarray]]:
    """Name and (M, 4) float64 boxes, x1 y1 x2 y2, of each image.

    The coordinates are taken as they are, as the usual toolbox does.

    Raises:
        FileNotFoundError: the file is not there.
        AnnotationFormatError: it has another layout; the message names the element.
        ImportError: it is of version 7.3 and h5py is not installed.
    """
    try:
        rows = _read_cells(path)
    except NotImplementedError:
        rows = _read_hdf5_cells(path)
    images = []
    for i, (name, boxes) in enumerate(rows, start=1):
        name = matlab_string(name, path, f"anno{{{i}, 1}}")
        corners = [_corners(b, path, f"anno{{{i}, 2}}{{{j}}}") for j, b in enumerate(boxes, 1)]
        images.append((name, np.array(corners, dtype=np.float64).reshape(-1, 4)))
    return images


def _corners(box: np.ndarray, path: str | os.PathLike, where: str) -> np.ndarray:
    box = np.asarray(box)
    if box.shape != (2, 2) or box.dtype.kind not in "iuf" or not np.isfinite(box).all():
        problem = f"expected a matrix of numbers [x1 y1; x2 y2], found {box.tolist()}"
        raise AnnotationFormatError(path, where, problem)
    return box.ravel()


def _read_cells(path: str | os.PathLike) -> list[tuple[np.ndarray, np.ndarray]]:
    """Name and boxes of each row, not checked."""
    cells = load_mat(path, "anno")
    if cells.dtype != object or cells.ndim != 2 or cells.shape[1] < 2:
        problem = f"expected a cell array of 4 columns, found {cells.dtype} {cells.shape}"
        raise AnnotationFormatError(path, "anno", problem)
    for i, boxes in enumerate(cells[:, 1], start=1):
        if boxes.size and boxes.dtype != object:
            raise AnnotationFormatError(path, f"anno{{{i}, 2}}", "expected a cell array of boxes")
    return [(name, boxes.ravel()) for name, boxes in cells[:, :2]]


def _read_hdf5_cells(path: str | os.PathLike) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f"{path} is a MATLAB 7.3 file: install h5py, or re-save it in MATLAB by "
            "save('anno.mat', 'anno', '-v7')"
        ) from error
    with h5py.File(path, "r") as file:
        return list(_hdf5_rows(file, path))


def _hdf5_rows(file: Any, path: str | os.PathLike) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Name and boxes of each row; HDF5 has MATLAB's arrays transposed, and cells as references."""
    if "anno" not in file:
        raise AnnotationFormatError(path, "anno", f"there is no such variable, only {list(file)}")
    for name, boxes in file["anno"][:2].T:
        # An empty array is stored as its size, with this attribute.
        is_empty = file[boxes].attrs.get("MATLAB_empty", 0)
        references = [] if is_empty else file[boxes][()].ravel()
        text = "".join(chr(code) for code in file[name][()].ravel())
        yield np.array([text]), [file[reference][()].T for reference in references]
