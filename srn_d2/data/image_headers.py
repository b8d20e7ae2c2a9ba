"""Headers of picture formats whose first two bytes alone could begin any file. Needs no package."""

import re
import struct

_BMP_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)
_BMP_BITS = (1, 4, 8, 16, 24, 32)
_BMP_FILE_HEADER = 14  # bytes
_ICO_BITS = (0, 1, 4, 8, 16, 24, 32)
_ICO_HEADER, _ICO_ENTRY = 6, 16  # bytes
_MIN_ICON = 40  # bytes of the smallest header of an icon's picture
_BLANK = rb"(?:[ \t\r\n]|#[^\r\n]*[\r\n])"
_NUMBER = rb"[1-9][0-9]{0,8}"
_NEXT_NUMBER = _BLANK + rb"+" + _NUMBER
# After the first line come width, height and, unless each pixel is a bit, the highest value.
_PPM = re.compile(
    rb"(?:P[14]\r?\n%b*%b%b|P[2356]\r?\n%b*%b%b%b)[ \t\r\n]"
    % (*(_BLANK, _NUMBER, _NEXT_NUMBER), *(_BLANK, _NUMBER, _NEXT_NUMBER, _NEXT_NUMBER))
)
_PPM_DIGITS = re.compile(rb"(?:[0-9 \t\r\n]|#[^\r\n]*(?:[\r\n]|\Z))*")
_PPM_BINARY = b"456"


def recognise_header(prefix: bytes) -> str | None:
    """Pillow's name of the format of a file's first bytes: BMP, ICO or PPM; None: none of them.

    Args:
        prefix: the first bytes, 64 or more; of PPM files with long comments more are needed.
    """
    checks = (("BMP", _is_bmp), ("ICO", _is_ico), ("PPM", _is_ppm))
    return next((name for name, check in checks if check(prefix)), None)


def _is_bmp(prefix: bytes) -> bool:
    """Whether the sizes in the header fit each other."""
    if not prefix.startswith(b"BM") or len(prefix) < 30:
        return False
    start, size = struct.unpack_from("<II", prefix, 10)
    if size not in _BMP_HEADER_SIZES or start < _BMP_FILE_HEADER + size:
        return False
    width, height, planes, bits = struct.unpack_from("<HHHH" if size == 12 else "<iiHH", prefix, 18)
    return width > 0 and height != 0 and planes == 1 and bits in _BMP_BITS


def _is_ico(prefix: bytes) -> bool:
    """Whether it is the header of icons whose first entry has possible sizes."""
    if not prefix.startswith(b"\0\0\1\0") or len(prefix) < _ICO_HEADER + _ICO_ENTRY:
        return False
    [number] = struct.unpack_from("<H", prefix, 4)
    reserved, planes, bits, size, start = struct.unpack_from("<xxxBHHII", prefix, _ICO_HEADER)
    is_entry = reserved == 0 and planes in (0, 1) and bits in _ICO_BITS
    return (
        is_entry and number > 0 and size >= _MIN_ICON and start >= _ICO_HEADER + number * _ICO_ENTRY
    )


def _is_ppm(prefix: bytes) -> bool:
    """Whether it is a header of PBM, PGM or PPM; in those of text only numbers may follow."""
    match = _PPM.match(prefix)
    if match is None:
        return False
    return prefix[1] in _PPM_BINARY or bool(_PPM_DIGITS.fullmatch(prefix, match.end()))
