"""FDDB (Jain and Learned-Miller, UM-CS-2010-009): loader; lists: :mod:`srn_d2.data.fddb_lists`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import BoxMode

from srn_d2.data.fddb_lists import (
    FddbEllipse,
    FddbRecord,
    ellipse_bounding_boxes,
    parse_ellipse_list,
)

from .common import (
    README_HINT,
    AnnotationFormatError,
    drop_degenerate_boxes,
    read_annotation_text,
    require_images,
)

__all__ = [
    "FddbEllipse",
    "FddbRecord",
    "ellipse_bounding_boxes",
    "load_fddb",
    "parse_ellipse_list",
]

NUM_FOLDS = 10
IMAGE_FOLDER = "originalPics"
LIST_FOLDER = "FDDB-folds"


def load_fddb(
    root: str | os.PathLike, folds: Sequence[int] = range(1, NUM_FOLDS + 1)
) -> list[dict[str, Any]]:
    """The data set as detectron2's list of dicts; no image is opened.

    Each dict has "fold"; its "image_id" is the name in the list. Each annotation has "ellipse"
    (five numbers, see :class:`FddbEllipse`) and its tight "bbox". Ellipses without area are left
    out of the annotations, and their number is logged; the image's "ellipses" has all, as the
    official evaluation counts them too.

    Args:
        root: has originalPics and FDDB-folds.
        folds: numbers of the lists.

    Raises:
        FileNotFoundError: a list, or any image, is not where it is expected.
        AnnotationFormatError: a list is damaged, or an image is in two of them.
    """
    root = Path(os.path.abspath(root))
    files = {fold: root / LIST_FOLDER / f"FDDB-fold-{fold:02d}-ellipseList.txt" for fold in folds}
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of FDDB's {len(files)} ellipse lists are missing, {missing[0]} first; "
            f"{README_HINT}."
        )
    dataset, fold_of = [], {}
    for fold, path in files.items():
        records = parse_ellipse_list(read_annotation_text(path), str(path))
        for record in records:
            if record.name in fold_of:
                problem = f"{record.name!r} is in fold {fold_of[record.name]} already"
                raise AnnotationFormatError(path, "images", problem)
            fold_of[record.name] = fold
        paths = require_images(root / IMAGE_FOLDER, [f"{record.name}.jpg" for record in records])
        images = [_to_dict(*pair, fold) for pair in zip(paths, records, strict=True)]
        dataset += drop_degenerate_boxes(images, path)
    return dataset


def _to_dict(path: str, record: FddbRecord, fold: int) -> dict[str, Any]:
    boxes = ellipse_bounding_boxes(np.array(record.faces))
    boxes[:, 2:] -= boxes[:, :2]
    boxes[[face.is_degenerate for face in record.faces], 2:] = 0
    annotations = [
        {
            "bbox": box,
            "bbox_mode": BoxMode.XYWH_ABS,
            "category_id": 0,
            "iscrowd": 0,
            "ignore": False,
            "ellipse": list(face),
        }
        for box, face in zip(boxes.tolist(), record.faces, strict=True)
    ]
    return {
        "file_name": path,
        "image_id": record.name,
        "fold": fold,
        "ellipses": [list(face) for face in record.faces],
        "annotations": annotations,
    }
