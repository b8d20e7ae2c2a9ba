"""JSON files of predictions: COCO results, faces.json and .jsonl of ``srn-d2 detect``.

Read are

- a list of ``{"image_id", "bbox": [x, y, w, h], "score"}``, COCO's results, also below
  "annotations", "predictions", "detections" or "results" of an object, with its "images" or not;
- a list of ``{"file_name", "faces": [{"bbox": [x1, y1, x2, y2], "score"}, ...]}``, or one such
  object a line (.jsonl); ``{"frame", "faces"}`` for the frames of a video;
- an object of file names and lists of ``[x, y, w, h, score]``.
"""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from srn_d2.evaluation.widerface.prediction_files import PredictionIssue

from .columns import XYWH, XYXY
from .found import FoundRows, examples
from .image_names import ImageId, ImageNames
from .json_images import JsonFormatError, Records, id_text, image_of_records

_LISTS = ("annotations", "predictions", "detections", "results")
_SCORES = ("score", "confidence", "conf")
_NAMES = ("file_name", "filename", "image", "path")


def read_json(
    path: str | os.PathLike,
    images: ImageNames,
    *,
    category: int | str | None = None,
    first_frame: int | None = None,
) -> FoundRows:
    """The rows of a JSON file.

    Args:
        path: .json, or .jsonl with an object a line.
        images: the images of the ground truth.
        category: category_id of the faces among COCO results; None: the only one there is.
        first_frame: number, in the images' names, of a video's frame 0; None: as the names tell.

    Raises:
        JsonFormatError: damaged, or without predictions in a known form; names line or key.
    """
    source = str(path)
    content = _load(path)
    items = _items(content, source)
    if isinstance(items, dict):
        records = _named_lists(items, source)
    elif any("faces" in item or "error" in item for item in items if isinstance(item, dict)):
        records = _face_lists(items, source)
    else:
        file_names = _file_names(content) if isinstance(content, dict) else {}
        records = _coco_results(items, source, category, file_names)
    keys, notes = image_of_records(records, images, source, first_frame)
    lists: dict[ImageId, list[list[float]]] = {}
    for key, image_id in keys.items():  # 7 and "7" are one image
        lists.setdefault(image_id, []).extend(records.rows[key])
    rows = {i: np.array(them, dtype=np.float64).reshape(-1, 5) for i, them in lists.items()}
    # In COCO results an image without detections is not there at all.
    is_listed = records.key != "image_id"
    missing = [image_id for image_id in images.names if image_id not in rows] if is_listed else []
    if not is_listed:
        for image_id in images.names:
            rows.setdefault(image_id, np.zeros((0, 5)))
    return FoundRows(
        source=source,
        rows=rows,
        columns=records.columns,
        places={image_id: f"{source}, {images.names[image_id]}" for image_id in rows},
        missing=tuple(missing),
        malformed=tuple(records.malformed),
        notes=(*records.notes, *notes),
    )


# --- the forms ----------------------------------------------------------------------------------


def _load(path: str | os.PathLike) -> Any:
    data = Path(path).read_bytes()  # json finds UTF-16 itself
    try:
        return json.loads(data)
    except UnicodeDecodeError as error:
        raise JsonFormatError(f"{path}: neither UTF-8 nor UTF-16: {error}") from error
    except json.JSONDecodeError as error:
        first_error = error
    try:  # an object a line
        text = data.decode(json.detect_encoding(data))
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    except json.JSONDecodeError:
        error = first_error
        raise JsonFormatError(f"{path}, line {error.lineno}: {error.msg}") from error


def _items(content: Any, source: str) -> list | dict:
    """The list of records, or an object of names and lists."""
    if isinstance(content, dict):
        for key in _LISTS:
            if isinstance(content.get(key), list):
                return content[key]
        if "faces" in content:
            return [content]
        if content and all(isinstance(value, list) for value in content.values()):
            return content
    elif isinstance(content, list):
        return content
    found = f"the keys {sorted(content)[:6]}" if isinstance(content, dict) else type(content)
    raise JsonFormatError(
        f"{source}: expected COCO results (a list of image_id, bbox, score) or faces.json of "
        f"srn-d2 detect, found {found}"
    )


def _coco_results(
    items: list, source: str, category: int | str | None, file_names: dict[str, str]
) -> Records:
    if not items:
        return Records({}, XYWH, "image_id", [], [])
    notes: list[str] = []
    wanted, notes = _category(items, source, category)
    rows: dict[Any, list[list[float]]] = {}
    malformed: list[PredictionIssue] = []
    has_names = all(
        isinstance(item, dict) and isinstance(item.get("file_name"), str) for item in items
    )
    for i, item in enumerate(items):
        problem, row = _row(item, "bbox")
        if not problem and not has_names:
            image_id = item.get("image_id")
            if not isinstance(image_id, (str, int, float)):
                problem = f"expected image_id, found {image_id!r}"[:100]
        if problem:
            malformed.append(PredictionIssue(source, f"[{i}]", problem))
        elif wanted is None or id_text(item.get("category_id")) == wanted:
            key = item["file_name"] if has_names else item["image_id"]
            rows.setdefault(file_names.get(str(key), key), []).append(row)
    if malformed and not rows:
        _raise_first(malformed, source)
    return Records(rows, XYWH, "file_name" if file_names else "image_id", malformed, notes)


