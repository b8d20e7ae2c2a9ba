"""A detector's process, from the tool's side; the protocol is in workers/worker_loop.py."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from worker_process import THREAD_VARIABLES, end_process

from .environments import ensure_environment
from .table import Detector

TIMEOUT = 900.0
"""Timeout of a worker's response in seconds."""

_WORKERS = Path(__file__).parent / "workers"
_PACKAGE_ROOT = Path(__file__).parents[2]


class Detections(NamedTuple):
    """Detections of a detector in an image.

    Attributes:
        boxes: (n, 4) XYXY, pixels.
        scores: (n,).
        seconds: duration of the detection, without decoding.
    """

    boxes: np.ndarray
    scores: np.ndarray
    seconds: float


class ImageError(RuntimeError):
    """Error for one image, after which the worker continues; the message gives the reason."""


class WorkerError(RuntimeError):
    """Error for a worker that ended, timed out or broke the protocol; with its last output."""


class Worker:
    """A running worker. Ends with its context."""

    def __init__(
        self,
        detector: Detector,
        python: Path,
        log: Path,
        *,
        threads: int,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Start it, and wait until its detector is loaded.

        Args:
            detector: entry of the table.
            python: of its environment.
            log: what it writes to stderr; overwritten.
            threads: that the detector may use.
            options: None: the detector's.

        Raises:
            WorkerError: it does not start.
        """
        self.detector = detector
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        arguments = {**(detector.options if options is None else options), "threads": threads}
        try:
            with open(log, "wb") as errors:
                self._process = subprocess.Popen(
                    [python, detector.worker, json.dumps(arguments)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=_environment_variables(detector, threads),
                )
        except OSError as error:
            raise WorkerError(f"cannot be started: {error}") from error
        try:
            self.load_seconds = float(self._receive("ready")["ready"])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def detect(self, image: Path) -> Detections:
        """The faces in an image file.

        Raises:
            ImageError: this image cannot be done.
            WorkerError: the worker is of no more use.
        """
        try:
            self._process.stdin.write(json.dumps({"image": str(image)}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._ended() from error
        answer = self._receive("seconds", "error")
        if "error" in answer:
            raise ImageError(answer["error"])
        try:
            boxes = np.asarray(answer["boxes"], dtype=np.float64).reshape(-1, 4)
            scores = np.asarray(answer["scores"], dtype=np.float64).reshape(len(boxes))
            return Detections(boxes, scores, float(answer["seconds"]))
        except (KeyError, TypeError, ValueError) as error:
            raise WorkerError(f"answers boxes or scores of a wrong shape: {error!r}") from error

    def close(self) -> None:
        """End the process."""
        end_process(self._process)

    def _receive(self, *keys: str) -> dict[str, Any]:
        """The next message, which has one of these keys."""
        # A worker writes a line when it is asked, so none is in the buffer behind select's back.
        if not select.select([self._process.stdout], [], [], TIMEOUT)[0]:
            raise WorkerError(f"no answer in {TIMEOUT:g} seconds")
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict) or not message.keys() & set(keys):
            raise WorkerError(f"answers {line[:80]!r} instead of {' or '.join(keys)}")
        return message

    def _ended(self) -> WorkerError:
        status = self._process.wait()
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        return WorkerError(f"ended with status {status}{last} (all in {self._log})")


class WorkerFactory:
    """Starts workers in their environments, with their logs and a number of threads."""

    def __init__(self, output: Path, threads: int) -> None:
        self._environments = output / "envs"
        self._logs = output / "logs"
        self.threads = threads

    def start(self, detector: Detector, options: Mapping[str, Any] | None = None) -> Worker:
        """A worker, its environment made where it is not there.

        Raises:
            InstallationError: the environment cannot be made.
            WorkerError: the worker does not start.
        """
        python = Path(sys.executable)
        if detector.environment is not None:
            python = ensure_environment(detector.environment, self._environments)
        log = self._logs / f"{detector.name}.log"
        return Worker(detector, python, log, threads=self.threads, options=options)


def _environment_variables(detector: Detector, threads: int) -> dict[str, str]:
    # worker_loop for scripts that are elsewhere; srn_d2 only where its packages are as well.
    folders = [_WORKERS] if detector.environment else [_WORKERS, _PACKAGE_ROOT]
    variables = dict.fromkeys(THREAD_VARIABLES, str(threads))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), **variables}
