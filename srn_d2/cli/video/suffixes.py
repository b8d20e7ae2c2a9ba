"""Suffixes of video files, and names of the videos written. Needs no package."""

from pathlib import Path

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".f4v", ".mj2"),
    *(".avi", ".divx", ".mkv", ".webm", ".flv", ".wmv", ".asf", ".mxf", ".dv", ".nut"),
    *(".mpg", ".mpeg", ".mpe", ".m2v", ".vob", ".ogv", ".ogm"),
    *(".ts", ".mts", ".m2ts", ".m2t"),
)

# Containers that are kept with the codec; Matroska holds any.
KEPT_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm")


def name_in_own_container(name: Path) -> Path:
    """Name of the output for a video ``name`` that keeps its codec."""
    is_kept = name.suffix.lower() in KEPT_SUFFIXES
    return name if is_kept else name.with_name(f"{name.name}.mkv")
