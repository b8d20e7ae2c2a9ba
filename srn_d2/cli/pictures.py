"""Pictures of ``srn-d2 detect``: all frames read, their faces found, and written with them."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from srn_d2.data.image_errors import InvalidImageError, UnreadFormatError
from srn_d2.data.image_frames import ImageFrame, ImageFrames
from srn_d2.inference.faces import Faces
from srn_d2.inference.image_detector import ImageDetector

from .output_errors import raise_if_of_folder
from .picture_files import UnheldPictureError, WrittenFrames, to_image, write_picture
from .rendering import Render
from .sources import Source

MAX_WRITTEN_FACTOR = 4
"""Pixels of all frames of a picture that is written, in multiples of the limit of one."""


def process_picture(
    detector: ImageDetector, source: Source, output: Path, render: Render | None
) -> dict:
    """Find the faces in all frames of a picture, and write it.

    Args:
        detector: finds the faces.
        source: the file.
        output: output folder.
        render: what is written; None: nothing is.

    Returns:
        the record of the picture, see ``PictureRecord``; with "error" if it could not be written,
        or not all frames be read.

    Raises:
        InvalidImageError, OSError: it cannot be read; not one frame of it.
        OutputFolderError: nothing can be written.
    """
    with open_frames(source, detector.max_pixels) as frames:
        record = PictureRecord(source, frames)
        images: list[Image.Image] = []
        problem = None if render is None else _too_many_frames(frames, detector.max_pixels)
        try:
            for frame in frames:
                faces = detector(frame.rgb)
                record.add(frame, faces)
                if render is not None and problem is None:
                    images.append(to_image(render(frame.pixels, faces)))
        except InvalidImageError as error:
            if not record.num_frames:
                raise
            problem = str(error)
        if render is not None and problem is None:
            written = record.written_frames(images)
            problem = write_or_explain(output, source, written, record.notes)
    return record.to_dict(problem)


def open_frames(source: Source, max_pixels: int) -> ImageFrames:
    """The frames of a picture.

    Raises:
        InvalidImageError, OSError: it cannot be read.
    """
    if source.problem is not None:
        raise UnreadFormatError(source.problem)
    return ImageFrames(source.path.read_bytes(), str(source.path), max_pixels)


class PictureRecord:
    """The faces of a picture, frame by frame, for the files of faces.

    ``to_dict`` gives {"file_name", "height", "width", "faces"}. Of a picture of several frames
    height and width are those of the first, each face has its "frame", and "frames" has for each
    {"height", "width"}, of an animation with "time" and "duration" in seconds. "notes" has what is
    to be known of it: {"scaled", "left_out", "written_as"} -> text.
    """

    def __init__(self, source: Source, frames: ImageFrames):
        self.notes: dict[str, str] = {}
        self.num_frames = 0
        self._source = source
        self._header = frames
        self._durations: list[float] = []
        self._faces: list[dict] = []
        self._sizes: list[dict] = []
        if frames.num_left_out:
            text = f"{frames.num_left_out} previews or gain maps in the file are left out"
            self.notes["left_out"] = text

    def add(self, frame: ImageFrame, faces: Faces) -> None:
        """Append the faces of the next frame."""
        size = faces.to_dict()
        of_frame = size.pop("faces")
        if self._header.num_frames > 1:
            of_frame = [{**face, "frame": self.num_frames} for face in of_frame]
        if frame.duration is not None:
            start = sum(self._durations)
            size |= {"time": round(start, 3), "duration": round(frame.duration, 3)}
            self._durations.append(frame.duration)
        if frame.scaled is not None:
            self.notes.setdefault("scaled", f"values of {frame.scaled} are scaled to 0 to 255")
        self._faces += of_frame
        self._sizes.append(size)
        self.num_frames += 1

    def to_dict(self, problem: str | None = None) -> dict:
        """The record.

        Args:
            problem: what went wrong: its "error".
        """
        size = {key: self._sizes[0][key] for key in ("height", "width")}
        record = {"file_name": str(self._source.path), **size, "faces": self._faces}
        if self._header.num_frames > 1:
            record["frames"] = self._sizes
        if self.notes:
            record["notes"] = self.notes
        if problem is not None:
            record["error"] = problem
        return record

    def written_frames(self, images: Sequence[Image.Image]) -> WrittenFrames:
        """What is written of the picture: the images of its frames."""
        return WrittenFrames(
            images,
            self._durations or None,
            loop=self._header.loop,
            is_first_apart=self._header.is_first_apart,
            is_mpo=self._header.format == "MPO",
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
) -> str | None:
    """Write a picture; of an error only its text, so that the faces are recorded all the same.

    Args:
        output: output folder.
        source: its file, for the names under which it may be written.
        frames: what is written.
        notes: gets "written_as" if it is not ``source.name``.

    Returns:
        what went wrong; None if nothing did.

    Raises:
        OutputFolderError: nothing else can be written either.
    """
    try:
        name = write_picture(output, [source.name, *source.fallbacks], frames)
    except UnheldPictureError as error:
        return str(error)
    except OSError as error:
        raise_if_of_folder(error, output)
        return f"the picture is not written: {error}"
    except MemoryError:
        raise
    except Exception as error:  # encoders raise many kinds, such as struct.error
        return f"the picture is not written: {type(error).__name__}: {error}"
    if name != source.name:
        notes["written_as"] = f"written as {name}, as {source.name.suffix} does not hold it"
    return None
