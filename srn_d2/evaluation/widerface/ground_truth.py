"""Reader of the four official ground truth files (.mat) of the WIDER FACE validation set."""

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np

from srn_d2.data.annotation_files import DAMAGED_MAT_ERRORS

from .ap import SETTINGS, WiderFaceGroundTruth

MAIN_FILE = "wider_face_val.mat"
SETTING_FILE = "wider_{setting}_val.mat"
ATTRIBUTES = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")
SOURCE = (
    "they are in the ground_truth folder of eval_tools.zip, the evaluation code on the WIDER FACE "
    "web page (shuoyang1213.me/WIDERFACE)"
)


class GroundTruthFormatError(ValueError):
    """A damaged ground truth file; the message names the file and what is wrong."""


def load_ground_truth(directory: str | os.PathLike) -> WiderFaceGroundTruth:
    """Read ``wider_face_val.mat`` and ``wider_{easy,medium,hard}_val.mat``.

    Raises:
        FileNotFoundError: any of the four is missing; names all that are, and their source.
        GroundTruthFormatError: a file is no such .mat file, or disagrees with the others.
        ImportError: scipy is not installed.
    """
    directory = Path(directory)
    setting_files = {s: directory / SETTING_FILE.format(setting=s) for s in SETTINGS}
    files = [directory / MAIN_FILE, *setting_files.values()]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{directory} lacks {', '.join(missing)}: {SOURCE}")

    main = _load_mat(files[0])
    ids = _image_ids(main, files[0])
    boxes = _boxes_by_image(main, ids, files[0])
    attributes = {}
    for name in ATTRIBUTES:
        key = f"{name}_label_list"
        if key in main:
            labels = _image_cells(main, key, ids, files[0])
            attributes[name] = {i: v.ravel().astype(np.int64) for i, v in labels.items()}
    counted = {
        setting: _counted_faces(_load_mat(path), ids, boxes, path)
        for setting, path in setting_files.items()
    }
    return WiderFaceGroundTruth(boxes, counted, attributes)


def _load_mat(path: Path) -> dict[str, Any]:
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise ImportError("Reading .mat files needs scipy: pip install scipy") from error
    try:
        return loadmat(path)
    except (MatReadError, NotImplementedError, OSError, *DAMAGED_MAT_ERRORS) as error:
        raise GroundTruthFormatError(f"{path}: not a readable .mat file ({error})") from error


def _variable(mat: dict[str, Any], key: str, path: Path) -> np.ndarray:
    if key not in mat:
        raise GroundTruthFormatError(f"{path}: no variable {key}")
    return mat[key].ravel()


def _image_ids(mat: dict[str, Any], path: Path) -> list[list[str]]:
    """The image ids "event/image" of each event, in the order of the file."""
    events = _variable(mat, "event_list", path)
    images = _variable(mat, "file_list", path)
    if len(events) != len(images):
        raise GroundTruthFormatError(f"{path}: event_list and file_list differ in length")
    ids = [
        [f"{event.item()}/{image.item()}" for image in names.ravel()]
        for event, names in zip(events, images, strict=True)
    ]
    if len(set(itertools.chain(*ids))) != sum(map(len, ids)):
        raise GroundTruthFormatError(f"{path}: file_list names an image twice")
    return ids


def _image_cells(
    mat: dict[str, Any], key: str, ids: list[list[str]], path: Path
) -> dict[str, np.ndarray]:
    """Image id -> its cell of the nested cell array ``key`` (events, then images)."""
    events = [cells.ravel() for cells in _variable(mat, key, path)]
    if [len(cells) for cells in events] != [len(event) for event in ids]:
        raise GroundTruthFormatError(f"{path}: {key} does not fit the list of images")
    return {
        image_id: cell
        for event, cells in zip(ids, events, strict=True)
        for image_id, cell in zip(event, cells, strict=True)
    }


def _boxes_by_image(mat: dict[str, Any], ids: list[list[str]], path: Path) -> dict[str, np.ndarray]:
    """Image id -> (M, 4) int32 XYWH."""
    boxes = {}
    for image_id, cell in _image_cells(mat, "face_bbx_list", ids, path).items():
        faces = cell.reshape(-1, 4) if cell.size else np.zeros((0, 4))
        boxes[image_id] = faces.astype(np.int32)
        if not np.array_equal(boxes[image_id], faces):
            raise GroundTruthFormatError(f"{path}: {image_id}: boxes are not int32")
    return boxes


def _counted_faces(
    mat: dict[str, Any], ids: list[list[str]], boxes: dict[str, np.ndarray], path: Path
) -> dict[str, np.ndarray]:
    """Image id -> (M,) bool from gt_list, which holds 1-based indices (rule 5)."""
    if _image_ids(mat, path) != ids:
        raise GroundTruthFormatError(f"{path}: other images than in {MAIN_FILE}")
    own_boxes = _boxes_by_image(mat, ids, path)
    counted = {}
    for image_id, cell in _image_cells(mat, "gt_list", ids, path).items():
        if not np.array_equal(own_boxes[image_id], boxes[image_id]):
            raise GroundTruthFormatError(f"{path}: {image_id}: other boxes than in {MAIN_FILE}")
        index = cell.ravel().astype(np.int64)
        num_faces = len(boxes[image_id])
        if len(np.unique(index)) != len(index) or not np.isin(index, range(1, num_faces + 1)).all():
            raise GroundTruthFormatError(
                f"{path}: {image_id}: gt_list holds {index.tolist()} for {num_faces} faces"
            )
        mask = np.zeros(num_faces, dtype=bool)
        mask[index - 1] = True
        counted[image_id] = mask
    return counted
