#!/usr/bin/env python
"""Write the protocol fixture, data/protocol: made-up predictions, ground truth, their results.

    cd tests && python -m helpers.make_protocol_fixture

writes it anew where the scenes (:mod:`protocol_scenes`) or the restatement changed. The results
are those of :mod:`plain_wider_face`, which shares no code with the package: neither its readers
nor its arithmetic. README.md in the fixture's folder describes the files.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from scipy.io import savemat

from helpers.plain_wider_face import (
    accumulate,
    official_choices,
    plain_python_port,
    read_prediction_text,
)
from helpers.protocol_scenes import SETTINGS, Scene, make_scenes

FIXTURE = Path(__file__).resolve().parents[1] / "evaluation" / "data" / "protocol"
IOU_THRESHOLDS = (0.3, 0.5, 0.7)
ATTRIBUTES = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")
# In place of the date that savemat writes: the same scenes give the same bytes.
MAT_HEADER = b"MATLAB 5.0 MAT-file, made up by make_protocol_fixture.py".ljust(116)


def main(folder: Path = FIXTURE) -> None:
    scenes = make_scenes()
    for name in ("predictions", "ground_truth"):
        shutil.rmtree(folder / name, ignore_errors=True)
    write_predictions(folder / "predictions", scenes)
    write_ground_truth(folder / "ground_truth", scenes)
    expected, counts = restated_results(folder / "predictions", scenes)
    text = json.dumps(expected, indent=1) + "\n"
    (folder / "expected.json").write_text(text, encoding="utf-8")
    lines = [" ".join(map(str, row)) for row in counts]
    header = "# " + " ".join(f"{setting}_{what}" for setting in SETTINGS for what in _COLUMNS)
    (folder / "counts.txt").write_text("\n".join([header, *lines, ""]), encoding="utf-8")


_COLUMNS = ("proposals", "matched")


def restated_results(predictions: Path, scenes: list[Scene]) -> tuple[dict, list[list[int]]]:
    """What the restatement makes of a folder of predictions.

    Returns:
        setting -> {"num_faces", "ap": IoU -> official AP, "ap_of_popular_port": file order and
        sorted by score}; and 1000 rows of proposals and matched faces at IoU 0.5, in the order of
        SETTINGS.
    """
    rows = {scene.image_id: read_or_none(predictions, scene.image_id) or [] for scene in scenes}
    boxes = {scene.image_id: [list(face) for face in scene.faces] for scene in scenes}
    expected: dict[str, dict] = {setting: {"ap": {}} for setting in SETTINGS}
    counts: list[list[int]] = [[] for _ in range(1000)]
    for threshold in IOU_THRESHOLDS:
        scores, faces = official_choices(rows, boxes, threshold)
        for setting in SETTINGS:
            counted = {scene.image_id: scene.counted[setting] for scene in scenes}
            ap, totals, num_faces = accumulate(scores, faces, boxes, counted)
            expected[setting]["num_faces"] = num_faces
            expected[setting]["ap"][str(threshold)] = ap
            if threshold == 0.5:
                counts = [[*row, *pair] for row, pair in zip(counts, totals, strict=True)]
                expected[setting]["ap_of_popular_port"] = {
                    key: plain_python_port(rows, boxes, counted, sort=sort)[0]
                    for key, sort in (("file_order", False), ("sorted", True))
                }
    return expected, counts


def read_or_none(predictions: Path, image_id: str) -> list | None:
    path = predictions / f"{image_id}.txt"
    return read_prediction_text(path.read_text(encoding="utf-8")) if path.exists() else None


def write_predictions(folder: Path, scenes: list[Scene]) -> None:
    for scene in scenes:
        if scene.layout == "missing":
            continue
        path = folder / f"{scene.image_id}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(prediction_text(scene), encoding="utf-8", newline="\n")


def prediction_text(scene: Scene) -> str:
    """The file of an image.

    Layouts: "plain"; "cut off" (the last line is gone), "blank line" (before the last one) and
    "empty", which the protocol takes as no detections; "unread lines" (two beyond the count);
    "more columns" (a sixth number).
    """
    lines = [" ".join(f"{number:.12g}" for number in row) for row in scene.detections]
    count = len(lines)
    if scene.layout == "empty":
        return ""
    if scene.layout == "cut off":
        lines = lines[:-1]
    elif scene.layout == "blank line":
        lines = [*lines[:-1], "", lines[-1]]
    elif scene.layout == "unread lines":
        count -= 2
    elif scene.layout == "more columns":
        lines = [f"{line} {number}" for number, line in enumerate(lines)]
    return "\n".join([scene.image_id, str(count), *lines, ""])


def write_ground_truth(folder: Path, scenes: list[Scene]) -> None:
    """The four files in the official layout: cell arrays of events, of images, of int32 boxes."""
    folder.mkdir(parents=True, exist_ok=True)
    events: dict[str, list[Scene]] = {}
    for scene in scenes:
        events.setdefault(scene.image_id.split("/")[0], []).append(scene)

    def nested(value) -> np.ndarray:
        return _column([_column([value(scene) for scene in group]) for group in events.values()])

    lists = {
        "event_list": _column(list(events)),
        "file_list": nested(lambda scene: scene.image_id.split("/")[1]),
        "face_bbx_list": nested(lambda scene: np.array(scene.faces, np.int32).reshape(-1, 4)),
    }
    labels = nested(lambda scene: np.zeros((len(scene.faces), 1), np.uint8))
    lists |= {f"{name}_label_list": labels for name in ATTRIBUTES}
    _save(folder / "wider_face_val.mat", lists)
    for setting in SETTINGS:
        index = nested(
            lambda scene, setting=setting: np.array(scene.counted[setting], np.uint8)[:, None]
        )
        _save(folder / f"wider_{setting}_val.mat", {**lists, "gt_list": index})


def _save(path: Path, variables: dict[str, np.ndarray]) -> None:
    savemat(path, variables, do_compression=True)
    path.write_bytes(MAT_HEADER + path.read_bytes()[116:])


def _column(items: list) -> np.ndarray:
    """An (n, 1) cell array."""
    cells = np.empty((len(items), 1), dtype=object)
    for row, item in enumerate(items):
        cells[row, 0] = item
    return cells


if __name__ == "__main__":
    sys.exit(main())
