"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """A path to write to, whose file becomes ``path`` at the end of the context.

    The folder is made. If the context ends with an exception the file is removed, and what was at
    ``path`` before stays. The suffix is that of ``path``, for writers that choose by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
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
