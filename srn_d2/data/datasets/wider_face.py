"""WIDER FACE (Yang et al., CVPR 2016): its loader; for its text see ``wider_text.py``."""

import os
from functools import lru_cache
from typing import Any

from srn_d2.data.annotations.reader import finish, wider_table
from srn_d2.data.annotations.wider_records import (
    WiderFace,
    WiderFaceFormatError,
    WiderImage,
    format_wider_annotations,
    write_wider_annotations,
)
from srn_d2.data.annotations.wider_text import (
    WiderText,
    parse_wider_annotations,
    parse_wider_filelist,
    parse_wider_text,
)

from .common import read_annotation_text, require_images

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
    marked invalid) and the six attributes by name. Boxes without area are left out. One line in
    the log says how many images, faces, ignored and dropped boxes there are.

    Args:
        image_root: such as ``WIDER_train/images``.
        annotation_file: such as ``wider_face_split/wider_face_train_bbx_gt.txt``.

    Raises:
        FileNotFoundError: the annotation file, or any image, is not where it is expected.
        WiderFaceFormatError: the annotation file is damaged.
    """
    text = read_annotation_text(annotation_file)
    table = wider_table(_last_parsed(text, str(annotation_file)), str(annotation_file))
    table.paths = require_images(image_root, table.names)
    finish(table)
    return table.to_dicts()


@lru_cache(maxsize=1)
def _last_parsed(text: str, source: str) -> WiderText:
    """The images of the text read last: a test loader and its evaluators share one parsing."""
    return parse_wider_text(text, source)


def load_wider_face_test(
    image_root: str | os.PathLike, filelist: str | os.PathLike
) -> list[dict[str, Any]]:
    """The test images, whose annotations are not public: as :func:`load_wider_face`, no faces."""
    text = read_annotation_text(filelist)
    images = parse_wider_filelist(text, source=str(filelist))
    paths = require_images(image_root, [image.name for image in images])
    return [
        {"file_name": path, "image_id": image.image_id, "annotations": []}
        for path, image in zip(paths, images, strict=True)
    ]
