"""Seconds an image of several detectors, which take turns image by image."""

import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.environment import describe
from srn_d2.atomic_file import atomic_path

from .environments import InstallationError
from .predictions import detection_settings
from .table import Detector
from .worker import ImageError, Worker, WorkerError, WorkerFactory

LATENCY_FILE = "latency.json"

logger = logging.getLogger(__name__)


def spread_out(images: Sequence[Path], number: int) -> list[Path]:
    """Choose ``number`` images (or all, if there are fewer), evenly spaced."""
    number = min(number, len(images))
    return [images[(2 * i + 1) * len(images) // (2 * number)] for i in range(number)]


def measure_latency(
    detectors: Sequence[Detector],
    images: Sequence[Path],
    factory: WorkerFactory,
    *,
    rounds: int,
) -> dict[str, Any]:
    """Time the detectors alternately: a disturbance affects neighbouring runs of all alike.

    All workers are started first; loading and the decoding of images are not timed. Each processes
    the first image once untimed, then each image ``rounds`` times.

    Args:
        detectors: detectors to time, with their ``latency_options``.
        images: sample of images.
        factory: starts the workers.
        rounds: number of rounds through the sample.

    Returns:
        the content of latency.json: the machine, and for each detector its settings and seconds,
        or its error.
    """
    result: dict[str, Any] = {
        "environment": {**describe(torch.device("cpu")), "threads": factory.threads},
        "images": len(images),
        "rounds": rounds,
        "detectors": {},
    }
    with contextlib.ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for detector in detectors:
            entry = {"settings": latency_settings(detector)}
            result["detectors"][detector.name] = entry
            try:
                worker = factory.start(detector, detector.latency_options or None)
            except (InstallationError, WorkerError) as error:
                entry["error"] = str(error)
            else:
                workers[detector.name] = stack.enter_context(worker)
                entry["load_seconds"] = worker.load_seconds
        seconds, errors = _time_alternately(workers, images, rounds)
        for name in workers:
            result["detectors"][name] |= {"seconds": seconds[name]}
            if name in errors:
                result["detectors"][name]["error"] = errors[name]
    return result


def latency_settings(detector: Detector) -> dict[str, Any]:
    """Collect all that seconds depend on but the images; others in a table make them invalid."""
    settings = detection_settings(detector, Path())
    del settings["images"]
    return {**settings, "options": dict(detector.latency_options or detector.options)}


def write_latency(result: Mapping[str, Any], output: Path) -> None:
    """Write latency.json, without detectors of earlier runs."""
    with atomic_path(output / LATENCY_FILE) as draft:
        draft.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def read_latency(output: Path) -> dict[str, Any] | None:
    """latency.json; None if there is none.

    Raises:
        ValueError: it is damaged.
    """
    path = output / LATENCY_FILE
    if not path.is_file():
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        result["environment"], result["detectors"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged, remove it: {error!r}") from error
    return result


def _time_alternately(
    workers: Mapping[str, Worker], images: Sequence[Path], rounds: int
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds of each run after the warm-up, and the first error of each detector that had one."""
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    errors: dict[str, str] = {}
    turns = [(False, images[0]), *((True, image) for _ in range(rounds) for image in images)]
    working = dict(workers)
    for counts, image in tqdm(turns, desc="taking turns", unit="image", disable=None):
        for name, worker in list(working.items()):
            try:
                found = worker.detect(image)
            except (ImageError, WorkerError) as error:
                errors.setdefault(name, f"{image}: {error}")
                if isinstance(error, WorkerError):
                    del working[name]
            else:
                if counts:
                    seconds[name].append(found.seconds)
    return seconds, errors
