"""Damages of a video file, for messages."""

from collections.abc import Sequence
from typing import NamedTuple

MAX_LISTED = 5


class Problem(NamedTuple):
    """A frame that cannot be decoded, or only in part, or damage of the container.

    Attributes:
        time: seconds since the start of the file.
        text: what FFmpeg says.
    """

    time: float
    text: str


def describe_problems(problems: Sequence[Problem]) -> str:
    """A sentence with the times of the first problems; "" without one."""
    if not problems:
        return ""
    times = list(dict.fromkeys(format_time(problem.time) for problem in problems))
    listed = ", ".join(times[:MAX_LISTED])
    more = f" and {len(times) - MAX_LISTED} more" if len(times) > MAX_LISTED else ""
    noun = "frame is" if len(times) == 1 else "frames are"
    text = " ".join(problems[0].text.split())
    return f"the {noun} damaged at {listed}{more} (FFmpeg: {text})"


def format_time(seconds: float) -> str:
    """Hours, minutes and seconds, such as 0:01:02.345."""
    milliseconds = round(max(seconds, 0) * 1000)
    minutes, milliseconds = divmod(milliseconds, 60000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{milliseconds / 1000:06.3f}"
