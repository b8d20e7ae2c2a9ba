"""Formats of image files: which are read, by suffix and by first bytes. Needs Pillow alone."""

import functools
import os
from pathlib import Path

from PIL import Image

from .image_headers import recognise_header

# Pillow's names of formats that are not pixels in a file: EPS and WMF are drawn by other programs,
# of the others Pillow knows the header only.
_UNREAD_BY_PILLOW = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}
# Suffixes that other programs use as well: a file counts if its first bytes fit.
_AMBIGUOUS_SUFFIXES = {".bw", ".fit", ".rgb"}
HEIF_SUFFIXES = (".heic", ".heics", ".heif", ".heifs", ".hif")

_RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef"),
    *(".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2"),
    *(".srf", ".srw", ".x3f"),
)
UNREAD_SUFFIXES = {
    **dict.fromkeys(_RAW_SUFFIXES, "a camera's raw format"),
    **dict.fromkeys((".eps", ".wmf", ".emf", ".svg", ".svgz", ".ai", ".cdr"), "a drawing"),
    **dict.fromkeys((".jxl",), "JPEG XL"),
    **dict.fromkeys((".jxr", ".hdp", ".wdp"), "JPEG XR"),
    **dict.fromkeys((".exr", ".hdr", ".rgbe"), "a high dynamic range format"),
    **dict.fromkeys((".xcf", ".kra", ".psb", ".pspimage", ".afphoto"), "an editor's format"),
    **dict.fromkeys((".dcm", ".djvu", ".djv", ".bpg", ".flif", ".pict", ".pct"), "another format"),
}
"""Suffixes of picture formats that are not read -> what they are."""

_JPEG_XL_STARTS = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
# Formats that are recognised by their first bytes alone, whatever the file's name.
_RECOGNISED = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "JPEG2000", "PSD", "QOI")
HEADER_BYTES = 64
"""Number of a file's first bytes that tell its format."""


class MissingHeifError(ImportError):
    """pillow-heif, which reads HEIC, is not installed; the message says how to install it."""


@functools.cache
def read_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read, the common ones first; HEIC is not among them.

    See ``register_heif`` for that.
    """
    Image.init()
    others = (name for name in Image.ID if name not in (*_RECOGNISED, *_UNREAD_BY_PILLOW, "HEIF"))
    return tuple(name for name in (*_RECOGNISED, *others) if name in Image.OPEN)


@functools.cache
def picture_suffixes() -> frozenset[str]:
    """Suffixes of the formats that are read, HEIC's whether or not pillow-heif is installed."""
    formats = set(read_formats())
    suffixes = {suffix for suffix, name in Image.registered_extensions().items() if name in formats}
    return frozenset(suffixes | {".mpo", ".pnm", *HEIF_SUFFIXES} - UNREAD_SUFFIXES.keys())


def has_picture_suffix(path: Path) -> bool:
    """Return whether a file's suffix is that of a format that is read.

    Of suffixes with several meanings, such as .fit, the file's first bytes decide.
    """
    suffix = path.suffix.lower()
    if suffix not in picture_suffixes():
        return False
    if suffix not in _AMBIGUOUS_SUFFIXES:
        return True
    accept = Image.OPEN[Image.registered_extensions()[suffix]][1]
    return accept is None or bool(accept(first_bytes(path)[:16]))


def recognise(prefix: bytes) -> str | None:
    """Pillow's name of the common picture format of a file's first bytes; None: none of them."""
    if is_heif(prefix):
        return "HEIF"
    formats = (name for name in read_formats() if name in _RECOGNISED)
    found = next((name for name in formats if Image.OPEN[name][1](prefix[:16])), None)
    return found or recognise_header(prefix)


def is_heif(prefix: bytes) -> bool:
    """Return whether a file's first bytes are those of HEIC or HEIF, not AVIF."""
    box = prefix[: int.from_bytes(prefix[:4], "big")]
    return box[4:8] == b"ftyp" and box[8:12] in _HEIF_BRANDS and b"avif" not in box


def unread_format(name: str, prefix: bytes) -> str | None:
    """What a file is that looks like a picture but is not read, as in UNREAD_SUFFIXES.

    A camera's raw file is often a TIFF, of which Pillow would read the thumbnail.

    Args:
        name: name of the file, for its suffix.
        prefix: its first bytes.

    Returns:
        None if it may be one that is read.
    """
    if prefix.startswith(_JPEG_XL_STARTS):
        return "JPEG XL"
    kind = UNREAD_SUFFIXES.get(os.path.splitext(name)[1].lower())
    return kind if kind is not None and recognise(prefix) in (None, "TIFF") else None


@functools.cache
def register_heif() -> None:
    """Let Pillow read HEIC.

    Raises:
        MissingHeifError: pillow-heif is not installed.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingHeifError("HEIC needs pillow-heif: pip install 'srn_d2[heif]'") from error
    pillow_heif.register_heif_opener()


def first_bytes(path: Path, number: int = HEADER_BYTES) -> bytes:
    """The first bytes of a file; none if it cannot be read, which is reported when it is opened."""
    try:
        with open(path, "rb") as file:
            return file.read(number)
    except OSError:
        return b""
