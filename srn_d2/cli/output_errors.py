"""Errors of the output folder, at which a job stops."""

import errno
from pathlib import Path

# At these nothing else can be written either.
_FOLDER_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


class OutputFolderError(RuntimeError):
    """Nothing more can be written: the disk is full, or the folder is not writable."""


def raise_if_of_folder(error: OSError, folder: Path) -> None:
    """Raise an OutputFolderError for an error that the next file would have as well."""
    if error.errno in _FOLDER_ERRORS:
        raise OutputFolderError(
            f"Nothing more can be written to {folder}: {error.strerror}; stopped, what is done is "
            "kept"
        ) from error
