"""faces.parquet of ``srn-d2 detect``: a folder of Parquet files, a row for each picture.

A Parquet file is readable only once it is complete, so records are written in parts, each a file.
pandas, pyarrow, DuckDB and others read the folder as one table.
"""

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from srn_d2.atomic_file import atomic_path

from .journal import Result
from .outputs import RecordWriter
from .printing import printable

ROWS_PER_PART = 5000
SECONDS_PER_PART = 60.0


def import_pyarrow() -> Any:
    """Import pyarrow and its module parquet.

    Raises:
        ImportError: it is not installed; the message says how to install it.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "--format parquet needs pyarrow: pip install 'srn_d2[parquet]'"
        ) from error
    return pyarrow


class ParquetWriter(RecordWriter):
    """A part is written every ``ROWS_PER_PART`` pictures or ``SECONDS_PER_PART``.

    Columns: file_name, height, width, faces (a list of x1, y1, x2, y2, score, frame), error, frames
    (of a picture with several a list of height, width and, of an animation, time and duration in
    seconds) and notes (a map of kinds to texts). Bytes of file names that are not UTF-8 are
    escaped.
    """

    name = "faces.parquet"

    def __init__(self, output: Path):
        super().__init__(output)
        self._pyarrow = import_pyarrow()
        self._schema = _schema(self._pyarrow)
        self._rows: list[dict] = []
        self._num_parts = 0
        self._is_started = False
        self._last_time = time.monotonic()

    def start(self, done: Iterable[Result]) -> None:
        if self.path.is_dir():
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True)
        self._is_started = True
        for result in done:
            self.write(result)

    def write(self, result: Result) -> None:
        if result.record is None:
            return
        self._rows.append(_row(result.record))
        is_late = time.monotonic() - self._last_time > SECONDS_PER_PART
        if len(self._rows) >= ROWS_PER_PART or is_late:
            self._write_part()

    def close(self) -> None:
        if self._rows or (self._is_started and not self._num_parts):
            self._write_part()

    def _write_part(self) -> None:
        table = self._pyarrow.Table.from_pylist(self._rows, schema=self._schema)
        self.path.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.path / f"part-{self._num_parts:06d}.parquet") as draft:
            self._pyarrow.parquet.write_table(table, draft)
        self._rows.clear()
        self._num_parts += 1
        self._last_time = time.monotonic()


def _schema(pyarrow: Any) -> Any:
    number = pyarrow.float32()
    face = [(name, number) for name in ("x1", "y1", "x2", "y2", "score")]
    frame = [(name, pyarrow.int32()) for name in ("height", "width")]
    frame += [(name, pyarrow.float64()) for name in ("time", "duration")]
    return pyarrow.schema(
        [
            ("file_name", pyarrow.string()),
            ("height", pyarrow.int32()),
            ("width", pyarrow.int32()),
            ("faces", pyarrow.list_(pyarrow.struct([*face, ("frame", pyarrow.int32())]))),
            ("error", pyarrow.string()),
            ("frames", pyarrow.list_(pyarrow.struct(frame))),
            ("notes", pyarrow.map_(pyarrow.string(), pyarrow.string())),
        ]
    )


def _row(record: dict) -> dict:
    faces = [
        {
            **dict(zip(("x1", "y1", "x2", "y2"), face["bbox"], strict=True)),
            "score": face["score"],
            "frame": face.get("frame", 0),
        }
        for face in record.get("faces", ())
    ]
    row = {key: record.get(key) for key in ("height", "width", "error", "frames")}
    notes = list(record["notes"].items()) if "notes" in record else None
    name = printable(Path(record["file_name"]))
    return {**row, "file_name": name, "faces": faces, "notes": notes}
