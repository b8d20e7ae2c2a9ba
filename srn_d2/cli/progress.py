"""Progress of a long job, and what became of its inputs."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from .journal import DAMAGED_VIDEO, Result
from .printing import counted, printable, without_path

logger = logging.getLogger(__name__)

SECONDS_PER_LINE = 60.0
"""Time between two lines of progress where stderr is no terminal."""


@dataclass
class Summary:
    """What became of the inputs.

    Attributes:
        num_pictures: pictures that are done.
        num_videos: videos that are done.
        num_faces: faces in the pictures.
        failures: kind -> number of inputs.
    """

    num_pictures: int = 0
    num_videos: int = 0
    num_faces: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def num_failed(self) -> int:
        return self.failures.total()

    def add(self, result: Result) -> None:
        """Count a result."""
        if result.problem is not None:
            self.failures[result.problem] += 1
        elif result.record is None:
            self.num_videos += 1
        else:
            self.num_pictures += 1
        self.num_faces += len((result.record or {}).get("faces", ()))

    @classmethod
    def of_all(cls, summaries: Sequence["Summary"]) -> "Summary":
        """The sum of several ones."""
        return cls(
            sum(x.num_pictures for x in summaries),
            sum(x.num_videos for x in summaries),
            sum(x.num_faces for x in summaries),
            sum((x.failures for x in summaries), Counter()),
        )

    def log(self, written: str) -> None:
        """Log it.

        Args:
            written: the files of faces.
        """
        if written and (self.num_pictures or self.num_faces):
            faces = counted(self.num_faces, "face")
            logger.info("%s in %s: %s", faces, counted(self.num_pictures, "file"), written)
        if self.failures:
            kinds = ", ".join(f"{number} {kind}" for kind, number in self.failures.most_common())
            total = self.num_pictures + self.num_videos + self.num_failed
            logger.error("%d of %d inputs failed: %s", self.num_failed, total, kinds)


class Progress:
    """A bar with rate and remaining time or, where stderr is no terminal, a line each minute.

    Args:
        total: number of inputs, or of frames, of which it may be an estimate; None: unknown.
        num_done: number of those that are done already.
        is_shown: False: nothing is shown.
        unit: what is counted, "file" or "frame".
        name: name of the video whose frames are counted; "": none.
    """

    def __init__(
        self,
        total: int | None,
        num_done: int = 0,
        is_shown: bool = True,
        unit: str = "file",
        name: str = "",
    ):
        disable = None if is_shown else True  # None: unless stderr is a terminal
        self._bar = tqdm(
            total=total, initial=num_done, desc=name or None, unit=unit, disable=disable
        )
        self._is_shown = is_shown
        self._prefix = f"{name}: " if name else ""
        self._noun = "inputs" if unit == "file" else f"{unit}s"
        self._total, self._num_before, self._num_done = total, num_done, num_done
        self._start = self._last_line = time.monotonic()

    def update(self) -> None:
        """Count an input or a frame."""
        self._num_done += 1
        self._bar.update()
        now = time.monotonic()
        if self._is_shown and self._bar.disable and now - self._last_line > SECONDS_PER_LINE:
            self._last_line = now
            logger.info("%s", self.line(now - self._start))

    def line(self, seconds: float) -> str:
        """What is done after this time, in words."""
        rate = (self._num_done - self._num_before) / max(seconds, 1e-9)
        if self._total is None or self._total < self._num_done:
            return f"{self._prefix}{self._num_done} {self._noun}, {_per_time(rate)}"
        left = (self._total - self._num_done) / max(rate, 1e-9)
        return (
            f"{self._prefix}{self._num_done} of {self._total} {self._noun}, {_per_time(rate)}, "
            f"{tqdm.format_interval(left)} left"
        )

    def close(self) -> None:
        self._bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _per_time(rate: float) -> str:
    """A number of inputs or frames a second, in words."""
    for seconds, unit in ((1, "second"), (60, "minute")):
        if rate * seconds >= 1:
            return f"{rate * seconds:.1f} a {unit}"
    return f"{rate * 3600:.1f} an hour"


class Reporter:
    """Logs errors of inputs, and of notes on pictures each kind once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def report(self, result: Result) -> None:
        """Log the error and the notes of a result."""
        record = result.record or {}
        for kind, text in record.get("notes", {}).items():
            if kind not in self._said:
                self._said.add(kind)
                logger.info("%s: %s (said once)", printable(result.path), text)
        if result.problem is not None:
            text = without_path(record.get("error", ""), result.path)
            kind = (
                "is damaged, what it has is done" if result.problem == DAMAGED_VIDEO else "failed"
            )
            logger.error("%s %s: %s", printable(result.path), kind, text)
