"""A folder in the layout of WIDER FACE, or a part of one: its images and its ground truth."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from srn_d2.data.datasets.common import read_annotation_text
from srn_d2.data.datasets.wider_face import parse_wider_annotations
from srn_d2.evaluation.widerface.ap import WiderFaceGroundTruth
from srn_d2.evaluation.widerface.ground_truth import load_ground_truth
from srn_d2.evaluation.widerface.image_lists import read_image_list

IMAGES = "WIDER_val/images"
ANNOTATIONS = "wider_face_split/wider_face_val_bbx_gt.txt"
GROUND_TRUTH = "ground_truth"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WiderFolder:
    """Images that are there, in the order of the annotation file.

    Attributes:
        images: image id ("event/image") -> its file.
        ground_truth: of these images and maybe others.
        source: the images' folder, absolute.
    """

    images: dict[str, Path]
    ground_truth: WiderFaceGroundTruth
    source: Path


def find_wider_folder(
    root: str | os.PathLike,
    annotations: str | os.PathLike | None = None,
    ground_truth: str | os.PathLike | None = None,
) -> WiderFolder:
    """The images of the annotation file that are in ``root``/WIDER_val/images; none is opened.

    Args:
        root: the folder.
        annotations: None: root/wider_face_split/wider_face_val_bbx_gt.txt.
        ground_truth: folder of the four official .mat files; None: root/ground_truth.

    Raises:
        FileNotFoundError: a folder or a file is missing.
        ValueError: no image of the annotation file is there, the file is damaged, or names images
            that the ground truth does not have.
    """
    source = Path(os.path.abspath(root)) / IMAGES
    if not source.is_dir():
        raise FileNotFoundError(f"No folder of images: {source} (--root names the folder above)")
    annotations = Path(annotations or Path(root, ANNOTATIONS))
    text = read_annotation_text(annotations)
    annotated = parse_wider_annotations(text, str(annotations))
    images = {image.image_id: source / image.name for image in annotated}
    present = {key: path for key, path in images.items() if path.is_file()}
    if not present:
        raise ValueError(f"{source}: none of the {len(images)} images of {annotations} is there")
    if len(present) < len(images):
        num_missing = len(images) - len(present)
        logger.warning("%d of %d images are not there, left out", num_missing, len(images))
    truth = load_ground_truth(ground_truth or Path(root, GROUND_TRUTH))
    read_image_list(annotations, truth)  # raises if one is not in the ground truth
    return WiderFolder(present, truth, source)
