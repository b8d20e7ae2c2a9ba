"""The results of a run, appended to a file as they come; a killed run is read up to its last one.

A line is a JSON object, complete if it ends with a line break. A line cut off by a kill or by a
full disk is no result: its input is done again.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .sources import Source

DAMAGED_VIDEO = "damaged video, done as far as it can be read"
"""Kind of the failure of a video that is written all the same, with what it has."""


@dataclass(frozen=True)
class Result:
    """What became of an input.

    Attributes:
        path: path of the input file.
        name: path of its picture or video below the output folder.
        stem: its name in --format wider.
        version: size in bytes and time of change in ns of the input file, before it was read.
        record: its entry in faces.json; None for a video that is done, which has its own file.
        problem: kind of its failure in a few words; None if it is done.
        written: paths below the output folder of its picture or of its video's files.
        time: seconds since 1970, by which the last of several results is known.
    """

    path: str
    name: str
    stem: str
    version: tuple[int, int]
    record: dict[str, Any] | None
    problem: str | None = None
    written: tuple[str, ...] = ()
    time: float = field(default_factory=time.time)

    @classmethod
    def of(
        cls,
        source: Source,
        record: dict[str, Any] | None,
        problem: str | None = None,
        written: Sequence[Path] = (),
        version: tuple[int, int] | None = None,
    ) -> "Result":
        """The result of an input file; without a version, of the file as it is now."""
        version = file_version(source.path) if version is None else version
        return cls(*_names(source), version, record, problem, tuple(map(str, written)))

    def is_of(self, source: Source) -> bool:
        """Whether it is of this input as it is now, under these names."""
        is_same = (self.path, self.name, self.stem) == _names(source)
        return is_same and tuple(self.version) == file_version(source.path)

    def is_there(self, output: Path) -> bool:
        """Whether all that was written for it is still in the output folder."""
        return all((output / name).exists() for name in self.written)


def _names(source: Source) -> tuple[str, str, str]:
    """The path, name and stem of a source, as a result has them."""
    return str(source.path), str(source.name), source.stem.as_posix()


def file_version(path: Path) -> tuple[int, int]:
    """Size in bytes and time of change in ns of a file; zeros if it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


class Journal:
    """The file, opened to append; a line that was cut off is removed.

    Args:
        path: the file; its folder exists.
    """

    def __init__(self, path: Path):
        self.path = path
        # Unbuffered: a buffer would write the rest of a line that failed later on.
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 -- closed by close
        self._cut_end()

    def append(self, result: Result) -> None:
        """Append a result; it is in the file, whole, when this returns.

        Raises:
            OSError: it cannot be written, as on a full disk.
        """
        rest = f"{json.dumps(asdict(result))}\n".encode()
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._cut_end()
            raise

    def close(self) -> None:
        self._file.close()

    def _cut_end(self) -> None:
        """Remove what follows the last line break."""
        with open(self.path, "rb") as file:
            end = 0
            for line in file:
                end += len(line) if line.endswith(b"\n") else 0
        os.truncate(self.path, end)


def read_journal(path: Path) -> Iterator[tuple[int, Result]]:
    """The results of a file with the position of each in it, in their order.

    Raises:
        ValueError: a line is no result; the message names file and line.
    """
    position = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            yield position, _parse(line, path, number)
            position += len(line)


def read_result(path: Path, position: int) -> Result:
    """The result at a position from ``read_journal``."""
    with open(path, "rb") as file:
        file.seek(position)
        return _parse(file.readline(), path, None)


def _parse(line: bytes, path: Path, number: int | None) -> Result:
    try:
        return Result(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path}, line {number}: no result of srn-d2 detect ({error}): give --restart to start "
            "anew"
        ) from error
