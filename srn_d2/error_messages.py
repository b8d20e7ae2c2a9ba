"""Error messages for the command line."""

import os
import re

USER_ERRORS = (OSError, ValueError, KeyError, RuntimeError, ImportError, AssertionError)
"""Errors of a wrong config or flag, of data or weights that are missing or damaged, or of a machine
that lacks something: the commands print their messages without a traceback."""

_IN_DATA_WORKER = re.compile(r"Caught (\w+) in DataLoader worker process \d+\.\s")


def printable(path: str | bytes | os.PathLike) -> str:
    """The path for a message; bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def message_of(error: BaseException) -> str:
    """An error's message for the command line.

    str() of a KeyError quotes it, line breaks too; that of an OSError has its number; torch puts
    the traceback of a data worker before the message. An error without a message gives its type's
    name.
    """
    if isinstance(error, OSError) and error.strerror and isinstance(error.filename, (str, bytes)):
        return f"{printable(error.filename)}: {error.strerror.lower()}"
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    if match := _IN_DATA_WORKER.match(text):
        # The last line that begins with the type; what follows is the message.
        parts = re.split(rf"^[\w.]*\b{match.group(1)}: ", text, flags=re.MULTILINE)
        text = parts[-1]
    return text.strip() or type(error).__name__
