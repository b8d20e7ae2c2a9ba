"""The images that the records of a JSON file are of: by name, by id, by a video's frame."""

import os
import re
from dataclasses import replace
from typing import Any, NamedTuple

from srn_d2.evaluation.widerface.prediction_files import PredictionIssue

from .columns import Columns
from .found import examples, notes_on_names
from .image_names import ImageId, ImageNames, NameMatches

_TRAILING_NUMBER = re.compile(r"(\d+)$")


class JsonFormatError(ValueError):
    """Error for a JSON file that has no predictions in a known form."""


class Records(NamedTuple):
    """Detections by what names their image: a file name, an id, or the number of a frame."""

    rows: dict[Any, list[list[float]]]
    columns: Columns
    key: str  # "file_name", "image_id" or "frame"
    malformed: list[PredictionIssue]
    notes: list[str]


def image_of_records(
    records: Records, images: ImageNames, source: str, first_frame: int | None
) -> tuple[dict[Any, ImageId], list[str]]:
    """Key of the records -> image id, and notes."""
    if records.key == "frame":
        return _images_of_frames(list(records.rows), images, source, first_frame)
    keys = list(records.rows)
    matches = NameMatches()
    if records.key == "image_id":
        by_id = {id_text(image_id): image_id for image_id in images.names}
        matches.images.update({k: by_id[id_text(k)] for k in keys if id_text(k) in by_id})
    notes: list[str] = []
    by_number = _images_by_number(images) if len(matches.images) < len(keys) else {}
    if records.key == "image_id" and by_number and all(id_text(k) in by_number for k in keys):
        # Ultralytics' image_id is the number that the file is named by.
        matches.images.update({key: by_number[id_text(key)] for key in keys})
        notes.append("image_id is taken as the number in the images' file names")
    elif len(matches.images) < len(keys):
        rest = [key for key in keys if key not in matches.images]
        by_name = images.match([key for key in rest if isinstance(key, str)])
        unknown = [key for key in rest if not isinstance(key, str)] + by_name.unknown
        matches = replace(by_name, images={**by_name.images, **matches.images}, unknown=unknown)
    if keys and not matches.images:
        raise JsonFormatError(
            f"{source}: none of its {len(keys)} images is annotated: {examples(keys)}; "
            f"annotated are {examples(list(images.names.items()), 2)} (id, name)"
        )
    return matches.images, [*notes, *notes_on_names(matches, images)]


def id_text(key: Any) -> str:
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
