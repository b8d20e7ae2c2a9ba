"""The first bytes of videos, whatever the file's name. Needs no package."""

NUM_BYTES = 400
"""Number of a file's first bytes that tell whether it is a video."""

_SOUND_SUFFIXES = (".aac", ".m4a", ".m4b", ".mka", ".oga", ".ogg", ".opus", ".wma")
_STARTS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),  # ASF: WMV
    bytes.fromhex("060e2b34020501010d010201"),  # MXF
    *(b"\0\0\1\xba", b"\0\0\1\xb3"),  # MPEG program and video streams
    *(b"FLV\1", b".RMF", b"nut/multimedia container\0", b"DHAV", b"DKIF", b"YUV4MPEG2 "),
)
# First boxes of MP4 and QuickTime files; others are small and could be the start of a text.
_BOXES, _SMALL_BOXES = (b"ftyp", b"moov", b"mdat"), (b"wide", b"free", b"skip", b"pnot")
# A packet of an MPEG transport stream begins with its mark; in .m2ts files four bytes are before.
_MARK = ord("G")
_PACKETS = ((0, 188, 376), (4, 196, 388))


def is_video(prefix: bytes, suffix: str) -> bool:
    """Return whether a file's first bytes are those of a common container of videos.

    Args:
        prefix: the first ``NUM_BYTES`` bytes.
        suffix: of the file's name, in lower case: the same containers are used for sound.
    """
    if prefix.startswith(b"OggS"):
        return b"theora" in prefix or b"OVP80" in prefix
    if suffix in _SOUND_SUFFIXES:
        return False
    box = prefix[4:8]
    return (
        prefix.startswith(_STARTS)
        or (prefix.startswith(b"RIFF") and prefix[8:12] == b"AVI ")
        or box in _BOXES
        or (box in _SMALL_BOXES and prefix.startswith(b"\0\0"))
        or any(
            len(prefix) > places[-1] and all(prefix[place] == _MARK for place in places)
            for places in _PACKETS
        )
    )
