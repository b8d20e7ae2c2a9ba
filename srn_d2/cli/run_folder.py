"""The state of a run of ``srn-d2 detect`` in its output folder, so that it goes on after a stop.

``OUTPUT/.srn_d2_detect/`` has settings.json, what was asked for, and records-RANK.jsonl, the
results of each worker (see :mod:`.journal`). A run that has ended without a failure removes it. One
with failures leaves it with the file "ended": the same command tries these again, one with other
inputs starts anew.
"""

import fcntl
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from srn_d2.atomic_file import remove_drafts
from srn_d2.run_settings import read_settings, require_same_settings, write_settings

from .journal import Journal, Result, read_journal, read_result
from .sources import Source

FOLDER = ".srn_d2_detect"
INPUTS = "inputs"
"""The setting that has the arguments of the command."""
logger = logging.getLogger(__name__)


class _Entry(NamedTuple):
    """Place of a result, its time, and whether it still holds: see ``RunFolder.done``."""

    path: Path
    position: int
    time: float
    is_done: bool


class OutputInUseError(RuntimeError):
    """Another run writes to the output folder."""


class RunFolder:
    """The state of a run.

    Args:
        output: output folder.
        rank: number of this worker among those that write results.
    """

    def __init__(self, output: Path, rank: int = 0):
        self.output = output
        self.folder = output / FOLDER
        self.rank = rank
        self._lock: IO[str] | None = None

    def open(self, settings: Mapping[str, Any], restart: bool = False) -> None:
        """Start a run or go on with one; by one worker, before any reads or writes.

        Drafts that a killed run left in the output folder are removed.

        Args:
            settings: JSON values that the results depend on.
            restart: start anew even if there is a run that could go on.

        Raises:
            OtherSettingsError: the run in the folder has other settings, and has not ended or has
                the same inputs.
            OutputInUseError: another run is at work in the folder.
            OSError: the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._acquire()
        if self._settings.exists() and not restart:
            restart = self._has_other_inputs(settings)
            if not restart:
                self._require_same(settings)
        if restart:
            self._remove_results()
        if restart or not self._settings.exists():
            write_settings(self._settings, settings)
        self._ended.unlink(missing_ok=True)
        remove_drafts(self.output)

    def _has_other_inputs(self, settings: Mapping[str, Any]) -> bool:
        """Whether the run in the folder has ended and is of other inputs, which is logged."""
        if not self._ended.exists():
            return False
        if read_settings(self._settings).get(INPUTS) == settings.get(INPUTS):
            return False
        logger.info(
            "The last run in %s, which had failures, was of other inputs: this one starts anew",
            self.output,
        )
        return True

    def _require_same(self, settings: Mapping[str, Any]) -> None:
        has_ended = self._ended.exists()
        purpose = " to try its failures again" if has_ended else ""
        require_same_settings(
            self._settings,
            settings,
            f"The {'run with failures' if has_ended else 'unfinished run'} in {self.output}",
            f"give the same options{purpose}, another --output, or --restart to start anew, with "
            "all inputs",
        )

    def journal(self) -> Journal:
        """The results of this worker, to append to."""
        return Journal(self._records(self.rank))

    def done(self, sources: Sequence[Source]) -> set[int]:
        """Indices of the sources that are done already, have not changed since, and whose picture
        or video is still there if it was written."""
        return {index for index, entry in self._last(sources).items() if entry.is_done}

    def results(self, sources: Sequence[Source], keep: set[int] | None = None) -> Iterator[Result]:
        """The last result of each source that has one, in the order of the sources.

        Args:
            keep: indices of sources; None: all.
        """
        for index, entry in sorted(self._last(sources).items()):
            if keep is None or index in keep:
                yield read_result(entry.path, entry.position)

    def _last(self, sources: Sequence[Source]) -> dict[int, "_Entry"]:
        """The last result of each source."""
        index_of = {str(source.path): index for index, source in enumerate(sources)}
        last: dict[int, _Entry] = {}
        for path in sorted(self.folder.glob("records-*.jsonl")):
            for position, result in read_journal(path):
                index = index_of.get(result.path)
                if index is None or (index in last and last[index].time > result.time):
                    continue
                is_done = (
                    result.problem is None
                    and result.is_of(sources[index])
                    and result.is_there(self.output)
                )
                last[index] = _Entry(path, position, result.time, is_done)
        return last

    def check_workers(self, number: int) -> None:
        """Raise an OSError unless the results of all workers are in this folder."""
        for rank in range(number):
            if not self._records(rank).exists():
                raise FileNotFoundError(
                    f"The results of worker {rank} are not in {self.folder}: --output must be a "
                    "folder that all machines share"
                )

    def end(self, has_failures: bool) -> None:
        """End the run: remove its state, or mark it as ended if some inputs failed.

        Drafts of workers that were killed are removed. No worker writes any more.
        """
        remove_drafts(self.output)
        if has_failures:
            self._ended.touch()
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def clean(self) -> None:
        """Remove the drafts of terminated processes, if this run holds the folder."""
        if self._lock is not None:
            remove_drafts(self.output)

    def close(self) -> None:
        """Let other runs use the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _records(self, rank: int) -> Path:
        return self.folder / f"records-{rank:04d}.jsonl"

    @property
    def _settings(self) -> Path:
        return self.folder / "settings.json"

    @property
    def _ended(self) -> Path:
        return self.folder / "ended"

    def _acquire(self) -> None:
        self._lock = open(self.folder / "lock", "w")  # noqa: SIM115 -- closed by close
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise OutputInUseError(
                f"Another srn-d2 detect is writing to {self.output}: wait for it, or choose "
                "another --output"
            ) from error
        except OSError:  # a file system without locks
            logger.debug("%s has no locks", self.folder)

    def _remove_results(self) -> None:
        for path in self.folder.glob("records-*.jsonl"):
            path.unlink()
