"""WIDER FACE (Yang et al., CVPR 2016): its loader; its text: :mod:`srn_d2.data.wider_text`."""

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from detectron2.structures import BoxMode

from srn_d2.data.wider_text import (
    WiderFace,
    WiderFaceFormatError,
    WiderImage,
    format_wider_annotations,
    parse_wider_annotations,
    parse_wider_filelist,
    write_wider_annotations,
)

from .common import drop_degenerate_boxes, read_annotation_text, require_images

__all__ = [
    "WiderFace",
    "WiderFaceFormatError",
    "WiderImage",
    "format_wider_annotations",
    "load_wider_face",
    "load_wider_face_test",
    "parse_wider_annotations",
    "parse_wider_filelist",
    "write_wider_annotations",
]


def load_wider_face(
    image_root: str | os.PathLike, annotation_file: str | os.PathLike
) -> list[dict[str, Any]]:
    """The data set as detectron2's list of dicts; no image is opened.

    Each annotation has "bbox" (XYWH_ABS), "category_id" 0, "iscrowd" 0, "ignore" (the face is
    marked invalid) and the six attributes by name. Boxes without area are left out; their number
    is logged once.

    Args:
        image_root: such as ``WIDER_train/images``.
        annotation_file: such as ``wider_face_split/wider_face_train_bbx_gt.txt``.

    Raises:
        FileNotFoundError: the annotation file, or any image, is not where it is expected.
        WiderFaceFormatError: the annotation file is damaged.
    """
    text = read_annotation_text(annotation_file)
    images = _last_parsed(text, str(annotation_file))
    return drop_degenerate_boxes(_to_dicts(image_root, images), annotation_file)


@lru_cache(maxsize=1)
def _last_parsed(text: str, source: str) -> tuple[WiderImage, ...]:
    """The images of the text read last: a test loader and its evaluators share one parsing."""
    return tuple(parse_wider_annotations(text, source))


def load_wider_face_test(
    image_root: str | os.PathLike, filelist: str | os.PathLike
) -> list[dict[str, Any]]:
    """The test images, whose annotations are not public: as :func:`load_wider_face`, no faces."""
    text = read_annotation_text(filelist)
    return _to_dicts(image_root, parse_wider_filelist(text, source=str(filelist)))


def _to_dicts(image_root: str | os.PathLike, images: Sequence[WiderImage]) -> list[dict[str, Any]]:
    paths = require_images(image_root, [image.name for image in images])
    return [
        {
            "file_name": path,
            "image_id": image.image_id,
            "annotations": [_to_annotation(face) for face in image.faces],
        }
        for path, image in zip(paths, images, strict=True)
    ]


def _to_annotation(face: WiderFace) -> dict[str, Any]:
    attributes = face._asdict()
    box = [float(attributes.pop(key)) for key in ("x", "y", "w", "h")]
    return {
        "bbox": box,
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": 0,
        "iscrowd": 0,
        "ignore": bool(face.invalid),
        **attributes,
    }
