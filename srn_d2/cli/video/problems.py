"""Damages of a video file, for messages."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple, SupportsFloat

MAX_LISTED = 5
# Frames are missing between two that are more durations of a frame apart (films of 24 frames a
# second in 60 fields have some of 1.5), if FFmpeg has marked one of the last packets.
MIN_GAP, NEAR_MARK = 1.75, 3


class Problem(NamedTuple):
    """A frame that cannot be decoded, or only in part, or damage of the container.

    Attributes:
        time: seconds since the start of the file.
        text: what FFmpeg says.
    """

    time: float
    text: str


class LostFrames:
    """Finds frames that are lost with packets of a broadcast stream.

    FFmpeg marks about the frame during which packets are lost. Where recordings are joined it marks
    one too, so a mark counts only if frames are missing after it.

    Args:
        problems: those found are appended.
        frame: duration of a frame, in seconds.
    """

    def __init__(self, problems: list[Problem], frame: Fraction):
        self._problems, self._frame = problems, frame
        self._since_mark = NEAR_MARK + 1  # packets
        self._last: Fraction | None = None
        self._num_joins = 0

    def add(self, time: Fraction | None, is_marked: bool, num_joins: int) -> None:
        """Add the next packet of the video.

        Args:
            time: its decoding time, in seconds since the start of the file.
            is_marked: whether FFmpeg has marked it.
            num_joins: number of joined parts so far.
        """
        if time is None:
            return
        self._since_mark = 0 if is_marked else self._since_mark + 1
        if self._last is not None and num_joins == self._num_joins:
            is_gap = time - self._last > MIN_GAP * self._frame
            if is_gap and self._since_mark <= NEAR_MARK:
                self._problems.append(Problem(float(self._last + self._frame), "packet corrupt"))
        self._last, self._num_joins = time, num_joins


def describe_problems(problems: Sequence[Problem]) -> str:
    """A sentence with the times of the first problems; "" without one."""
    if not problems:
        return ""
    times = [problem.time for problem in problems]
    noun = "frame is" if len({format_time(time) for time in times}) == 1 else "frames are"
    text = " ".join(problems[0].text.split())
    return f"the {noun} damaged at {list_times(times)} (FFmpeg: {text})"


def list_times(times: Iterable[SupportsFloat]) -> str:
    """The first of some times in seconds, and the number of the others."""
    return list_first(list(dict.fromkeys(format_time(float(time)) for time in times)))


def list_first(texts: Sequence[str]) -> str:
    """The first of some texts, and the number of the others."""
    more = f" and {len(texts) - MAX_LISTED} more" if len(texts) > MAX_LISTED else ""
    return ", ".join(texts[:MAX_LISTED]) + more


def format_time(seconds: float) -> str:
    """Hours, minutes and seconds, such as 0:01:02.345."""
    milliseconds = round(max(seconds, 0) * 1000)
    minutes, milliseconds = divmod(milliseconds, 60000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{milliseconds / 1000:06.3f}"
