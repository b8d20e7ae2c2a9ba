"""Processing of ``srn-d2 detect``: input files to pictures, videos and files of faces."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from srn_d2.atomic_file import atomic_path
from srn_d2.data.image_io import InvalidImageError, read_image
from srn_d2.error_messages import message_of
from srn_d2.inference.detector import FaceDetector
from srn_d2.inference.drawing import draw_scored_boxes
from srn_d2.inference.faces import Faces
from srn_d2.inference.tiled_inference import is_out_of_memory

from .anonymize import MARGIN, blur, pixelate
from .outputs import check_writable, write_faces
from .printing import printable
from .sources import Source
from .video.errors import VideoError
from .video.options import VideoOptions
from .video.result import VideoResult

logger = logging.getLogger(__name__)

JPEG_QUALITY = 95
# Errors of a single input, besides lack of memory; the other inputs are still processed.
INPUT_ERRORS = (InvalidImageError, VideoError, OSError)
# Errors of a wrong config, incompatible or unreadable weights, or a missing input.
SETUP_ERRORS = (OSError, ValueError, KeyError, RuntimeError, ImportError)

Render = Callable[[np.ndarray, Faces], np.ndarray]


def draw_faces(image: np.ndarray, faces: Faces) -> np.ndarray:
    return draw_scored_boxes(image, faces.boxes, faces.scores)


def blur_faces(image: np.ndarray, faces: Faces, margin: float = MARGIN) -> np.ndarray:
    return blur(image, faces.boxes, margin)


def pixelate_faces(image: np.ndarray, faces: Faces, margin: float = MARGIN) -> np.ndarray:
    return pixelate(image, faces.boxes, margin)


def picture_renderer(options: VideoOptions) -> Render | None:
    """The function that draws or hides the faces of a picture as the options say; None: neither."""
    if options.render is None:
        return None
    if options.render == "draw":
        return draw_faces
    hide = blur_faces if options.render == "blur" else pixelate_faces
    return partial(hide, margin=options.margin)


@dataclass(frozen=True)
class Job:
    """One run of the command.

    Attributes:
        detector: finds the faces.
        sources: input files; empty with a camera.
        camera: number of the camera.
        output: output folder.
        formats: formats of the pictures' faces, see ``write_faces``.
        video: what is written of videos, and, by its ``render`` and ``margin``, of pictures.
    """

    detector: FaceDetector
    sources: Sequence[Source]
    output: Path
    formats: Sequence[str]
    camera: int | None = None
    video: VideoOptions = field(default_factory=VideoOptions)


def run_job(prepare: Callable[[], Job]) -> int:
    """Prepare and run a job; errors are logged.

    Returns:
        the exit status: 0, 1 if some input failed (the others are processed), 2 if the job could
        not be prepared, 130 after Ctrl-C; but 0 after Ctrl-C ends a camera's recording.
    """
    try:
        job = prepare()
        check_writable(job.output)
    except SETUP_ERRORS as error:
        logger.error("%s: %s", type(error).__name__, message_of(error))
        return 2
    except KeyboardInterrupt:
        return 130
    try:
        with logging_redirect_tqdm():
            if job.camera is None:
                return int(process_files(job) > 0)
            _process_camera(job, job.camera)
    except KeyboardInterrupt:
        return 130
    except (VideoError, OSError) as error:
        logger.error("%s", error)
        return 1
    return 0


def process_files(job: Job) -> int:
    """Process all files and write the pictures' faces; returns the number of files that failed."""
    records: list[tuple[Source, dict]] = []
    num_failed = 0
    try:
        for source in tqdm(job.sources, unit="file", disable=None):
            try:
                if source.is_video:
                    _process_video(job, source)
                else:
                    records.append((source, process_picture(job, source)))
            except Exception as error:
                if not (isinstance(error, INPUT_ERRORS) or is_out_of_memory(error)):
                    raise
                num_failed += 1
                logger.error("%s failed: %s", printable(source.path), error)
                records.append((source, {"file_name": str(source.path), "error": str(error)}))
    finally:
        if records:
            paths = [write_faces(records, job.output, name) for name in job.formats]
            num_faces = sum(len(record.get("faces", ())) for _, record in records)
            num_done = len(records) - num_failed
            written = ", ".join(map(str, paths))
            logger.info("%d faces in %d files: %s", num_faces, num_done, written)
    return num_failed


def process_picture(job: Job, source: Source) -> dict:
    """Write the picture; returns its record in faces.json."""
    image = read_image(source.path, job.detector.max_pixels)
    faces = job.detector(image)
    render = picture_renderer(job.video)
    if render is not None:
        with atomic_path(job.output / source.name) as draft:
            Image.fromarray(render(image, faces)).save(draft, quality=JPEG_QUALITY)
    return {"file_name": str(source.path), **faces.to_dict()}


def _process_video(job: Job, source: Source) -> None:
    """Write a video and the faces of its frames; see ``video.process.process_video``."""
    from .video.process import process_video  # imports PyAV

    _log_written(process_video(job.detector, source.path, job.output / source.name, job.video))


def _process_camera(job: Job, number: int) -> None:
    from .video.process import process_camera

    output = job.output / f"camera_{number}.mp4"
    _log_written(process_camera(job.detector, number, output, job.video))


def _log_written(result: VideoResult) -> None:
    """Name the files written for a video."""
    if result.video is None:
        logger.info("Wrote %s", printable(result.lines))
    else:
        logger.info("Wrote %s and its .jsonl", printable(result.video))
