"""The input files of ``srn-d2 detect`` and the names of their outputs."""

import glob
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from srn_d2.data.datasets.common import has_image_suffix

from .video.suffixes import VIDEO_SUFFIXES

# Pictures of other formats are written as JPEG.
WRITTEN_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


class Source(NamedTuple):
    """An input file.

    Attributes:
        path: path of the file.
        name: path of its picture or video below the output folder.
        stem: input path without suffix, below the common folder of all inputs.
    """

    path: Path
    name: Path
    stem: Path

    @property
    def is_video(self) -> bool:
        return self.path.suffix.lower() in VIDEO_SUFFIXES


def find_sources(patterns: Iterable[str], output: Path) -> list[Source]:
    """The files named by the command line, in its order, those of a folder sorted.

    Folders are searched recursively for files with a picture's or a video's suffix, except in
    ``output``. Names below ``output`` are relative to the deepest common folder of all files.

    Raises:
        FileNotFoundError: a pattern names nothing.
        ValueError: an output would overwrite an input, two inputs have one output, or a folder is
            the output folder or in it.
    """
    roots: list[Path] = []
    paths: dict[Path, None] = {}  # an ordered set
    for pattern in patterns:
        found = _expand(pattern, output.resolve())
        if not found:
            raise FileNotFoundError(f"{pattern}: no such file, and no picture or video in it")
        is_folder = os.path.isdir(pattern)
        roots += [_absolute(pattern)] if is_folder else [path.parent for path in found]
        paths.update(dict.fromkeys(found))
    base = os.path.commonpath(roots)
    relative = {path: path.relative_to(base) for path in paths}
    sources = [
        Source(path, _output_name(name), name.with_suffix("")) for path, name in relative.items()
    ]
    names = Counter(source.name for source in sources)
    doubled = [name for name, count in names.items() if count > 1]
    if doubled:
        raise ValueError(f"Two inputs would be written as {output / doubled[0]}: do one at a time")
    inputs = {path.resolve() for path in paths}
    for name in names:
        if (output / name).resolve() in inputs:
            raise ValueError(f"{output / name} would be overwritten: choose another --output")
    return sources


def _absolute(path: str) -> Path:
    """Absolute path without "..", which would lead out of the output folder."""
    absolute = Path(path).absolute()
    return absolute.resolve() if ".." in absolute.parts else absolute


def _expand(pattern: str, output: Path) -> list[Path]:
    """Absolute paths of the files of one argument; ``output`` has no symbolic links."""
    if os.path.isfile(pattern):
        return [_absolute(pattern)]
    if os.path.isdir(pattern):
        folder = _absolute(pattern)
        real_folder = folder.resolve()
        if output in (real_folder, *real_folder.parents):
            raise ValueError(f"{pattern} is the output folder or in it: choose another --output")
        return [
            path
            for path in sorted(folder.rglob("*"))  # follows no links
            if (has_image_suffix(path.name) or path.suffix.lower() in VIDEO_SUFFIXES)
            and output not in (real_folder / path.relative_to(folder)).parents
            and path.is_file()
            and not _is_typescript(path)
        ]
    names = sorted(glob.glob(pattern, recursive=True))
    return [_absolute(name) for name in names if os.path.isfile(name)]


def _is_typescript(path: Path) -> bool:
    """Tell a text file with the suffix of an MPEG transport stream (TypeScript) from a stream.

    A stream's first two packets of 188 bytes are tables with zeros in them.
    """
    if path.suffix.lower() != ".ts":
        return False
    try:
        with open(path, "rb") as file:
            start = file.read(2 * 188)
    except OSError:  # the error is reported when it is read as a video
        return False
    return bool(start) and b"\0" not in start


def _output_name(name: Path) -> Path:
    """``name``, with another suffix added where its format is not written here."""
    if name.suffix.lower() in VIDEO_SUFFIXES:
        return name if name.suffix == ".mp4" else name.with_name(f"{name.name}.mp4")
    return name if name.suffix.lower() in WRITTEN_SUFFIXES else name.with_name(f"{name.name}.jpg")
