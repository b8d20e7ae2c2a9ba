"""Names of the files that are written for a video."""

import os
from pathlib import Path

from ..printing import printable
from .errors import VideoError
from .options import VideoOptions

USUAL_LIMIT = 255
"""Bytes of a file's name in most file systems."""


def lines_path(video: Path) -> Path:
    """The file of faces of a video that is written as ``video``."""
    return video.with_name(f"{video.name}.jsonl")


def gaps_path(video: Path) -> Path:
    """The report of gaps of a video that is written as ``video``."""
    return video.with_name(f"{video.name}.gaps.json")


def check_name_lengths(source: str | Path, video: Path, options: VideoOptions) -> None:
    """Check that the file system takes the names of all files that are written for a video.

    Args:
        source: the video that is read, for the message.
        video: the video to write; its folder need not exist.
        options: what is written.

    Raises:
        VideoError: a name is too long.
    """
    paths = [lines_path(video)]
    if options.render is not None:
        paths.append(video)
    if options.hides:
        paths.append(gaps_path(video))
    longest = max(paths, key=lambda path: len(os.fsencode(path.name)))
    length, limit = len(os.fsencode(longest.name)), _limit(video.parent)
    if length > limit:
        raise VideoError(
            f"{printable(source)}: its output {printable(longest.name)} would have a name of "
            f"{length} bytes, and the file system takes {limit}: rename the video"
        )


def _limit(folder: Path) -> int:
    """Bytes of a name in a folder, or in the first one above it that exists."""
    folder = folder.absolute()
    existing = next((x for x in (folder, *folder.parents) if os.path.isdir(x)), folder)
    try:
        return os.pathconf(existing, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return USUAL_LIMIT
