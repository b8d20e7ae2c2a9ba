"""The records of WIDER FACE's annotation text, and their writer; the reader: ``wider_text.py``."""

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from srn_d2.data.annotation_files import AnnotationFormatError


class WiderFaceFormatError(AnnotationFormatError):
    """A damaged WIDER FACE file; the message names file and line."""


class WiderFace(NamedTuple):
    """One line of the annotation: the ten attributes, in the official files' order."""

    x: float  # left edge, pixels; official files have whole numbers
    y: float  # top edge, pixels
    w: float  # width, pixels; official files hold a few that are 0
    h: float  # height, pixels; likewise
    blur: int = 0  # 0 clear, 1 normal, 2 heavy
    expression: int = 0  # 0 typical, 1 exaggerated
    illumination: int = 0  # 0 normal, 1 extreme
    invalid: int = 0  # 1: not to be counted, neither as a face nor as background
    occlusion: int = 0  # 0 none, 1 partial, 2 heavy
    pose: int = 0  # 0 typical, 1 atypical

    @property
    def is_degenerate(self) -> bool:
        """True if the box has no area."""
        return self.w <= 0 or self.h <= 0


class WiderImage(NamedTuple):
    """One record: an image's path below the image root, and its faces."""

    name: str
    faces: tuple[WiderFace, ...]

    @property
    def image_id(self) -> str:
        """The name without its suffix, such as "0--Parade/0_Parade_marchingband_1_849"."""
        return os.path.splitext(self.name)[0]


_NO_FACE = WiderFace(0, 0, 0, 0)


def format_wider_annotations(images: Iterable[WiderImage]) -> str:
    """The inverse of :func:`parse_wider_annotations`, with the official files' quirks."""

    def records() -> Iterator[str]:
        for image in images:
            yield f"{image.name}\n{len(image.faces)}\n"
            for face in image.faces or (_NO_FACE,):
                yield " ".join(map(str, face)) + " \n"

    return "".join(records())


def write_wider_annotations(path: str | os.PathLike, images: Iterable[WiderImage]) -> None:
    """Write ``images`` to a file in the official text format."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        file.write(format_wider_annotations(images))
