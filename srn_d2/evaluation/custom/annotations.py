"""The faces of one's own annotations (COCO JSON, CSV, WIDER text) for an evaluation."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from srn_d2.data.datasets.custom import load_faces
from srn_d2.evaluation.coco.ap import ImageFaces
from srn_d2.evaluation.coco.ground_truth import annotated_faces
from srn_d2.evaluation.predictions.image_names import ImageId, ImageNames, Size
from srn_d2.evaluation.predictions.image_sizes import size_reader
from srn_d2.evaluation.widerface.face_groups import ATTRIBUTE_VALUES


@dataclass(frozen=True)
class AnnotatedImages:
    """Images and their faces.

    Attributes:
        faces: image id -> boxes (XYXY), with ignore regions marked as crowds.
        images: the same images by name.
        attributes: attribute of WIDER FACE -> image id -> (M,) int64, where all faces have it.
    """

    faces: Mapping[ImageId, ImageFaces]
    images: ImageNames
    attributes: Mapping[str, Mapping[ImageId, np.ndarray]] = field(default_factory=dict)


def read_annotated_images(
    annotations: str | os.PathLike, image_root: str | os.PathLike | None = None
) -> AnnotatedImages:
    """Read an annotation file.

    Args:
        annotations: .json (COCO), .csv or .txt (WIDER FACE's text).
        image_root: folder of the images; None: they are not looked at.

    Raises:
        FileNotFoundError: the file, or an image below ``image_root``, is not there.
        ValueError: the file is damaged or has no image.
    """
    dataset = load_faces(annotations, image_root)
    if not dataset:
        raise ValueError(f"{annotations} has no image")
    root = None if image_root is None else os.path.abspath(image_root)
    names, sizes = {}, {}
    for image in dataset:
        path = image["file_name"]
        names[image["image_id"]] = path if root is None else Path(path).relative_to(root).as_posix()
        if image.get("height") and image.get("width"):
            sizes[image["image_id"]] = (int(image["height"]), int(image["width"]))
    size_of_file = size_reader(names, image_root)

    def size_of(image_id: ImageId) -> Size | None:
        return sizes.get(image_id) or size_of_file(image_id)

    return AnnotatedImages(
        annotated_faces(dataset), ImageNames(names, size_of), _attributes(dataset)
    )


def _attributes(dataset: list[dict]) -> dict[str, dict[ImageId, np.ndarray]]:
    """WIDER FACE's attributes of the faces that :func:`annotated_faces` keeps."""
    found = {}
    for name in ATTRIBUTE_VALUES:
        if all(name in face for image in dataset for face in image["annotations"]):
            found[name] = {
                image["image_id"]: np.array([f[name] for f in image["annotations"]], np.int64)
                for image in dataset
            }
    return found
