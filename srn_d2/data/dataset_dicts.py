"""The images of registered data sets, as detectron2's list of dicts."""

import logging
from collections.abc import Sequence
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.build import check_metadata_consistency

from .annotations.face_annotations import FaceAnnotations

logger = logging.getLogger(__name__)


def load_dataset_dicts(names: list[str], filter_empty: bool = False) -> list[dict[str, Any]]:
    """The images of registered data sets, joined.

    Unlike detectron2's get_detection_dataset_dicts it does not count the annotations of each class,
    which would make a dict of each face: :class:`FaceAnnotations` stay arrays.

    Args:
        names: in DatasetCatalog.
        filter_empty: whether to leave out images without annotations that are not "iscrowd".

    Raises:
        ValueError: a data set has no images.
    """
    images = {name: DatasetCatalog.get(name) for name in names}
    for name, found in images.items():
        if not found:
            raise ValueError(f"the data set {name} has no images; its annotations: {_source(name)}")
    dicts = [image for name in names for image in images[name]]
    if all(MetadataCatalog.get(name).get("thing_classes") for name in names):
        check_metadata_consistency("thing_classes", names)
    if not filter_empty or not dicts or "annotations" not in dicts[0]:
        return dicts
    kept = []
    for image in dicts:
        faces = image["annotations"]
        if isinstance(faces, FaceAnnotations):
            is_only_crowd = faces.is_only_crowd
        else:
            is_only_crowd = all(face.get("iscrowd", 0) for face in faces)
        kept += [] if is_only_crowd else [image]
    logger.info("%d of %d images have faces and are trained on", len(kept), len(dicts))
    return kept


def _source(name: str) -> str:
    return MetadataCatalog.get(name).get("annotation_file", "registered by a script")


def require_faces(dataset_dicts: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """Raise a ValueError if there is nothing but background and ignore regions."""
    for image in dataset_dicts:
        faces = image.get("annotations", [])
        if isinstance(faces, FaceAnnotations):
            if not faces.ignored.all():
                return
        elif not all(face.get("iscrowd") or face.get("ignore") for face in faces):
            return
    sources = ", ".join(f"{name} ({_source(name)})" for name in names)
    raise ValueError(
        f"DATASETS.TRAIN: there is no face in {sources}: nothing can be learnt; "
        "srn-d2 check-data FILE shows what is in annotations"
    )
