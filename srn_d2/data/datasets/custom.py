"""The user's own pictures and boxes: one call registers them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srn_d2.data.annotations.box_format import BOX_FORMATS
from srn_d2.data.annotations.reader import check_suffix, read_faces

from .common import register_face_dataset


def register_face_folder(
    name: str,
    image_root: str | os.PathLike,
    annotations: str | os.PathLike,
    *,
    categories: Sequence[str | int] | None = None,
    box_format: str | None = None,
    allow_size_mismatch: bool = False,
) -> None:
    """Register your own faces under ``name``, for DATASETS.TRAIN and DATASETS.TEST.

    The files are read when the data set is first used: the annotations, and of each image the
    header. One line in the log then says what was found and what was left out.

    Args:
        image_root: the folder below which the annotations' image names are.
        annotations: by its suffix,
            ``.txt``: WIDER FACE's text, see ``wider_text.py``;
            ``.json``: COCO; ``iscrowd`` and ``ignore`` boxes are ignore regions;
            ``.csv``, ``.tsv``: with a header such as ``file,x,y,w,h`` and one face a line, in
            pixels; the four numbers are left empty for an image without faces;
            or a folder with a file for each image, of Pascal VOC, labelme or YOLO.
        categories: names (or ids) of the categories that are all faces, such as
            ``["with_mask", "without_mask"]``; None: the one called "face", else the only one that
            has annotations.
        box_format: what the four numbers are: "xywh", "xyxy" or "cxcywh", in pixels, or with
            "_fraction" or "_percent" behind it as parts of the image's size; None: what the file
            says, and an error if the boxes do not look like it.
        allow_size_mismatch: whether the file may give images another size than they have.

    Raises:
        ValueError: the suffix or ``box_format`` is none of these; the message names the format
            if it is a known one, and how to convert it.
    """
    image_root, annotations = Path(image_root).absolute(), Path(annotations).absolute()
    check_suffix(annotations)
    if box_format is not None and box_format not in BOX_FORMATS:
        raise ValueError(f"box_format is one of {', '.join(BOX_FORMATS)}, not {box_format!r}")
    register_face_dataset(
        name,
        lambda: load_faces(
            annotations,
            image_root,
            categories=categories,
            box_format=box_format,
            allow_size_mismatch=allow_size_mismatch,
        ),
        evaluator_type="coco_face",
        image_root=str(image_root),
        annotation_file=str(annotations),
    )


def load_faces(
    annotations: str | os.PathLike, image_root: str | os.PathLike | None = None, **options: Any
) -> list[dict[str, Any]]:
    """The faces of an annotation file or folder as detectron2's list of dicts.

    "height" and "width" are those of the images' headers, or what the file gives.

    Args:
        annotations: see :func:`register_face_folder`.
        image_root: None: images are not looked at, and "file_name" is the name in the file.
        options: see :func:`srn_d2.data.annotations.read_faces`, which also says what is raised.
    """
    return read_faces(annotations, image_root, **options).to_dicts()
