"""Options of a video, as the command line gives them."""

from dataclasses import dataclass
from typing import Literal

from ..anonymize import MARGIN

FILL_GAPS = 10
"""Longest gap of a track, in frames, in which a face is hidden nevertheless."""


@dataclass(frozen=True)
class VideoOptions:
    """What is written of a video.

    Attributes:
        render: "draw": a video with boxes; "blur", "pixelate": a video with hidden faces; None: no
            video.
        max_frames: maximum number of frames; None: all.
        margin: hidden margin around a box, as a fraction of its sides.
        hide_neighbours: number of frames before and after, in which a box is hidden too.
        fill_gaps: longest gap of a track, in frames, in which its interpolated box is hidden.
        keep_sound: whether the video written has the sound.
        keep_metadata: whether it has the metadata: title, time, place, camera.
        codec: "h264", "av1" or "vp9"; None: H.264, or AV1 for more than 8 bits.
        copy_codec: whether it has the codec of the source instead.
        crf: constant rate factor, the smaller the better; None: the codec's default.
        batch_size: number of frames that the detector gets at a time.
    """

    render: Literal["draw", "blur", "pixelate"] | None = "draw"
    max_frames: int | None = None
    margin: float = MARGIN
    hide_neighbours: int = 0
    fill_gaps: int = FILL_GAPS
    keep_sound: bool = True
    keep_metadata: bool = False
    codec: Literal["h264", "av1", "vp9"] | None = None
    copy_codec: bool = False
    crf: int | None = None
    batch_size: int = 1

    @property
    def hides(self) -> bool:
        """Whether faces are hidden."""
        return self.render in ("blur", "pixelate")
