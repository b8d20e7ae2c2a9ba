"""Search of folders for pictures and videos; what is left out is named, with the reason."""

import importlib.util
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from srn_d2.data.image_errors import UnreadFormatError
from srn_d2.data.image_formats import (
    HEIF_SUFFIXES,
    UNREAD_SUFFIXES,
    first_bytes,
    has_picture_suffix,
    is_heif,
    recognise,
)

from .junk import junk_reason
from .video.signatures import NUM_BYTES, is_video
from .video.suffixes import VIDEO_SUFFIXES

_UNREAD_VIDEO_SUFFIXES = {
    *(".264", ".265", ".amv", ".av1", ".bik", ".braw", ".dv", ".dvr-ms", ".h264", ".h265"),
    *(".hevc", ".insv", ".ivf", ".lrv", ".mod", ".nut", ".ogm", ".r3d", ".rm", ".rmvb", ".swf"),
    *(".tod", ".wtv", ".y4m"),
} - set(VIDEO_SUFFIXES)

UNREADABLE_FOLDER = "folder that cannot be read"
DEAD_LINK = "link that leads nowhere"
WRONG_SUFFIX = "video without a video's suffix"
OUTPUT_FOLDER = "the output folder: what is in it is no input"


class Found(NamedTuple):
    """A file, or a folder that was left out.

    Attributes:
        path: its path.
        problem: why it is not done, although it may be a picture or a video; None: it is done.
        is_junk: it is left out with reason, for ``problem``.
        kind: kind of the problem in a few words, for the summary.
    """

    path: Path
    problem: str | None = None
    is_junk: bool = False
    kind: str = UnreadFormatError.reason


class FolderSearch:
    """The pictures and videos below folders; linked folders are followed once.

    Args:
        folders: absolute paths.
        output: folder that is passed over.

    Attributes:
        found: for each folder the files below it and what is left out, sorted by path.
        suffixes_seen: number of files of each suffix that are neither pictures nor videos.
    """

    def __init__(self, folders: Sequence[Path], output: Path):
        self.suffixes_seen: Counter[str] = Counter()
        self._output = _identity(output)
        self._done: set[tuple[int, int] | None] = set()
        links: dict[Path, list[str]] = {folder: [] for folder in folders}
        found = {folder: list(self._walk(str(folder), links[folder])) for folder in folders}
        for folder in folders:  # after all that is there itself
            found[folder] += self._follow(folder, links[folder])
        self.found = {folder: sorted(items) for folder, items in found.items()}

    def _follow(self, folder: Path, links: list[str]) -> Iterator[Found]:
        """Classify all below linked folders, and below those linked from there."""
        loops = {_identity(parent) for parent in folder.resolve().parents}
        while links:
            link = links.pop(0)
            identity = _identity(link)
            if identity in loops:
                yield Found(Path(link), "a link to a folder that this one is in", True)
            elif identity in self._done:
                yield Found(Path(link), "a link to a folder that is done", True)
            elif identity == self._output:
                yield Found(Path(link), OUTPUT_FOLDER, True)
            else:
                yield from self._walk(link, links)

    def _walk(self, root: str, links: list[str]) -> Iterator[Found]:
        """Classify all below a folder; links to folders are put in ``links``."""
        folders = [root]
        while folders:
            folder = folders.pop()
            self._done.add(_identity(folder))
            try:
                with os.scandir(folder) as scan:
                    entries = sorted(scan, key=lambda entry: entry.name)
            except OSError as error:
                problem = f"the folder cannot be read: {(error.strerror or str(error)).lower()}"
                yield Found(Path(folder), problem, kind=UNREADABLE_FOLDER)
                continue
            for entry in entries:
                is_folder = entry.is_dir()
                if is_folder and (reason := junk_reason(entry.name, True)):
                    yield Found(Path(entry.path), reason, True)
                elif is_folder and entry.is_symlink():
                    links.append(entry.path)
                elif is_folder and _identity(entry.path) == self._output:
                    yield Found(Path(entry.path), OUTPUT_FOLDER, True)
                elif is_folder:
                    folders.append(entry.path)
                else:
                    yield from self._classify(entry)

    def _classify(self, entry: os.DirEntry) -> Iterator[Found]:
        if not entry.is_file():  # a link that leads nowhere, or no file with content
            if entry.is_symlink() and _looks_right(Path(entry.path)):
                yield Found(Path(entry.path), "a link that leads nowhere", kind=DEAD_LINK)
        elif reason := junk_reason(entry.name, False):
            yield Found(Path(entry.path), reason, True)
        elif (found := classify(Path(entry.path))) is not None:
            yield found
        else:
            self.suffixes_seen[Path(entry.name).suffix.lower() or "no suffix"] += 1


def classify(path: Path) -> Found | None:
    """Tell whether a file is a picture or a video, by its suffix and first bytes; None: neither."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return None if _is_typescript(path) else Found(path)
    if suffix in HEIF_SUFFIXES and is_heif(first_bytes(path)) and not _reads_heif():
        return Found(path, "HEIC needs pillow-heif: pip install 'srn_d2[heif]'")
    if has_picture_suffix(path):
        return Found(path)
    if suffix in _UNREAD_VIDEO_SUFFIXES:
        return Found(path, "a video of a format that is not read: convert it, to MP4 for instance")
    kind = UNREAD_SUFFIXES.get(suffix)
    prefix = first_bytes(path, NUM_BYTES)
    content = recognise(prefix)
    if kind is not None and content in (None, "TIFF"):
        return Found(path, f"{kind}, which is not read: convert it, to PNG for instance")
    if content is not None:
        return Found(path)
    if is_video(prefix, suffix):
        return Found(path, "it seems to be a video: give it a video's suffix", kind=WRONG_SUFFIX)
    return None


def _looks_right(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix in VIDEO_SUFFIXES or suffix in UNREAD_SUFFIXES or has_picture_suffix(path)


def _reads_heif() -> bool:
    return importlib.util.find_spec("pillow_heif") is not None


def _identity(path: str | os.PathLike) -> tuple[int, int] | None:
    """Device and number of a folder, the same for all links to it; None if it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_typescript(path: Path) -> bool:
    """Tell a text file with the suffix of an MPEG transport stream (TypeScript) from a stream.

    A stream's first two packets of 188 bytes are tables with zeros in them.
    """
    if path.suffix.lower() != ".ts":
        return False
    start = first_bytes(path, 2 * 188)
    return bool(start) and b"\0" not in start
