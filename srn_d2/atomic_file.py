"""Atomic writing of files."""

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STEM_LENGTH = 40
"""Maximum number of characters of a file's name in its draft's name."""
_RANDOM_BYTES = 8
_DRAFT = re.compile(
    rf"\..{{0,{STEM_LENGTH}}}\.[0-9a-f]{{{2 * _RANDOM_BYTES}}}\.partial(\.[^.]*)?", re.DOTALL
)


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Context with a temporary path, whose file is renamed to ``path`` at its end.

    The folder is created. If the context ends with an exception the temporary file is removed, and
    an existing ``path`` is kept. The suffix is that of ``path``, for writers that depend on it. No
    two contexts have the same temporary path, in whatever threads, processes or machines.

    Raises:
        IsADirectoryError: ``path`` is a folder; the context is not entered.
        OSError: the folder cannot be created, or the file not be renamed.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    stem = path.stem[:STEM_LENGTH]  # stays within the file system's limit
    draft = path.with_name(f".{stem}.{secrets.token_hex(_RANDOM_BYTES)}.partial{path.suffix}")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def remove_drafts(folder: str | os.PathLike) -> None:
    """Remove drafts that killed processes left behind in ``folder`` and below it.

    Only for a folder that no other process writes to: its drafts would be removed as well. Files of
    other programs, such as unfinished transfers, have other names and stay.
    """
    for draft in Path(folder).rglob(".*.*.partial*"):
        if _DRAFT.fullmatch(draft.name) and draft.is_file():
            draft.unlink()
