"""The prediction folder of each detector: written image by image, gone on with after a stop."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from srn_d2.evaluation.wider_face_submission import NonFiniteDetectionsError, SubmissionWriter

from .table import Detector
from .worker import ImageError, Worker, WorkerError, Workshop

# A detector whose worker ends at so many images in succession is given up.
MAX_DEATHS = 3

logger = logging.getLogger(__name__)


def detection_settings(detector: Detector, source: Path) -> dict[str, Any]:
    """What its detections depend on, as JSON has it: options, packages, content of files.

    Args:
        detector: of the table.
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


def predict(
    detector: Detector, images: Mapping[str, Path], source: Path, output: Path, workshop: Workshop
) -> list[str]:
    """Write the files of a detector that are not there yet.

    Args:
        detector: of the table.
        images: image id -> file.
        source: the images' folder.
        output: of the comparison.
        workshop: starts the worker, unless all files are there.

    Returns:
        what is wrong with the images that failed; they have no file and are tried again next time.

    Raises:
        InstallationError, WorkerError: the detector does not run here.
    """
    settings = detection_settings(detector, source)
    writer = SubmissionWriter(prediction_folder(output, settings), settings)
    pending = [image_id for image_id in images if not writer.is_done(image_id)]
    logger.info("%s: %d of %d images to do", detector.name, len(pending), len(images))
    if not pending:
        return []
    progress = tqdm(
        pending,
        initial=len(images) - len(pending),
        total=len(images),
        desc=detector.name,
        unit="image",
        disable=None,
    )
    failures: list[str] = []
    num_deaths = 0
    with contextlib.ExitStack() as stack:
        worker: Worker | None = None
        for image_id in progress:
            worker = worker or stack.enter_context(workshop.start(detector))
            try:
                found = worker.detect(images[image_id])
                writer.write(image_id, found.boxes, found.scores)
                num_deaths = 0
            except (ImageError, NonFiniteDetectionsError) as error:
                failures.append(f"{images[image_id]}: {error}")
            except WorkerError as error:
                failures.append(f"{images[image_id]}: the worker {error}")
                num_deaths += 1
                if num_deaths == MAX_DEATHS:
                    raise
                worker = None
    return failures


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
