"""Predictions from a folder or a file, whichever form they have."""

import os
from pathlib import Path

from .columns import Columns
from .csv_files import read_csv
from .folders import SUFFIX, UnreadablePredictionsError, read_folder, require_rows
from .found import FoundRows, Predictions, to_predictions
from .image_names import ImageNames
from .json_files import read_json

# What commands write into a folder of results, read where the folder has no text files.
_RESULT_FILES = ("faces.json", "faces.csv", "coco_instances_results.json", "predictions.json")


def read_source(
    path: str | os.PathLike,
    images: ImageNames,
    *,
    columns: Columns | None = None,
    category: int | str | None = None,
    first_frame: int | None = None,
    strict: bool = False,
) -> Predictions:
    """Read the predictions of ``images``.

    Args:
        path: folder of text files, .json, .jsonl or .csv.
        images: the images of the ground truth.
        columns: of the numbers; None: those that the source names or its numbers tell.
        category, first_frame: see :func:`.read_json`.
        strict: see :func:`.read_predictions`.

    Raises:
        FileNotFoundError: ``path`` is not there.
        ValueError: nothing can be read, or the numbers are no boxes with scores.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"No predictions: {path} is not there")
    if path.is_dir():
        found = _read_folder(path, images, strict)
    elif path.suffix.lower() in (".json", ".jsonl"):
        found = read_json(path, images, category=category, first_frame=first_frame)
    elif path.suffix.lower() in (".csv", ".tsv"):
        found = read_csv(path, images)
    elif path.suffix.lower() == ".zip":
        raise UnreadablePredictionsError(f"{path} is a ZIP: unpack it and give the folder")
    else:
        raise UnreadablePredictionsError(
            f"{path}: predictions are a folder of {SUFFIX} files (one an image), .json, .jsonl or "
            ".csv"
        )
    return to_predictions(found, images, columns, strict=strict)


def _read_folder(path: Path, images: ImageNames, strict: bool) -> FoundRows:
    found = read_folder(path, images, strict=strict)
    files = [path / name for name in _RESULT_FILES if (path / name).is_file()]
    if found.rows or found.malformed or not files or strict:
        require_rows(found, images)
        return found
    if files[0].suffix == ".csv":
        return read_csv(files[0], images)
    return read_json(files[0], images)
