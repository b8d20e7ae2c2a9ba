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
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from srn_d2.evaluation.widerface.prediction_files import PredictionIssue

from .columns import XYWH, XYXY, Columns
from .found import FoundRows, examples
from .image_names import ImageId, ImageNames

_LISTS = ("annotations", "predictions", "detections", "results")
_SCORES = ("score", "confidence", "conf")
_NAMES = ("file_name", "filename", "image", "path")
_TRAILING_NUMBER = re.compile(r"(\d+)$")


class JsonFormatError(ValueError):
    """Error for a JSON file that has no predictions in a known form."""


class _Records(NamedTuple):
    """Detections by what names their image: a file name, an id, or the number of a frame."""

    rows: dict[Any, list[list[float]]]
    columns: Columns
    key: str  # "file_name", "image_id" or "frame"
    malformed: list[PredictionIssue]
    notes: list[str]


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
    keys, notes = _image_of(records, images, source, first_frame)
    rows = {
        image_id: np.array(records.rows[key], dtype=np.float64).reshape(-1, 5)
        for key, image_id in keys.items()
    }
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
) -> _Records:
    if not items:
        return _Records({}, XYWH, "image_id", [], [])
    notes: list[str] = []
    wanted, notes = _category(items, source, category)
    rows: dict[Any, list[list[float]]] = {}
    malformed: list[PredictionIssue] = []
    has_names = all(
        isinstance(item, dict) and isinstance(item.get("file_name"), str) for item in items
    )
    for i, item in enumerate(items):
        problem, row = _row(item, "bbox")
        if not problem and "image_id" not in item and not has_names:
            problem = "there is no image_id"
        if problem:
            malformed.append(PredictionIssue(source, f"[{i}]", problem))
        elif wanted is None or _id_text(item.get("category_id")) == wanted:
            key = item["file_name"] if has_names else item["image_id"]
            rows.setdefault(file_names.get(str(key), key), []).append(row)
    if malformed and not rows:
        _raise_first(malformed, source)
    return _Records(rows, XYWH, "file_name" if file_names else "image_id", malformed, notes)


def _face_lists(items: list, source: str) -> _Records:
    rows: dict[Any, list[list[float]]] = {}
    malformed: list[PredictionIssue] = []
    failed = []
    key = "frame" if isinstance(items[0], dict) and "frame" in items[0] else "file_name"
    for i, item in enumerate(items):
        name = item.get(key) if isinstance(item, dict) else None
        if name is None:
            problem = f"there is no {key}"
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
    return _Records(rows, XYXY, key, malformed, notes)


def _named_lists(items: dict[str, list], source: str) -> _Records:
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
    return _Records(rows, XYWH, "file_name", malformed, [])


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
    numbers = Counter(_id_text(item.get("category_id")) for item in items if isinstance(item, dict))
    listed = ", ".join(f"{name} ({number})" for name, number in numbers.most_common(6))
    if category is None:
        if len(numbers) <= 1:
            return None, []
        raise JsonFormatError(
            f"{source}: the detections are of {len(numbers)} categories, category_id (detections): "
            f"{listed}; say which are faces: --result-category ID"
        )
    category = _id_text(category)
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


# --- their images -------------------------------------------------------------------------------


def _image_of(
    records: _Records, images: ImageNames, source: str, first_frame: int | None
) -> tuple[dict[Any, ImageId], list[str]]:
    """Key of the records -> image id, and notes."""
    if records.key == "frame":
        return _images_of_frames(list(records.rows), images, source, first_frame)
    keys = list(records.rows)
    found = {}
    if records.key == "image_id":
        by_id = {_id_text(image_id): image_id for image_id in images.names}
        found = {key: by_id[_id_text(key)] for key in keys if _id_text(key) in by_id}
    notes: list[str] = []
    if len(found) < len(keys):
        names = images.match([key for key in keys if isinstance(key, str)])
        by_number = _images_by_number(images)
        if records.key == "image_id" and all(_id_text(key) in by_number for key in keys):
            # Ultralytics' image_id is the number that the file is named by.
            found = {key: by_number[_id_text(key)] for key in keys}
            notes.append("image_id is taken as the number in the images' file names")
        else:
            found = {**names.images, **found}
            if names.ambiguous:
                notes.append(
                    f"{len(names.ambiguous)} names may be of several images, or several of one; "
                    f"their detections are left out: {examples(names.ambiguous)}"
                )
    unknown = [key for key in keys if key not in found]
    if unknown and not found:
        raise JsonFormatError(
            f"{source}: none of its {len(keys)} images is annotated: {examples(unknown)}; "
            f"annotated are {examples(list(images.names.items()), 2)} (id, name)"
        )
    if unknown:
        notes.append(
            f"{len(unknown)} images are not annotated; their detections are left out: "
            f"{examples(unknown)}"
        )
    return found, notes


def _id_text(key: Any) -> str:
    """1, 1.0, "1" and "001" are one id."""
    if isinstance(key, float) and key.is_integer():
        key = int(key)
    text = str(key)
    return str(int(text)) if text.isascii() and text.isdigit() else text


def _images_by_number(images: ImageNames) -> dict[str, ImageId]:
    """Number as text -> the image whose file name is this number; {} unless all are different."""
    numbers = {}
    for image_id, name in images.names.items():
        stem = os.path.splitext(os.path.basename(name))[0]
        if stem.isascii() and stem.isdigit():
            numbers[str(int(stem))] = image_id
    return numbers if len(numbers) == len(images.names) else {}


def _images_of_frames(
    frames: list[int], images: ImageNames, source: str, first_frame: int | None
) -> tuple[dict[Any, ImageId], list[str]]:
    """Frame -> the image whose name ends in the frame's number, from the video's first frame on."""
    numbers: dict[int, ImageId] = {}
    for image_id, name in images.names.items():
        match = _TRAILING_NUMBER.search(os.path.splitext(name)[0])
        if match is None or int(match[1]) in numbers:
            problem = (
                "ends in no number" if match is None else "ends in a number that is there twice"
            )
            raise JsonFormatError(
                f"{source} has the frames of a video, and the annotated image {name} {problem}: "
                "name the images by their frames, such as clip_000012.jpg"
            )
        numbers[int(match[1])] = image_id
    if first_frame is None:
        if 0 not in numbers and max(numbers) != len(frames):
            raise JsonFormatError(
                f"{source}: its frames count from 0, and the annotated images "
                f"({min(numbers)} to {max(numbers)}) do not tell from where they count: give "
                "--first-frame 0 or --first-frame 1"
            )
        first_frame = 0 if 0 in numbers else 1
    found = {f: numbers[f + first_frame] for f in frames if f + first_frame in numbers}
    if not found:
        raise JsonFormatError(f"{source}: no frame has the number of an annotated image")
    others = len(frames) - len(found)
    return found, [f"{others} of {len(frames)} frames are not annotated"] if others else []
