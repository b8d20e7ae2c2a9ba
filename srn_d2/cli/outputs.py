"""The files of faces that ``srn-d2 detect`` writes, each record as it comes.

A record is a picture's entry in faces.json: {"file_name", "height", "width", "faces"}, and "frames"
of a picture with several; or {"file_name", "error"}.
"""

import csv
import io
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from srn_d2.atomic_file import atomic_path
from srn_d2.evaluation.widerface.prediction_files import format_predictions

from .journal import Result

FORMATS = ("json", "jsonl", "csv", "parquet", "wider")
WIDER_FOLDER = "wider"
CSV_COLUMNS = ("file_name", "x1", "y1", "x2", "y2", "score", "frame")
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


class RecordWriter(ABC):
    """A file or a folder of the faces of pictures, to which records are appended.

    Args:
        output: output folder.
    """

    name: str
    """Name of the file or folder below it."""

    def __init__(self, output: Path):
        self.output = output

    @property
    def path(self) -> Path:
        """The file, or the folder."""
        return self.output / self.name

    @abstractmethod
    def start(self, done: Iterable[Result]) -> None:
        """Write the results of a run that goes on, in place of what is there."""

    @abstractmethod
    def write(self, result: Result) -> None:
        """Append the record of a result, if it has one."""

    @abstractmethod
    def close(self) -> None:
        """Write what is not written yet."""


class TextWriter(RecordWriter):
    """A text file; every record is in it, whole, once it is appended."""

    def __init__(self, output: Path):
        super().__init__(output)
        self._file: TextIO | None = None

    def start(self, done: Iterable[Result]) -> None:
        with atomic_path(self.path) as draft:
            # It stays open under its name.
            self._file = open(draft, "w", newline="", **_ENCODING)  # noqa: SIM115
            self._file.write(self._head())
            for result in done:
                self._file.write(self._text(result))
            self._file.flush()

    def write(self, result: Result) -> None:
        assert self._file is not None
        self._file.write(self._text(result))
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _head(self) -> str:
        return ""

    @abstractmethod
    def _text(self, result: Result) -> str:
        """The lines of a result."""


class JsonLinesWriter(TextWriter):
    """faces.jsonl: a record a line."""

    name = "faces.jsonl"

    def _text(self, result: Result) -> str:
        return "" if result.record is None else json.dumps(result.record) + "\n"


class CsvWriter(TextWriter):
    """faces.csv: a line for each face, whose "frame" is 0 unless the picture has several."""

    name = "faces.csv"

    def _head(self) -> str:
        return _csv_lines([CSV_COLUMNS])

    def _text(self, result: Result) -> str:
        record = result.record or {}
        return _csv_lines(
            [record["file_name"], *face["bbox"], face["score"], face.get("frame", 0)]
            for face in record.get("faces", ())
        )


def _csv_lines(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


class WiderWriter(RecordWriter):
    """wider/NAME.txt for each picture, or its first frame, in WIDER FACE's prediction format."""

    name = WIDER_FOLDER

    def start(self, done: Iterable[Result]) -> None:
        for result in done:
            self._write(result, keep_same=True)

    def write(self, result: Result) -> None:
        self._write(result)

    def _write(self, result: Result, keep_same: bool = False) -> None:
        """Write the file of a result; not if it is to be kept and has the same content already."""
        if result.record is None or "faces" not in result.record:
            return
        rows = []
        for face in result.record["faces"]:
            if face.get("frame", 0):
                continue
            x1, y1, x2, y2 = face["bbox"]
            rows.append([x1, y1, round(x2 - x1, 2), round(y2 - y1, 2), face["score"]])
        path = self._file_of(result)
        content = format_predictions(result.stem, rows).encode(**_ENCODING)
        # An older run with other options may have left another one.
        if keep_same and path.is_file() and path.read_bytes() == content:
            return
        with atomic_path(path) as draft:
            draft.write_bytes(content)

    def close(self) -> None:
        pass

    def _file_of(self, result: Result) -> Path:
        return self.path / f"{result.stem}.txt"


class JsonWriter(RecordWriter):
    """faces.json: a list of the records, in the order of the inputs, written at the end.

    Records are not kept in memory: ``write_all`` gets them from the state of the run.
    """

    name = "faces.json"

    def start(self, done: Iterable[Result]) -> None:
        pass

    def write(self, result: Result) -> None:
        pass

    def close(self) -> None:
        pass

    def write_all(self, results: Iterable[Result]) -> None:
        """Write the list of the results' records; no file without any."""
        records = (result.record for result in results if result.record is not None)
        first = next(records, None)
        if first is None:
            return
        with atomic_path(self.path) as draft, open(draft, "w", encoding="utf-8") as file:
            file.write("[\n" + json.dumps(first))
            for record in records:
                file.write(",\n" + json.dumps(record))
            file.write("\n]\n")


@contextmanager
def record_writers(formats: Sequence[str], output: Path) -> Iterator[list[RecordWriter]]:
    """The writers of some formats, closed at the end.

    Raises:
        ImportError: a package is missing; the message says how to install it.
    """
    writers = [kind(output) for kind in _kinds(formats)]
    try:
        yield writers
    finally:
        for writer in writers:
            writer.close()


def written_paths(formats: Sequence[str], output: Path) -> list[Path]:
    """The files and folders of some formats."""
    return [output / kind.name for kind in _kinds(formats)]


def _kinds(formats: Sequence[str]) -> list[type[RecordWriter]]:
    from .parquet_output import ParquetWriter

    kinds: dict[str, type[RecordWriter]] = {
        "json": JsonWriter,
        "jsonl": JsonLinesWriter,
        "csv": CsvWriter,
        "parquet": ParquetWriter,
        "wider": WiderWriter,
    }
    return [kinds[name] for name in dict.fromkeys(formats)]
