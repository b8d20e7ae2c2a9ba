"""The prediction folder of each detector, written image by image, with resuming."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from srn_d2.evaluation.widerface.submission import NonFiniteDetectionsError, SubmissionWriter

from .environments import InstallationError
from .table import Detector
from .worker import ImageError, Worker, WorkerError, WorkerFactory

# Number of successive images at which the worker ends before a detector is given up.
MAX_DEATHS = 3

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """Result of running a detector on all images.

    Attributes:
        is_finished: every image was tried.
        problems: for the report.
    """

    is_finished: bool
    problems: tuple[str, ...]


def detection_settings(detector: Detector, source: Path) -> dict[str, Any]:
    """Collect all that detections depend on, for JSON: options, packages, content of files.

    Args:
        detector: entry of the table.
        source: the images' folder.
    """
    environment = detector.environment
    return {
        "detector": detector.name,
        "images": str(source),
        "options": dict(detector.options),
        "requirements": list(environment.requirements) if environment else [],
        "sha256": {path.name: _sha256(path) for path in (detector.worker, *detector.files)},
    }


def prediction_folder(output: Path, settings: Mapping[str, Any]) -> Path:
    """NAME-DIGITS: with other settings, such as new weights, it is another folder."""
    digits = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    return output / "predictions" / f"{settings['detector']}-{digits}"


def predict_all(
    detectors: Sequence[Detector],
    images: Mapping[str, Path],
    source: Path,
    output: Path,
    factory: WorkerFactory,
) -> dict[str, Outcome]:
    """Run :func:`predict` for several detectors; errors are logged, and the others still run."""
    outcomes = {}
    for detector in detectors:
        try:
            failures = predict(detector, images, source, output, factory)
        except (InstallationError, WorkerError) as error:
            logger.error("%s is not available: %s", detector.name, error)
            outcomes[detector.name] = Outcome(False, (f"not available: {error}",))
            continue
        for failure in failures:
            logger.error("%s failed: %s", detector.name, failure)
        text = f"{len(failures)} of {len(images)} images failed: {''.join(failures[:1])}"
        outcomes[detector.name] = Outcome(True, (text,) if failures else ())
    return outcomes


def predict(
    detector: Detector,
    images: Mapping[str, Path],
    source: Path,
    output: Path,
    factory: WorkerFactory,
) -> list[str]:
    """Write the missing prediction files of a detector.

    Args:
        detector: entry of the table.
        images: image id -> file.
        source: the images' folder.
        output: output folder of the comparison.
        factory: starts the worker, unless all files exist.

    Returns:
        errors of the images that failed; they have no file and are retried in the next run.

    Raises:
        InstallationError, WorkerError: the detector does not run here.
    """
    settings = detection_settings(detector, source)
    writer = SubmissionWriter(prediction_folder(output, settings), settings)
    pending = {key: path for key, path in images.items() if not writer.is_done(key)}
    num_done = len(images) - len(pending)
    logger.info("%s: %d of %d images to do", detector.name, len(pending), len(images))
    failures: list[str] = []
    num_deaths = 0
    worker: Worker | None = None
    with (
        contextlib.ExitStack() as stack,
        tqdm(initial=num_done, total=len(images), desc=detector.name, disable=None) as progress,
    ):
        for image_id, path in pending.items():
            worker = worker or stack.enter_context(factory.start(detector))
            try:
                found = worker.detect(path)
                writer.write(image_id, found.boxes, found.scores)
                num_deaths = 0
            except (ImageError, NonFiniteDetectionsError) as error:
                failures.append(f"{path}: {error}")
            except WorkerError as error:
                failures.append(f"{path}: the worker {error}")
                num_deaths += 1
                if num_deaths == MAX_DEATHS:
                    raise
                worker = None
            progress.update()
    return failures


def _sha256(path: Path) -> str:
    """The hash of a file, or of the names and contents of all Python files below a folder."""
    if path.is_dir():
        hashes = [[str(x.relative_to(path)), _sha256(x)] for x in sorted(path.rglob("*.py"))]
        return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
