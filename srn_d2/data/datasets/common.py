"""Shared parts of the data sets: registration, error of damaged annotations, file checks."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.logger import log_first_n

README_HINT = "datasets/README.md shows the layout expected under $DETECTRON2_DATASETS"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
# Maximum number of missing images named in an error message.
NUM_MISSING_SHOWN = 5


class AnnotationFormatError(ValueError):
    """A damaged annotation file.

    Attributes:
        source: the file.
        where: the line, as "line 12", or the key in a JSON file, as "annotations[3].bbox".
    """

    def __init__(self, source: str | os.PathLike, where: str, problem: str) -> None:
        super().__init__(f"{source}, {where}: {problem}")
        self.source = str(source)
        self.where = where


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


def read_annotation_text(path: str | os.PathLike) -> str:
    """The text of an annotation file, line ends as ``\\n``, without a byte order mark.

    Bytes that are not UTF-8 become surrogates, as in ``os.fsdecode``, so that any file name
    survives; a binary file then fails in the parser with its line.

    Raises:
        FileNotFoundError: with the exact path expected.
    """
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"The annotation file {path} is not there; {README_HINT}.")
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
        return file.read()


def has_image_suffix(name: str) -> bool:
    """True if ``name`` has the suffix of an image file."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


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
