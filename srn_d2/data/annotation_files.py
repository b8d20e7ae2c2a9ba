"""Text and MATLAB files of annotations: reading, and the error of a damaged one.

Needs neither torch nor detectron2, unlike :mod:`srn_d2.data.datasets`.
"""

import codecs
import os
import struct
import zlib
from typing import Any, TextIO

import numpy as np

README_HINT = "datasets/README.md shows the layout expected under $DETECTRON2_DATASETS"
# Of all readers, and of the folders that ``srn-d2 detect`` searches.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff"),
    *(".avif", ".gif", ".jp2", ".pbm", ".pgm", ".pnm", ".ppm"),
)

# What scipy's reader raises besides its own error for files that are no MATLAB files, or damaged.
DAMAGED_MAT_ERRORS = (
    *(EOFError, IndexError, KeyError, MemoryError, OverflowError, TypeError, ValueError),
    *(struct.error, zlib.error),
)
MAX_SHOWN = 60  # characters of a line that a message shows


class AnnotationFormatError(ValueError):
    """A damaged annotation file.

    Attributes:
        source: the file.
        where: the line, as "line 12", or the key in a JSON file, as "annotations[3].bbox".
    """

    def __init__(self, source: str | os.PathLike, where: str, problem: str) -> None:
        super().__init__(f"{source}, {where}: {problem}")
        self.source = str(source)
        self.where = where


def open_annotation_text(path: str | os.PathLike) -> TextIO:
    """An annotation file, opened for reading: UTF-8, or UTF-16 or UTF-32 by its first bytes.

    A byte order mark is passed over; line ends are ``\\n``. Bytes that are not UTF-8 become
    surrogates, as in ``os.fsdecode``, so that any file name survives; a binary file then fails in
    the parser with its line.

    Raises:
        FileNotFoundError: with the exact path expected.
    """
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"The annotation file {path} is not there; {README_HINT}.")
    with open(path, "rb") as binary:
        encoding = _encoding_of(binary.read(4))
    errors = "surrogateescape" if encoding == "utf-8-sig" else "replace"
    return open(path, encoding=encoding, errors=errors)


def read_annotation_text(path: str | os.PathLike) -> str:
    """The text of an annotation file, as :func:`open_annotation_text` decodes it.

    Raises:
        FileNotFoundError: with the exact path expected.
    """
    with open_annotation_text(path) as file:
        return file.read()


def _encoding_of(start: bytes) -> str:
    """The encoding of a text by its first four bytes."""
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # Without a mark: the zeros of ASCII characters.
    is_zero = [byte == 0 for byte in start]
    if is_zero == [False, True, False, True]:
        return "utf-16-le"
    return "utf-16-be" if is_zero == [True, False, True, False] else "utf-8-sig"


def shown(text: str) -> str:
    """A line as a message shows it: quoted, its beginning if it is long."""
    return repr(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}...")


def without_image_suffix(name: str) -> str:
    """The name of an image without .jpg and the like."""
    return os.path.splitext(name)[0] if has_image_suffix(name) else name


def has_image_suffix(name: str) -> bool:
    """True if ``name`` has the suffix of an image file."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def load_mat(path: str | os.PathLike, variable: str) -> np.ndarray:
    """One variable of a MATLAB file up to version 7.

    Raises:
        FileNotFoundError: the file is not there.
        NotImplementedError: it is of version 7.3, which is another format (HDF5).
        AnnotationFormatError: it is no MATLAB file, or has no such variable.
    """
    # An optional dependency, only needed for these files.
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not os.path.isfile(path):
        raise FileNotFoundError(f"The annotation file {path} is not there; {README_HINT}.")
    try:
        content = loadmat(path)
    except (MatReadError, OSError, *DAMAGED_MAT_ERRORS) as error:
        raise AnnotationFormatError(path, "header", f"not a MATLAB file ({error})") from error
    if variable not in content:
        found = sorted(name for name in content if not name.startswith("__"))
        raise AnnotationFormatError(path, variable, f"there is no such variable, only {found}")
    return content[variable]


def matlab_string(value: Any, path: str | os.PathLike, where: str) -> str:
    """The text of a char array, as scipy reads it."""
    value = np.asarray(value)
    while value.dtype == object and value.size == 1:
        value = np.asarray(value.item())
    if value.size != 1 or value.dtype.kind != "U" or not value.item().strip():
        raise AnnotationFormatError(path, where, f"expected an image name, found {value.tolist()}")
    return value.item().strip()
