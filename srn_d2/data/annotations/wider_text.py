"""WIDER FACE's annotation text, as the official files and other programs write it.

The text is a sequence of records::

    0--Parade/0_Parade_marchingband_1_849.jpg     image, below WIDER_<split>/images
    1                                             number of faces
    449 330 122 149 0 0 0 0 0 0                   x y w h blur expression illumination
                                                  invalid occlusion pose

Quirks of the official files: an image without faces has the count 0 and yet one line of zeros;
lines end in blanks; some boxes have no width or no height.

Others leave out the count of an image without faces, or all counts; write the box alone, decimals,
``-`` for an attribute that they do not know and ``True``, a label at the end of the line (CVAT and
datumaro); or ``# `` before the image, and five landmarks with a flag each after the box
(RetinaFace).
"""

import re
from typing import NamedTuple

from srn_d2.data.annotation_files import has_image_suffix

from .wider_records import WiderFace, WiderFaceFormatError, WiderImage


class WiderText(NamedTuple):
    """A whole file.

    Attributes:
        images: its records.
        labels: of each face, in the order of the file; "" where the line has none.
        lines: of each face the number of its line.
        notes: what is unusual in it, a sentence each.
    """

    images: list[WiderImage]
    labels: list[str]
    lines: list[int]
    notes: list[str]


_COUNT = re.compile(r"\d+", re.ASCII)
_WHOLE = re.compile(r"[-+]?\d+", re.ASCII)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_BOX = re.compile(rf"{_NUMBER}(?: {_NUMBER}){{3}}", re.ASCII)
_ATTRIBUTE = re.compile(r"-?\d+|-|True|False", re.ASCII)
# Five landmarks (x, y, visible) and how blurred the face is.
_LANDMARKS = re.compile(rf"{_NUMBER}(?: {_NUMBER}){{14,15}}", re.ASCII)
_SCORED = re.compile(rf"{_NUMBER}(?: {_NUMBER}){{4}}", re.ASCII)
_ATTRIBUTE_COUNT = 6
# datumaro's order of the attributes, which is not the official one.
_DATUMARO = ("blur", "expression", "illumination", "occlusion", "pose", "invalid")
_DATUMARO_SIGNS = ("-", "True", "False")


def parse_wider_text(text: str, source: str = "<text>") -> WiderText:
    """Read a text of WIDER FACE's kind; degenerate boxes are kept, for the caller to count.

    Args:
        text: the file's content; blank lines and blanks at line ends are skipped.
        source: the file's name for error messages.

    Raises:
        WiderFaceFormatError: at the first line that does not have the expected format.
    """
    lines = _Lines(text, source)
    images: list[WiderImage] = []
    first_lines: dict[str, int] = {}
    parsed = _Faces(lines)
    num_without_count = 0
    count: int | None = None
    is_commented = False
    while not lines.at_end:
        name, is_commented = _take_image_name(lines, first_lines)
        start = len(parsed.rows)
        count = lines.take_count()
        if count is None:
            num_without_count += 1
            while not lines.at_end and not lines.next_is_name():
                parsed.take("a face (x y w h ...)", allow_landmarks=True)
        else:
            for i in range(1, count + 1):
                parsed.take(f"face {i} of {count} (x y w h ...)", allow_landmarks=is_commented)
            if count == 0:
                lines.skip_zeros()
        images.append(WiderImage(name, tuple(parsed.rows[start:])))
    if images and count is None and not images[-1].faces and not is_commented:
        _require_no_cut(lines, parsed, num_without_count, len(images))
    notes = parsed.notes()
    if num_without_count:
        notes.append(f"{num_without_count} images without a number of faces")
    if parsed.is_datumaro:
        images = _reorder(images)
    return WiderText(images, parsed.labels, parsed.line_numbers, notes)


def parse_wider_annotations(text: str, source: str = "<text>") -> list[WiderImage]:
    """The images of a ``wider_face_*_bbx_gt.txt``; see :func:`parse_wider_text`."""
    return parse_wider_text(text, source).images


def parse_wider_filelist(text: str, source: str = "<text>") -> list[WiderImage]:
    """Read a ``wider_face_test_filelist.txt``: one image name a line, no annotations.

    Raises:
        WiderFaceFormatError: at the first line that is not the name of a new image.
    """
    lines = _Lines(text, source)
    first_lines: dict[str, int] = {}
    images = []
    while not lines.at_end:
        images.append(WiderImage(_take_image_name(lines, first_lines)[0], ()))
    return images


def _require_no_cut(
    lines: "_Lines", parsed: "_Faces", num_without_count: int, num_images: int
) -> None:
    """Tell a last image without faces from a file that is cut after its name.

    Raises:
        WiderFaceFormatError: nothing in the file says that its writer leaves out counts.
    """
    has_decimals = any(isinstance(number, float) for face in parsed.rows for number in face[:4])
    is_habit = num_without_count > 1 and (parsed.rows or num_without_count < num_images)
    if not has_decimals and not is_habit:
        raise lines.error("the file ends after this line, expected a number of faces")


