"""Shared parts of the data sets: registration, error of damaged annotations, file checks."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from detectron2.utils.logger import log_first_n

from srn_d2.data.annotation_files import (
    IMAGE_SUFFIXES,
    README_HINT,
    AnnotationFormatError,
    has_image_suffix,
    read_annotation_text,
)
from srn_d2.data.annotations.face_annotations import FaceAnnotations
from srn_d2.data.annotations.table import FaceTable

__all__ = [
    "IMAGE_SUFFIXES",
    "README_HINT",
    "AnnotationFormatError",
    "dataset_root",
    "drop_degenerate_boxes",
    "has_image_suffix",
    "read_annotation_text",
    "register_face_dataset",
    "require_images",
    "table_of_dicts",
]

# Maximum number of missing images named in an error message.
NUM_MISSING_SHOWN = 5


def register_face_dataset(
    name: str, load: Callable[[], list[dict[str, Any]]], **metadata: Any
) -> None:
    """Register ``load`` and its metadata, replacing an earlier registration of ``name``.

    Nothing is read before ``DatasetCatalog.get(name)``.
    """
    if name in DatasetCatalog:
        DatasetCatalog.remove(name)
    if name in MetadataCatalog:
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(thing_classes=["face"], **metadata)


def dataset_root() -> Path:
    """The absolute folder of all data sets: $DETECTRON2_DATASETS, by default ./datasets."""
    return Path(os.path.abspath(os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))))


def require_images(image_root: str | os.PathLike, names: Sequence[str]) -> list[str]:
    """The absolute path of each image, checked to be there; no image is opened.

    Args:
        names: paths below ``image_root``, with "/" between folders.

    Raises:
        FileNotFoundError: names the number of missing images, the first of them and the folder.
    """
    root = os.path.abspath(image_root)
    paths = [os.path.join(root, name) for name in names]
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        shown = "\n".join(f"  {path}" for path in missing[:NUM_MISSING_SHOWN])
        more = "\n  ..." if len(missing) > NUM_MISSING_SHOWN else ""
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} images are missing under {root} ({README_HINT}):\n"
            f"{shown}{more}"
        )
    return paths


def drop_degenerate_boxes(
    dataset: list[dict[str, Any]], source: str | os.PathLike
) -> list[dict[str, Any]]:
    """Leave out, in place, annotations whose XYWH box has no area; log their number once."""
    num_all = sum(len(image["annotations"]) for image in dataset)
    for image in dataset:
        image["annotations"] = [a for a in image["annotations"] if min(a["bbox"][2:]) > 0]
    num_dropped = num_all - sum(len(image["annotations"]) for image in dataset)
    if num_dropped:
        log_first_n(
            logging.WARNING,
            f"{source}: {num_dropped} of {num_all} boxes have no width or no height; they are "
            "left out",
            key="message",
        )
    return dataset


def table_of_dicts(dataset: Sequence[dict[str, Any]], source: str) -> FaceTable:
    """The table of a data set in detectron2's form, with what its dicts say of sizes."""
    boxes, ignored = [], []
    for image in dataset:
        annotations = image.get("annotations", ())
        if not isinstance(annotations, FaceAnnotations):
            rows = [
                BoxMode.convert(list(a["bbox"]), BoxMode(a["bbox_mode"]), BoxMode.XYWH_ABS)
                for a in annotations
            ]
            flags = [bool(a.get("ignore") or a.get("iscrowd")) for a in annotations]
            annotations = FaceAnnotations(
                np.array(rows, dtype=np.float64).reshape(-1, 4), np.array(flags, dtype=bool)
            )
        boxes.append(annotations.boxes)
        ignored.append(annotations.ignored)
    sizes = [(image.get("width", 0), image.get("height", 0)) for image in dataset]
    return FaceTable(
        source,
        [image["file_name"] for image in dataset],
        [image["image_id"] for image in dataset],
        np.concatenate([np.zeros((0, 4)), *boxes]),
        np.repeat(np.arange(len(boxes)), [len(rows) for rows in boxes]),
        np.concatenate([np.zeros(0, dtype=bool), *ignored]),
        declared_sizes=np.array(sizes, dtype=np.float64).reshape(-1, 2),
        paths=[image["file_name"] for image in dataset],
    )
