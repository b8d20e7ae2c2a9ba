"""Lists of WIDER FACE images, and attributes of their faces from the annotation text."""

import os
from collections.abc import Mapping

import numpy as np

from srn_d2.data.annotation_files import has_image_suffix, read_annotation_text
from srn_d2.data.annotations.wider_records import WiderFace
from srn_d2.data.annotations.wider_text import parse_wider_annotations

from .ap import WiderFaceGroundTruth

UNKNOWN = -1  # value of an attribute where the annotation has none
ATTRIBUTES = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")


def read_image_list(path: str | os.PathLike, ground_truth: WiderFaceGroundTruth) -> list[str]:
    """Image ids ("event/image") from a text file.

    Args:
        path: one image a line, with or without its suffix, or an official
            ``wider_face_*_bbx_gt.txt``.
        ground_truth: which has to hold all of them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file names no image, or one that is not in the ground truth.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"No list of images: {path}")
    text = read_annotation_text(path)
    if _is_annotation(text):
        names = [image.image_id for image in parse_wider_annotations(text, str(path))]
    else:
        names = [_image_id(line.strip()) for line in text.split("\n") if line.strip()]
    if not names:
        raise ValueError(f"{path}: names no image")
    unknown = [name for name in names if name not in ground_truth.boxes]
    if unknown:
        raise ValueError(
            f"{path}: {len(unknown)} of {len(names)} images are not in the ground truth, "
            f"{unknown[0]!r} first; expected lines such as {next(iter(ground_truth.boxes))!r}"
        )
    return list(dict.fromkeys(names))


def read_attributes(
    path: str | os.PathLike, boxes: Mapping[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    """Attributes of the faces of ``boxes`` from a ``wider_face_val_bbx_gt.txt``, by their order.

    Returns:
        attribute -> image id -> (M,) int64; UNKNOWN for images that the file does not hold.

    Raises:
        ValueError: an image has other boxes in the file than in ``boxes``.
    """
    text = read_annotation_text(path)
    faces = {image.image_id: image.faces for image in parse_wider_annotations(text, str(path))}
    attributes: dict[str, dict[str, np.ndarray]] = {name: {} for name in ATTRIBUTES}
    for image_id, image_boxes in boxes.items():
        table = np.full((len(image_boxes), len(WiderFace._fields)), UNKNOWN, dtype=np.int64)
        # Where an image has no face, the .mat file has one box of zeros.
        if faces.get(image_id) or (image_id in faces and image_boxes.any()):
            table = np.array(faces[image_id], dtype=np.int64).reshape(-1, len(WiderFace._fields))
            if not np.array_equal(table[:, :4], image_boxes):
                raise ValueError(f"{path}: {image_id} has other boxes than the ground truth")
        for name in ATTRIBUTES:
            attributes[name][image_id] = table[:, WiderFace._fields.index(name)]
    return attributes


def _is_annotation(text: str) -> bool:
    """True if the second non-blank line is a number, as in the annotation format."""
    lines = [line.strip() for line in text.split("\n") if line.strip()][:2]
    return len(lines) == 2 and lines[1].isdigit()


def _image_id(name: str) -> str:
    return os.path.splitext(name)[0] if has_image_suffix(name) else name
