"""Writes made-up ground truth in the layout of the official .mat files."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

from srn_d2.evaluation.widerface.ap import SETTINGS, WiderFaceGroundTruth


def make_ground_truth(
    boxes: dict[str, list], counted: dict[str, dict[str, list[int]]] | None = None
) -> WiderFaceGroundTruth:
    """Ground truth from lists.

    Args:
        boxes: image id -> XYWH boxes.
        counted: setting -> image id -> 1-based indices of the faces that count; settings and
            images that are not named: all of them.
    """
    arrays = {i: np.array(b, dtype=np.int32).reshape(-1, 4) for i, b in boxes.items()}
    masks = {}
    for setting in SETTINGS:
        chosen = (counted or {}).get(setting, {})
        masks[setting] = {
            i: np.isin(np.arange(1, len(b) + 1), chosen.get(i, np.arange(1, len(b) + 1)))
            for i, b in arrays.items()
        }
    return WiderFaceGroundTruth(arrays, masks)


def write_ground_truth(directory: Path, truth: WiderFaceGroundTruth) -> None:
    """Write the four files; the images of an event must follow each other."""
    directory.mkdir(parents=True, exist_ok=True)
    lists = {
        "event_list": _column([event for event, _ in _by_event(truth.boxes)]),
        "file_list": _column([_column(list(images)) for _, images in _by_event(truth.boxes)]),
        "face_bbx_list": _cells({i: b.astype(np.int32) for i, b in truth.boxes.items()}),
    }
    for name, labels in truth.attributes.items():
        lists[f"{name}_label_list"] = _cells({i: v.reshape(-1, 1) for i, v in labels.items()})
    savemat(directory / "wider_face_val.mat", lists)
    for setting, masks in truth.counted.items():
        index = {i: np.flatnonzero(mask).reshape(-1, 1) + 1.0 for i, mask in masks.items()}
        savemat(directory / f"wider_{setting}_val.mat", {**lists, "gt_list": _cells(index)})


def _by_event(per_image: dict) -> list[tuple[str, dict]]:
    events: dict[str, dict] = {}
    for image_id, value in per_image.items():
        event, name = image_id.split("/")
        events.setdefault(event, {})[name] = value
    return list(events.items())


def _cells(per_image: dict[str, np.ndarray]) -> np.ndarray:
    return _column([_column(list(images.values())) for _, images in _by_event(per_image)])


def _column(items: list) -> np.ndarray:
    """An (n, 1) cell array."""
    cells = np.empty((len(items), 1), dtype=object)
    for row, item in enumerate(items):
        cells[row, 0] = item
    return cells
