"""AFW (Zhu and Ramanan, CVPR 2012): loader of its anno.mat, see :mod:`srn_d2.data.afw_mat`."""

import os
from typing import Any

from srn_d2.data.afw_mat import read_afw_mat

from .pascal_face import corners_annotation, to_dataset


def load_afw_mat(image_root: str | os.PathLike, path: str | os.PathLike) -> list[dict[str, Any]]:
    """The faces of an anno.mat as detectron2's list of dicts.

    Raises:
        FileNotFoundError: the file, or any image, is not where it is expected.
        AnnotationFormatError: the file has another layout; the message names the element.
        ImportError: it is of version 7.3 and h5py is not installed.
    """
    images = read_afw_mat(path)
    faces = [[corners_annotation(box) for box in boxes] for _, boxes in images]
    return to_dataset(image_root, [name for name, _ in images], faces, path)
