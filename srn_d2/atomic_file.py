"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STEM_LENGTH = 40
"""Characters of a file's name that its draft's name has."""


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """A path to write to, whose file becomes ``path`` at the end of the context.

    The folder is made. If the context ends with an exception the file is removed, and what was at
    ``path`` before stays. The suffix is that of ``path``, for writers that choose by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    stem = path.stem[:STEM_LENGTH]  # a name as long as the file system takes gets no longer
    draft = path.with_name(f".{stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def remove_drafts(folder: str | os.PathLike) -> None:
    """Remove what killed processes left of :func:`atomic_path` in ``folder`` and below it.

    Only for a folder that no other process writes to: its drafts would go as well.
    """
    for draft in Path(folder).rglob(".*.*.partial*"):
        draft.unlink()
