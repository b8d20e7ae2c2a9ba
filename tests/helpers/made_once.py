"""Files that all processes of a test run share."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first of pytest-xdist's processes makes, and the others wait for.

    Args:
        factory: the fixture ``tmp_path_factory``.
        name: of the folder.
        make: writes the files into the folder that it gets.
    """
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / name
    with open(root / f"{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            draft = factory.mktemp(name)
            make(draft)
            draft.rename(folder)
    return folder
