"""Suffixes of video files, and names of the videos written. Needs no package."""

from pathlib import Path

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".mj2"),
    *(".avi", ".divx", ".mkv", ".mk3d", ".webm", ".flv", ".wmv", ".asf", ".mxf", ".dv", ".nut"),
    *(".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".vob", ".ogv", ".ogm"),
    *(".ts", ".mts", ".m2ts", ".m2t", ".mjpg", ".mjpeg"),
)

# Containers that are kept with the codec.
KEPT_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
# Those that are written, with the names of FFmpeg's writers. No other of them holds WMV, Huffyuv or
# the like.
MUXERS = {
    **{".mp4": "mp4", ".m4v": "ipod", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"},
    **{".wmv": "asf", ".asf": "asf", ".avi": "avi", ".flv": "flv"},
}


def name_in_own_container(name: Path) -> Path:
    """Name of the output for a video ``name`` that keeps its codec: Matroska holds most."""
    return names_in_containers(name)[0]


def names_in_containers(name: Path) -> list[Path]:
    """Names of the output for a video ``name`` that keeps its codec, the best container first."""
    suffix = name.suffix.lower()
    names = [name.with_name(f"{name.name}{other}") for other in (".mkv", ".avi", ".mov")]
    if suffix in KEPT_SUFFIXES:
        return [name, *names]
    return [names[0], name, *names[1:]] if suffix in MUXERS else names
