"""The files of faces that ``srn-d2 detect`` writes."""

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path

from srn_d2.atomic_file import atomic_path
from srn_d2.evaluation.widerface.prediction_files import format_predictions

from .sources import Source

WIDER_FOLDER = "wider"
# File names that are not UTF-8 are written as their original bytes.
_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}


def check_writable(folder: Path) -> None:
    """Raise an OSError if ``folder`` cannot be created or is not writable."""
    folder = folder.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        raise NotADirectoryError(f"{existing} is no folder: choose another --output")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(f"Nothing can be written to {existing}: choose another --output")


def check_wider_names(sources: Sequence[Source]) -> None:
    """Raise a ValueError if two pictures would have one WIDER FACE text file."""
    stems = [source.stem for source in sources if not source.is_video and not source.problem]
    doubled = sorted({str(stem) for stem in stems if stems.count(stem) > 1})
    if doubled:
        raise ValueError(f"Two pictures are named {doubled[0]}, which --format wider tells by name")


def write_faces(records: Sequence[tuple[Source, dict]], output: Path, file_format: str) -> Path:
    """Write the faces of all pictures in one format.

    Args:
        records: each picture and its entry in faces.json: its faces or its error.
        output: output folder.
        file_format: "json": faces.json; "csv": faces.csv, a line for each face, whose "frame" is 0
            unless the picture has several; "wider": wider/<name>.txt for each processed picture, or
            its first frame, in WIDER FACE's prediction format.

    Returns:
        the file, or the folder of text files.
    """
    if file_format == "wider":
        return _write_wider(records, output / WIDER_FOLDER)
    path = output / f"faces.{file_format}"
    with atomic_path(path) as draft, open(draft, "w", newline="", **_ENCODING) as file:
        if file_format == "json":
            file.write("[\n" + ",\n".join(json.dumps(record) for _, record in records) + "\n]\n")
        else:
            writer = csv.writer(file)
            writer.writerow(["file_name", "x1", "y1", "x2", "y2", "score", "frame"])
            for _, record in records:
                for face in record.get("faces", ()):
                    place = [record["file_name"], *face["bbox"]]
                    writer.writerow([*place, face["score"], face.get("frame", 0)])
    return path


def _write_wider(records: Sequence[tuple[Source, dict]], folder: Path) -> Path:
    for source, record in records:
        if "faces" not in record:
            continue
        rows = []
        for face in record["faces"]:
            if face.get("frame", 0):
                continue
            x1, y1, x2, y2 = face["bbox"]
            rows.append([x1, y1, round(x2 - x1, 2), round(y2 - y1, 2), face["score"]])
        with atomic_path(folder / f"{source.stem}.txt") as draft:
            draft.write_text(format_predictions(source.stem.as_posix(), rows), **_ENCODING)
    return folder