def _face_lists(items: list, source: str) -> Records:
    rows: dict[Any, list[list[float]]] = {}
    malformed: list[PredictionIssue] = []
    failed = []
    key = "frame" if isinstance(items[0], dict) and "frame" in items[0] else "file_name"
    for i, item in enumerate(items):
        name = item.get(key) if isinstance(item, dict) else None
        if not isinstance(name, int if key == "frame" else (str, int, float)):
            problem = f"expected {key}, found {name!r}"[:100]
            malformed.append(PredictionIssue(source, f"[{i}]", problem))
            continue
        if not isinstance(item.get("faces"), list):
            failed.append(name)
            continue
        if name in rows:
            raise JsonFormatError(f"{source}, [{i}]: {name!r} is there twice")
        rows[name] = []
        for j, face in enumerate(item["faces"]):
            problem, row = _row(face, "bbox")
            if problem:
                malformed.append(PredictionIssue(source, f"[{i}].faces[{j}]", problem))
            else:
                rows[name].append(row)
    if malformed and not rows:
        _raise_first(malformed, source)
    notes = []
    if failed:
        notes.append(
            f"{len(failed)} images have an error in place of faces and count as without "
            f"detections: {examples(failed)}"
        )
    return Records(rows, XYXY, key, malformed, notes)


def _named_lists(items: dict[str, list], source: str) -> Records:
    rows: dict[Any, list[list[float]]] = {}
    malformed: list[PredictionIssue] = []
    for name, boxes in items.items():
        rows[name] = []
        for j, box in enumerate(boxes):
            numbers = box if isinstance(box, list) else []
            problem, row = _row({"bbox": numbers[:4], "score": (numbers + [None] * 5)[4]}, "bbox")
            if isinstance(box, dict):
                problem, row = _row(box, "bbox")
            if problem:
                malformed.append(PredictionIssue(source, f"[{name!r}][{j}]", problem))
            else:
                rows[name].append(row)
    if malformed and not any(rows.values()):
        _raise_first(malformed, source)
    return Records(rows, XYWH, "file_name", malformed, [])


def _row(item: Any, box_key: str) -> tuple[str, list[float]]:
    """(what is wrong, [four numbers and the score])."""
    if not isinstance(item, dict):
        return f"expected an object, found {item!r}"[:100], []
    box = item.get(box_key)
    score = next((item[key] for key in _SCORES if key in item), None)
    if not isinstance(box, list) or len(box) != 4:
        return f"expected {box_key} with four numbers, found {box!r}"[:100], []
    if score is None:
        return "there is no score: annotations, not predictions?", []
    try:
        return "", [float(value) for value in (*box, score)]
    except (TypeError, ValueError, OverflowError):
        return f"expected numbers, found {[*box, score]!r}"[:100], []


def _category(items: list, source: str, category: int | str | None) -> tuple[str | None, list[str]]:
    """The category_id of the faces as text, None: all are faces; and notes."""
    numbers = Counter(id_text(item.get("category_id")) for item in items if isinstance(item, dict))
    listed = ", ".join(f"{name} ({number})" for name, number in numbers.most_common(6))
    if category is None:
        if len(numbers) <= 1:
            return None, []
        raise JsonFormatError(
            f"{source}: the detections are of {len(numbers)} categories, category_id (detections): "
            f"{listed}; say which are faces: --result-category ID"
        )
    category = id_text(category)
    if category not in numbers:
        raise JsonFormatError(
            f"{source}: no detection has category_id {category}; there are {listed}"
        )
    others = sum(numbers.values()) - numbers[category]
    notes = [f"{others} detections of other categories are left out"] if others else []
    return category, notes


def _file_names(content: dict) -> dict[str, str]:
    """image id as text -> file name, from a file's own "images"."""
    images = content.get("images")
    if not isinstance(images, list):
        return {}
    return {
        str(image["id"]): image["file_name"]
        for image in images
        if isinstance(image, dict) and "id" in image and isinstance(image.get("file_name"), str)
    }


def _raise_first(malformed: list[PredictionIssue], source: str) -> None:
    first = malformed[0]
    raise JsonFormatError(
        f"{source}: none of {len(malformed)} records can be read, the first: {first.line}: "
        f"{first.message}"
    )
