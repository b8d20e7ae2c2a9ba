"""Damages of a video file, for messages."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, SupportsFloat

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
