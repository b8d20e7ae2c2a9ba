"""Names of files in messages."""

import os
from pathlib import Path


def printable(path: str | Path) -> str:
    """The path for a message; bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
