"""Processing of ``srn-d2 detect``: input files to pictures, videos and files of faces."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from srn_d2.atomic_file import atomic_path
from srn_d2.data.image_io import InvalidImageError
from srn_d2.error_messages import message_of
from srn_d2.inference.detector import FaceDetector
from srn_d2.inference.drawing import draw_scored_boxes
from srn_d2.inference.faces import Faces
from srn_d2.inference.tiled_inference import is_out_of_memory

from .anonymize import blur, pixelate
from .output_errors import OutputFolderError
from .outputs import check_writable, write_faces
from .pictures import Render, process_picture, report_picture
from .printing import printable
from .sources import Source
from .video_io import VideoError, VideoReader, VideoWriter

logger = logging.getLogger(__name__)

# Errors of a single input, besides lack of memory; the other inputs are still processed.
INPUT_ERRORS = (InvalidImageError, VideoError, OSError)
# Errors of a wrong config, incompatible or unreadable weights, or a missing input.
SETUP_ERRORS = (OSError, ValueError, KeyError, RuntimeError, ImportError)


def draw_faces(image: np.ndarray, faces: Faces) -> np.ndarray:
    return draw_scored_boxes(image, faces.boxes, faces.scores)


def blur_faces(image: np.ndarray, faces: Faces) -> np.ndarray:
    return blur(image, faces.boxes)


def pixelate_faces(image: np.ndarray, faces: Faces) -> np.ndarray:
    return pixelate(image, faces.boxes)


@dataclass(frozen=True)
class Job:
    """One run of the command.

    Attributes:
        detector: finds the faces.
        sources: input files; empty with a camera.
        camera: number of the camera.
        output: output folder.
        formats: formats of the pictures' faces, see ``write_faces``.
        render: function from an image (H, W, 3) and its faces to the picture to write; None: no
            pictures or videos are written.
        max_frames: maximum number of frames of each video or of the camera; None: all.
    """

    detector: FaceDetector
    sources: Sequence[Source]
    output: Path
    formats: Sequence[str]
    render: Render | None = draw_faces
    camera: int | None = None
    max_frames: int | None = None


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
            process_video(job, job.camera, Path(f"camera_{job.camera}.mp4"))
    except KeyboardInterrupt:
        return 130
    except (VideoError, OSError, OutputFolderError) as error:
        logger.error("%s", error)
        return 1
    return 0


def process_files(job: Job) -> int:
    """Process all files and write the pictures' faces; returns the number of files that failed."""
    records: list[tuple[Source, dict]] = []
    num_failed = 0
    said: set[str] = set()
    try:
        for source in tqdm(job.sources, unit="file", disable=None):
            try:
                if source.is_video:
                    process_video(job, source.path, source.name)
                    continue
                record = process_picture(job.detector, source, job.output, job.render)
                records.append((source, record))
                num_failed += report_picture(source, record, said)
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


def process_video(job: Job, source: Path | int, name: Path) -> None:
    """Write a video and the faces of each of its frames, {"frame", "time", "faces"} a line.

    Raises:
        TruncatedVideoError: the file ends too early; what it has is written.
    """
    reader = VideoReader(source)
    video = job.output / name
    lines_path = video.with_name(f"{video.name}.jsonl")
    try:
        if job.render is None:
            _process_frames(job, reader, None, lines_path)
        else:
            with atomic_path(video) as draft:
                writer = VideoWriter(draft, reader.fps)
                try:
                    _process_frames(job, reader, writer, lines_path)
                finally:
                    writer.close()
    finally:
        reader.close()
    logger.info("Wrote %s", lines_path if job.render is None else f"{video} and its .jsonl")
    reader.check_complete()


def _process_frames(
    job: Job, reader: VideoReader, writer: VideoWriter | None, lines_path: Path
) -> None:
    """Process all frames up to the limit; a camera's until Ctrl-C."""
    total = min(filter(None, (reader.num_frames, job.max_frames)), default=None)
    frames = tqdm(reader, total=total, desc=str(reader.source), unit="frame", disable=None)
    with atomic_path(lines_path) as draft, open(draft, "w", encoding="utf-8") as lines:
        try:
            for frame in frames:
                faces = job.detector(frame.image)
                if writer is not None:
                    writer.write(job.render(frame.image, faces))
                record = {"frame": frame.index, "time": round(frame.time, 3)}
                record["faces"] = faces.to_dict()["faces"]
                lines.write(json.dumps(record) + "\n")
                if frame.index + 1 == job.max_frames:
                    break
        except KeyboardInterrupt:
            if not reader.is_camera:
                raise
