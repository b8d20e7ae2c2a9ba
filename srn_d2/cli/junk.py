"""Names that a search of folders passes over."""

import fnmatch
from collections.abc import Iterable

JUNK_FILES = ("._*", ".trashed-*", ".pending-*", ".*.partial.*")
"""Patterns of files of the system, a trash, or an unfinished transfer; lower case."""
JUNK_FOLDERS = (
    *(".thumbnails", ".thumbs", ".thumb", "@eadir", ".@__thumb", ".appledouble", "__macosx"),
    *(".trash", ".trash-*", ".trashes", "$recycle.bin", "recycler", "#recycle", "@recycle"),
)
"""Patterns of folders of thumbnails and trash; lower case."""


def junk_reason(name: str, is_folder: bool) -> str | None:
    """Why a file or folder of this name, without its path, is passed over; None: it is not."""
    if is_folder:
        return "a folder of thumbnails or trash" if matches(name, JUNK_FOLDERS) else None
    if matches(name, JUNK_FILES):
        return "a file of the system, a trash or a transfer"
    return None


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name fits one of the patterns, in any case of letters."""
    return any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in patterns)