def _reorder(images: list[WiderImage]) -> list[WiderImage]:
    """The attributes of a file in datumaro's order, each at its place."""
    official = WiderFace._fields[4:]
    places = [4 + _DATUMARO.index(name) for name in official]
    return [
        image._replace(
            faces=tuple(
                WiderFace(*face[:4], *(face[place] for place in places)) for face in image.faces
            )
        )
        for image in images
    ]


def _take_image_name(lines: "_Lines", first_lines: dict[str, int]) -> tuple[str, bool]:
    """The next line, checked to be an image that ``first_lines`` (by image_id) does not hold.

    Returns:
        The name, and whether it stood after a "#".
    """
    line = lines.take("an image name")
    name = line.removeprefix("#").strip()
    if not has_image_suffix(name):
        raise lines.error(f"expected an image name, found {line!r}")
    image_id = WiderImage(name, ()).image_id
    if image_id in first_lines:
        raise lines.error(f"{name!r} was listed before, in line {first_lines[image_id]}")
    first_lines[image_id] = lines.number
    return name, name != line


class _Faces:
    """The lines of faces, as they are taken."""

    def __init__(self, lines: "_Lines") -> None:
        self._lines = lines
        self.rows: list[WiderFace] = []
        self.labels: list[str] = []
        self.line_numbers: list[int] = []
        self.is_datumaro = False
        self._num_landmarks = 0

    def take(self, expected: str, allow_landmarks: bool) -> None:
        """Take the next line, which must be a face; what ``expected`` says goes into the error."""
        fields = self._lines.take(expected).split()
        if not _BOX.fullmatch(" ".join(fields[:4])):
            raise self._error(expected, fields)
        box = [_number(text) for text in fields[:4]]
        rest = fields[4:]
        attributes = rest[:_ATTRIBUTE_COUNT]
        label = ""
        if allow_landmarks and _LANDMARKS.fullmatch(" ".join(rest)):
            self._num_landmarks += 1
            attributes = []
        elif len(attributes) == _ATTRIBUTE_COUNT and all(map(_ATTRIBUTE.fullmatch, attributes)):
            label = " ".join(rest[_ATTRIBUTE_COUNT:])
        elif _SCORED.fullmatch(" ".join(fields)):
            raise self._lines.error(
                f"{expected} has five numbers: are these detections, x y w h score?"
            )
        else:
            attributes, label = [], " ".join(rest)
        if any(character.isdigit() for character in label[:1]):
            raise self._error(expected, fields)
        self.is_datumaro |= any(text in _DATUMARO_SIGNS for text in attributes)
        self.rows.append(WiderFace(*box, *(_attribute(text) for text in attributes)))
        self.labels.append(label)
        self.line_numbers.append(self._lines.number)

    def notes(self) -> list[str]:
        notes = []
        if self.is_datumaro:
            notes.append(
                "attributes with - or True, as CVAT and datumaro write them, in their order "
                f"({' '.join(_DATUMARO)})"
            )
        if self._num_landmarks:
            notes.append(f"landmarks of {self._num_landmarks} faces are not used")
        return notes

    def _error(self, expected: str, fields: list[str]) -> WiderFaceFormatError:
        return self._lines.error(f"expected {expected}, found {' '.join(fields)!r}")


def _number(text: str) -> float:
    """A number written without decimals as int, as in the official files."""
    return int(text) if _WHOLE.fullmatch(text) else float(text)


def _attribute(text: str) -> int:
    return {"-": 0, "False": 0, "True": 1}[text] if text in _DATUMARO_SIGNS else int(text)


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

    def take(self, expected: str) -> str:
        """The next line."""
        if self.at_end:
            raise self.error(f"the file ends after this line, expected {expected}")
        self.number, line = self._lines[self._next]
        self._next += 1
        return line

    def take_count(self) -> int | None:
        """The number in the next line; None, and nothing is taken, if it is no such line.

        Raises:
            WiderFaceFormatError: it is none, and neither a face nor an image.
        """
        if self.at_end or self.next_is_name():
            return None
        line = self._lines[self._next][1]
        if _COUNT.fullmatch(line):
            return int(self.take("a number of faces"))
        if _BOX.match(" ".join(line.split())):
            return None
        self.take("a number of faces")
        raise self.error(f"expected a number of faces, found {line!r}")

    def next_is_name(self) -> bool:
        """Whether the next line is an image's name and no face with a label that looks like one."""
        line = self._lines[self._next][1]
        return has_image_suffix(line) and not _BOX.match(" ".join(line.split()))

    def skip_zeros(self) -> None:
        """Pass over the next line if it is a line of zeros, which stands for no face."""
        fields = [] if self.at_end else self._lines[self._next][1].split()
        if len(fields) in (4, 10) and set(fields) <= {"0", "0.0"}:
            self.take("a line of zeros")

    def error(self, problem: str) -> WiderFaceFormatError:
        return WiderFaceFormatError(self._source, f"line {self.number}", problem)
