"""Writing of pictures: one or several frames, in the format that a file's suffix says."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from srn_d2.atomic_file import atomic_path

JPEG_QUALITY = 95
AVIF_SPEED = 8  # of 0 to 10; at 6, Pillow's, files are 8 % smaller and take three times as long
_MILLISECONDS = 1000
_GIF_COLORS = 256
_HALF = 128  # opacity from which a pixel of a GIF is opaque
# Suffix -> Pillow's name of the format that is written. Pictures with another suffix get one of
# these added: JPEG for photographs, PNG for the rest.
WRITTEN_FORMATS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "JPEG"),
    **dict.fromkeys((".png", ".apng"), "PNG"),
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".avif", ".avifs"), "AVIF"),
    ".webp": "WEBP",
    ".gif": "GIF",
}
_OF_PHOTOGRAPHS = (".heic", ".heif", ".hif", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx")
# Formats for what the format of a picture's name does not hold.
FALLBACK_SUFFIXES = (".png", ".tif")
_WITHOUT_ALPHA = ("JPEG", "BMP", "MPO")
_MAX_SIDE = {"JPEG": 65500, "MPO": 65500, "WEBP": 16383, "GIF": 65535, "AVIF": 65535}
_OF_PAGES = ("TIFF", "MPO")
_OF_ANIMATIONS = ("GIF", "PNG", "WEBP", "AVIF")


class UnheldPictureError(ValueError):
    """A picture that no format for its name can hold."""


@dataclass(frozen=True)
class WrittenFrames:
    """What is written to one file.

    Attributes:
        images: mode RGB or RGBA, one or more.
        durations: seconds for each image of an animation; None: a picture, or pages.
        loop: see ``ImageFrames``.
        is_first_apart: see ``ImageFrames``.
        is_mpo: whether several images become one MPO file, as they were: a JPEG with more.
    """

    images: Sequence[Image.Image]
    durations: Sequence[float] | None = None
    loop: int | None = None
    is_first_apart: bool = False
    is_mpo: bool = False


def output_name(name: Path) -> Path:
    """Name of a picture's output, with another suffix added where its format is not written."""
    suffix = name.suffix.lower()
    if suffix in WRITTEN_FORMATS:
        return name
    return name.with_name(name.name + (".jpg" if suffix in _OF_PHOTOGRAPHS else ".png"))


def to_image(pixels: np.ndarray) -> Image.Image:
    """An image of mode RGB or RGBA from pixels as ``DecodedImage`` has them."""
    if pixels.shape[2] == 3:
        return Image.fromarray(pixels)
    height, width = pixels.shape[:2]
    premultiplied = np.ascontiguousarray(pixels).tobytes()
    return Image.frombytes("RGBa", (width, height), premultiplied).convert("RGBA")


def write_picture(folder: Path, names: Sequence[Path], frames: WrittenFrames) -> Path:
    """Write a picture under the first of several names whose format holds it.

    Args:
        folder: output folder.
        names: paths below it.

    Returns:
        the name.

    Raises:
        UnheldPictureError: none of the formats holds it.
        OSError: it cannot be written.
    """
    problems = []
    for name in names:
        file_format = _format_of(name, frames)
        problem = _problem(file_format, frames)
        if problem is None:
            with atomic_path(folder / name) as draft:
                _save(draft, file_format, frames)
            return name
        problems.append(problem)
    raise UnheldPictureError(f"the picture is not written: {'; '.join(problems)}")


def _format_of(name: Path, frames: WrittenFrames) -> str:
    file_format = WRITTEN_FORMATS[name.suffix.lower()]
    several = len(frames.images) > 1
    return "MPO" if file_format == "JPEG" and several and frames.is_mpo else file_format


def _problem(file_format: str, frames: WrittenFrames) -> str | None:
    """Why a format does not hold these frames; None if it does."""
    images = frames.images
    if file_format in _WITHOUT_ALPHA and any(image.mode == "RGBA" for image in images):
        return f"{file_format} has no transparency"
    longest = max(max(image.size) for image in images)
    if longest > _MAX_SIDE.get(file_format, longest):
        return f"{file_format} has at most {_MAX_SIDE[file_format]} pixels a side, this {longest}"
    if len(images) == 1:
        return None
    if frames.durations is None:
        return (
            None if file_format in _OF_PAGES else f"{file_format} has one page, not {len(images)}"
        )
    if file_format not in _OF_ANIMATIONS:
        return f"{file_format} has no animations"
    return None


def _save(path: Path, file_format: str, frames: WrittenFrames) -> None:
    images = list(frames.images)
    if frames.durations is not None and any(image.mode == "RGBA" for image in images):
        convert = _to_palette if file_format == "GIF" else partial(Image.Image.convert, mode="RGBA")
        images = [convert(image) for image in images]
    first, *others = images
    options: dict = {"quality": JPEG_QUALITY}
    if file_format == "TIFF":
        options = {"compression": "tiff_adobe_deflate"}
    elif file_format == "AVIF":
        options["speed"] = AVIF_SPEED
    elif file_format in ("PNG", "BMP", "GIF"):
        options = {}
    if others:
        options |= {"save_all": True, "append_images": others}
    if frames.durations is not None:
        options |= _animation_options(file_format, frames)
    with open(path, "w+b") as file:  # TIFF pages are linked by reading them back
        first.save(file, format=file_format, **options)


def _animation_options(file_format: str, frames: WrittenFrames) -> dict:
    durations = [round(_MILLISECONDS * seconds) for seconds in frames.durations or ()]
    options: dict = {"duration": durations}
    if frames.loop is not None and file_format != "AVIF":
        options["loop"] = frames.loop
    if file_format == "PNG" and frames.is_first_apart:
        options |= {"default_image": True, "duration": durations[1:]}
    if file_format == "GIF" and any(image.mode == "RGBA" for image in frames.images):
        options["disposal"] = 2  # what was opaque may become transparent
    return options


def _to_palette(image: Image.Image) -> Image.Image:
    """255 colours and a transparent one, which the first frame of a GIF needs for later ones."""
    opaque = image.convert("RGB").quantize(_GIF_COLORS - 1)
    if image.mode == "RGBA":
        is_clear = image.getchannel("A").point(lambda opacity: 255 if opacity < _HALF else 0)
        opaque.paste(_GIF_COLORS - 1, mask=is_clear)
    opaque.info["transparency"] = _GIF_COLORS - 1
    return opaque
