"""One input of ``srn-d2 detect``, a picture or a video: its faces found, and written."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

from srn_d2.data.image_io import InvalidImageError
from srn_d2.inference.image_detector import ImageDetector
from srn_d2.inference.tiled_inference import is_out_of_memory

from .journal import DAMAGED_VIDEO, Result, file_version
from .output_errors import raise_if_of_folder
from .pictures import error_text, process_picture
from .printing import printable
from .rendering import picture_renderer
from .sources import Source
from .video.errors import DamagedVideoError, VideoError
from .video.options import VideoOptions
from .video.result import VideoResult

logger = logging.getLogger(__name__)

# Errors of a single input, besides lack of memory; the other inputs are still processed.
INPUT_ERRORS = (InvalidImageError, VideoError, OSError)
NOT_WRITTEN = "not written, or in part"

Process = Callable[[Source], Result]
"""Function from an input to its result; it raises an OutputFolderError if nothing can be
written."""


class InputProcessor:
    """Finds the faces of inputs and writes pictures and videos.

    Args:
        detector: of pictures; several threads may call it.
        output: output folder.
        video: what is written of videos and, by its ``render`` and ``margin``, of pictures.
        show_progress: show the progress of each video: a bar, or a line each minute.
    """

    def __init__(
        self,
        detector: ImageDetector,
        output: Path,
        video: VideoOptions,
        show_progress: bool = True,
    ):
        self._detector, self._output, self._video = detector, output, video
        self._show_progress = show_progress

    def __call__(self, source: Source) -> Result:
        """Process an input; an error of this input alone is in its result.

        Raises:
            OutputFolderError: nothing can be written.
        """
        version = file_version(source.path)  # it may change while it is read
        try:
            if source.is_video:
                return Result.of(source, None, None, self._process_video(source), version)
            render = picture_renderer(self._video)
            record, written = process_picture(self._detector, source, self._output, render)
        except Exception as error:
            if not (isinstance(error, INPUT_ERRORS) or is_out_of_memory(error)):
                raise
            if isinstance(error, OSError) and not _is_of_input(error, source):
                raise_if_of_folder(error, self._output)
            record = {"file_name": str(source.path), "error": error_text(error)}
            kind = kind_of(error) if source.problem is None else source.kind
            return Result.of(source, record, kind, version=version)
        problem = NOT_WRITTEN if "error" in record else None
        return Result.of(source, record, problem, [] if written is None else [written], version)

    def _process_video(self, source: Source) -> list[Path]:
        """The paths below the output folder of all that is written."""
        from .video.process import process_video  # imports PyAV

        result = process_video(
            self._detector,
            source.path,
            self._output / source.name,
            self._video,
            show_progress=self._show_progress,
        )
        log_written(result)
        paths = result.lines, result.video, result.gaps_file
        return [path.relative_to(self._output) for path in paths if path is not None]


def _is_of_input(error: OSError, source: Source) -> bool:
    """Whether an error is of reading the input, such as a file that is not readable."""
    return error.filename is not None and os.fspath(error.filename) == str(source.path)


def kind_of(error: Exception) -> str:
    """Kind of an input's error, in a few words, for the summary."""
    if isinstance(error, InvalidImageError):
        return error.reason
    if isinstance(error, DamagedVideoError):
        return DAMAGED_VIDEO
    if isinstance(error, VideoError):
        return "video that cannot be read or written"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "out of memory" if is_out_of_memory(error) else type(error).__name__


def log_written(result: VideoResult) -> None:
    """Name the files written for a video."""
    if result.video is None:
        logger.info("Wrote %s", printable(result.lines))
    else:
        logger.info("Wrote %s and its .jsonl", printable(result.video))
