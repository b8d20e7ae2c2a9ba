"""WIDER FACE (Yang et al., CVPR 2016): reader and writer of its annotation text.

The text is a sequence of records::

    0--Parade/0_Parade_marchingband_1_849.jpg     image, below WIDER_<split>/images
    1                                             number of faces
    449 330 122 149 0 0 0 0 0 0                   x y w h blur expression illumination
                                                  invalid occlusion pose

Quirks of the official files: an image without faces has the count 0 and yet one line of zeros;
lines end in blanks; some boxes have no width or no height.

Needs neither torch nor detectron2.
"""

import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .annotation_files import AnnotationFormatError, has_image_suffix


class WiderFaceFormatError(AnnotationFormatError):
    """A damaged WIDER FACE file; the message names file and line."""


class WiderFace(NamedTuple):
    """One line of the annotation: the ten attributes, in the file's order."""

    x: int  # left edge, pixels
    y: int  # top edge, pixels
    w: int  # width, pixels; official files hold a few that are 0
    h: int  # height, pixels; likewise
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
_COUNT = re.compile(r"\d+", re.ASCII)
_FACE = re.compile(r"-?\d+( -?\d+){9}", re.ASCII)


def parse_wider_annotations(text: str, source: str = "<text>") -> list[WiderImage]:
    """Read a ``wider_face_*_bbx_gt.txt``; degenerate boxes are kept, for the caller to count.

    Args:
        text: the file's content; blank lines and blanks at line ends are skipped.
        source: the file's name for error messages.

    Raises:
        WiderFaceFormatError: at the first line that does not have the expected format.
    """
    lines = _Lines(text, source)
    images: list[WiderImage] = []
    first_lines: dict[str, int] = {}
    while not lines.at_end:
        image = WiderImage(_take_image_name(lines, first_lines), ())
        count = int(lines.take("a number of faces", _COUNT))
        faces = tuple(
            _to_face(lines.take(f"face {i} of {count} (ten integers)", _FACE))
            for i in range(1, count + 1)
        )
        if count == 0 and lines.peek_face() == _NO_FACE:
            lines.take("a line of zeros", _FACE)
        images.append(image._replace(faces=faces))
    return images


def parse_wider_filelist(text: str, source: str = "<text>") -> list[WiderImage]:
    """Read a ``wider_face_test_filelist.txt``: one image name a line, no annotations.

    Raises:
        WiderFaceFormatError: at the first line that is not the name of a new image.
    """
    lines = _Lines(text, source)
    first_lines: dict[str, int] = {}
    images = []
    while not lines.at_end:
        images.append(WiderImage(_take_image_name(lines, first_lines), ()))
    return images


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


def _to_face(line: str) -> WiderFace:
    return WiderFace(*map(int, line.split(" ")))


def _take_image_name(lines: "_Lines", first_lines: dict[str, int]) -> str:
    """The next line, checked to be an image that ``first_lines`` (by image_id) does not hold."""
    name = lines.take("an image name")
    if not has_image_suffix(name):
        raise lines.error(f"expected an image name, found {name!r}")
    image_id = WiderImage(name, ()).image_id
    if image_id in first_lines:
        raise lines.error(f"{name!r} was listed before, in line {first_lines[image_id]}")
    first_lines[image_id] = lines.number
    return name


class _Lines:
    """The lines of a text that are not blank, with their numbers, read from front to back."""

    def __init__(self, text: str, source: str) -> None:
        self._source = source
        stripped = (line.strip() for line in text.split("\n"))
        self._lines = [(i, line) for i, line in enumerate(stripped, start=1) if line]
        self._next = 0
        self.number = 0  # of the line taken last, from 1

    @property
    def at_end(self) -> bool:
        return self._next == len(self._lines)

    def take(self, expected: str, pattern: re.Pattern | None = None) -> str:
        """The next line, which must match the whole ``pattern``; runs of blanks become one."""
        if self.at_end:
            raise self.error(f"the file ends after this line, expected {expected}")
        self.number, line = self._lines[self._next]
        self._next += 1
        if pattern is None:
            return line
        line = " ".join(line.split())
        if not pattern.fullmatch(line):
            raise self.error(f"expected {expected}, found {line!r}")
        return line

    def peek_face(self) -> WiderFace | None:
        """The next line, not taken, if it is a line of ten integers."""
        line = "" if self.at_end else " ".join(self._lines[self._next][1].split())
        return _to_face(line) if _FACE.fullmatch(line) else None

    def error(self, problem: str) -> WiderFaceFormatError:
        return WiderFaceFormatError(self._source, f"line {self.number}", problem)
