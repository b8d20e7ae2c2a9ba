"""What processing of a video gives."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .tracking import Gap


@dataclass
class VideoResult:
    """Files and figures of a processed video.

    Attributes:
        video: the video written; None without one.
        lines: the file of faces, a JSON object a line.
        gaps_file: the report of gaps; None if there are none.
        num_frames: number of frames.
        num_faces: number of faces in all frames.
        gaps: gaps of tracks, if faces are hidden.
        notes: changes that a user should know of.
        problems: what of the source cannot be read, a sentence; "" if all could.
    """

    video: Path | None
    lines: Path
    gaps_file: Path | None = None
    num_frames: int = 0
    num_faces: int = 0
    gaps: "list[Gap]" = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: str = ""
