"""The faces of one's own annotations (COCO JSON, CSV, WIDER text) for an evaluation."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from srn_d2.data.annotations import FaceTable, read_faces
from srn_d2.evaluation.coco.ap import ImageFaces
from srn_d2.evaluation.predictions.image_names import ImageId, ImageNames
from srn_d2.evaluation.widerface.face_groups import ATTRIBUTE_VALUES


@dataclass(frozen=True)
class AnnotatedImages:
    """Images and their faces.

    Attributes:
        faces: image id -> boxes (XYXY), with ignore regions marked as crowds.
        images: the same images by name.
        attributes: attribute of WIDER FACE -> image id -> (M,) int64; {} where there are none.
    """

    faces: Mapping[ImageId, ImageFaces]
    images: ImageNames
    attributes: Mapping[str, Mapping[ImageId, np.ndarray]] = field(default_factory=dict)


def read_annotated_images(
    annotations: str | os.PathLike,
    image_root: str | os.PathLike | None = None,
    *,
    categories: Sequence[str | int] | None = None,
    box_format: str | None = None,
    allow_size_mismatch: bool = False,
) -> AnnotatedImages:
    """Read an annotation file.

    Args, Raises: see :func:`srn_d2.data.annotations.read_faces`.

    Raises:
        ValueError: there is no image.
    """
    table = read_faces(
        annotations,
        image_root,
        categories=categories,
        box_format=box_format,
        allow_size_mismatch=allow_size_mismatch,
    )
    if not table.names:
        raise ValueError(f"{annotations} has no image")
    return from_table(table)


def from_table(table: FaceTable) -> AnnotatedImages:
    """The images of a table of faces."""
    corners = np.hstack([table.boxes[:, :2], table.boxes[:, :2] + table.boxes[:, 2:]])
    bounds = np.searchsorted(table.image_of, np.arange(len(table.names) + 1)).tolist()
    rows = {image_id: slice(*bounds[i : i + 2]) for i, image_id in enumerate(table.image_ids)}
    sizes = {
        image_id: (height, width)
        for image_id, (width, height) in zip(
            table.image_ids, table.best_sizes().astype(int).tolist(), strict=True
        )
        if height and width
    }
    return AnnotatedImages(
        {i: ImageFaces(corners[r], table.ignored[r], ~table.ignored[r]) for i, r in rows.items()},
        ImageNames(dict(zip(table.image_ids, table.names, strict=True)), sizes.get),
        {
            name: {i: table.columns[name][r] for i, r in rows.items()}
            for name in ATTRIBUTE_VALUES
            if name in table.columns
        },
    )
