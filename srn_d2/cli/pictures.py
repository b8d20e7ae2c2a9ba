"""Pictures of ``srn-d2 detect``: all frames read, their faces found, and written with them."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from srn_d2.data.image_errors import InvalidImageError, TooManyPixelsError, UnreadFormatError
from srn_d2.data.image_frames import ImageFrames
from srn_d2.error_messages import message_of
from srn_d2.inference.frame_faces import FrameFaces
from srn_d2.inference.image_detector import ImageDetector

from .output_errors import raise_if_of_folder
from .picture_files import UnheldPictureError, WrittenFrames, to_image, write_picture
from .rendering import Render
from .sources import Source

# Pillow warns of odd metadata, and of pictures with many pixels, which the limit is for.
warnings.filterwarnings("ignore", module="PIL")

MAX_WRITTEN_FACTOR = 4
"""Pixels of all frames of a picture that is written, in multiples of the limit of one."""


class PictureResult(NamedTuple):
    """What became of a picture.

    Attributes:
        record: its entry in the files of faces: "file_name", and what ``FrameFaces.to_dict`` gives;
            with "error" if it could not be written, or not all frames be read; with "written_as"
            among the notes if it is not written as ``Source.name``.
        written: path of the picture below the output folder; None: it is not written.
    """

    record: dict
    written: Path | None = None


def process_picture(
    detector: ImageDetector, source: Source, output: Path, render: Render | None
) -> PictureResult:
    """Find the faces in all frames of a picture, and write it.

    Args:
        detector: finds the faces.
        source: the file.
        output: output folder.
        render: what is written; None: nothing is.

    Raises:
        InvalidImageError, OSError: it cannot be read; not one frame of it.
        OutputFolderError: nothing can be written.
    """
    with open_frames(source, detector.max_pixels) as frames:
        found = FrameFaces(frames)
        images: list[Image.Image] = []
        written = None
        problem = None if render is None else _too_many_frames(frames, detector.max_pixels)
        try:
            for frame in frames:
                faces = detector(frame.rgb)
                found.add(frame, faces)
                if render is not None and problem is None:
                    images.append(to_image(render(frame.pixels, faces)))
        except InvalidImageError as error:
            if not found.num_frames:
                raise
            problem = error_text(error)
        if render is not None and problem is None:
            of_file = _written_frames(frames, found, images)
            written, problem = write_or_explain(output, source, of_file, found.notes)
    return PictureResult(_record(source, found, problem), written)


def error_text(error: BaseException) -> str:
    """An error of an input for the user, with the option that it depends on."""
    text = message_of(error)
    return f"{text}; see --max-megapixels" if isinstance(error, TooManyPixelsError) else text


def open_frames(source: Source, max_pixels: int) -> ImageFrames:
    """The frames of a picture.

    Raises:
        InvalidImageError, OSError: it cannot be read.
    """
    if source.problem is not None:
        raise UnreadFormatError(source.problem)
    return ImageFrames(source.path.read_bytes(), str(source.path), max_pixels)


def _record(source: Source, found: FrameFaces, problem: str | None) -> dict:
    """The record of a picture in the files of faces."""
    record = {"file_name": str(source.path), **found.to_dict()}
    return record if problem is None else {**record, "error": problem}


def _written_frames(
    frames: ImageFrames, found: FrameFaces, images: Sequence[Image.Image]
) -> WrittenFrames:
    return WrittenFrames(
        images,
        found.durations or None,
        loop=frames.loop,
        is_first_apart=frames.is_first_apart,
        is_mpo=frames.format == "MPO",
    )


def _too_many_frames(frames: ImageFrames, max_pixels: int) -> str | None:
    """Why a picture of these frames is not written: they are in memory together."""
    height, width = frames.size
    if frames.num_frames == 1 or frames.num_frames * height * width <= (
        MAX_WRITTEN_FACTOR * max_pixels
    ):
        return None
    return (
        f"the picture is not written: its {frames.num_frames} frames have more than "
        f"{MAX_WRITTEN_FACTOR} times --max-megapixels together"
    )


def write_or_explain(
    output: Path, source: Source, frames: WrittenFrames, notes: dict[str, str]
) -> tuple[Path | None, str | None]:
    """Write a picture; of an error only its text, so that the faces are recorded all the same.

    Args:
        output: output folder.
        source: its file, for the names under which it may be written.
        frames: what is written.
        notes: gets "written_as" if it is not ``source.name``.

    Returns:
        path below the output folder, and None; or None and what went wrong.

    Raises:
        OutputFolderError: nothing else can be written either.
    """
    try:
        name = write_picture(output, [source.name, *source.fallbacks], frames)
    except UnheldPictureError as error:
        return None, str(error)
    except OSError as error:
        raise_if_of_folder(error, output)
        return None, f"the picture is not written: {error.strerror or error}"
    except MemoryError:
        raise
    except Exception as error:  # encoders raise many kinds, such as struct.error
        return None, f"the picture is not written: {type(error).__name__}: {error}"
    if name != source.name:
        notes["written_as"] = f"written as {name}, as {source.name.suffix} does not hold it"
    return name, None
