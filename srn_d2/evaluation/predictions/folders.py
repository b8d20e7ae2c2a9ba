"""Folders of prediction files: a text file for each image, in any layout that tells the image."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from srn_d2.data.annotation_files import has_image_suffix
from srn_d2.evaluation.widerface.prediction_files import PredictionFormatError, PredictionIssue

from .columns import Columns
from .found import FoundRows, Predictions, examples, to_predictions
from .image_names import ImageId, ImageNames
from .text_files import EMPTY, parse_text

SUFFIX = ".txt"


class UnreadablePredictionsError(ValueError):
    """Error for predictions of which nothing can be read; the message says what is there."""


def read_predictions(
    directory: str | os.PathLike, image_ids: Iterable[str], *, strict: bool = True
) -> Predictions:
    """Read the predictions of WIDER FACE's ``image_ids`` ("event/image"); others are skipped.

    Args:
        directory: holds ``<event>/<image>.txt``, or the same files in another layout.
        image_ids: the images.
        strict: take the official layout and format only, as the official code does; other files
            count as malformed or missing.

    Raises:
        NotADirectoryError: ``directory`` is not a folder.
        ColumnsError: see :func:`.to_predictions`.
    """
    images = ImageNames.of_ids(image_ids)
    found = read_folder(directory, images, strict=strict)
    return to_predictions(found, images, strict=strict)


def read_folder(
    directory: str | os.PathLike, images: ImageNames, *, strict: bool = False
) -> FoundRows:
    """The rows of a folder of text files.

    Args, Raises: as :func:`read_predictions`.
    """
    if not os.path.isdir(directory):
        raise NotADirectoryError(f"No folder of predictions: {directory}")
    paths, notes = _official_paths(directory, images), []
    if len(paths) < len(images.names) and not strict:
        notes = _add_other_paths(directory, images, paths)
    rows: dict[ImageId, np.ndarray] = {}
    lines: dict[ImageId, Sequence[int]] = {}
    malformed: list[PredictionIssue] = []
    forms: Counter[str] = Counter()
    first_of_form: dict[str, str] = {}
    columns: set[Columns | None] = set()
    num_unread = 0
    for image_id in images.names:
        if image_id not in paths:
            continue
        path = paths[image_id]
        try:
            text = parse_text(Path(path).read_bytes(), path, strict)
        except PredictionFormatError as error:
            malformed.append(error.issue)
            continue
        rows[image_id], lines[image_id] = text.rows, text.lines
        num_unread += text.num_unread
        if len(text.rows):
            columns.add(text.columns)
        for form in text.forms:
            forms[form] += 1
            first_of_form.setdefault(form, path)
    for form, number in forms.items():
        meaning = "" if form == EMPTY else ": read nevertheless, the official code would not"
        notes.append(f"{number} files {form}{meaning} ({first_of_form[form]})")
    return FoundRows(
        source=str(directory),
        rows=rows,
        columns=columns.pop() if len(columns) == 1 else None,
        places=paths,
        lines=lines,
        missing=tuple(image_id for image_id in images.names if image_id not in paths),
        malformed=tuple(malformed),
        notes=tuple(notes),
        num_unread_lines=num_unread,
    )


def require_rows(found: FoundRows, images: ImageNames) -> None:
    """Raise an error that says what is there if no image has readable predictions.

    Raises:
        UnreadablePredictionsError: with the first bad line, and the number of files of each kind.
    """
    if found.rows:
        return
    example = Path(found.source, f"{_stem(next(iter(images.names.values())))}{SUFFIX}")
    if found.malformed:
        raise UnreadablePredictionsError(
            f"none of the {len(found.malformed)} files in {found.source} can be read; the first "
            f"fault: {found.malformed[0]}. {_kinds(found.malformed)}"
        )
    files = _relative_files(found.source)
    if not files:
        raise UnreadablePredictionsError(
            f"{found.source} is empty: there is no readable prediction such as {example}"
        )
    suffixes = Counter(os.path.splitext(name)[1].lower() or "no suffix" for name in files)
    kinds = ", ".join(f"{number} {suffix}" for suffix, number in suffixes.most_common(4))
    raise UnreadablePredictionsError(
        f"{found.source} holds no readable prediction for any of the {len(images.names)} images, "
        f"such as {example}; it holds {len(files)} files ({kinds}): {examples(files)}"
    )


def _official_paths(directory: str | os.PathLike, images: ImageNames) -> dict[ImageId, str]:
    """Image id -> ``<event>/<image>.txt``, where that is there."""
    paths = {}
    for image_id, name in images.names.items():
        path = os.path.join(directory, f"{_stem(name)}{SUFFIX}")
        if os.path.isfile(path):
            paths[image_id] = path
    return paths


def _add_other_paths(
    directory: str | os.PathLike, images: ImageNames, paths: dict[ImageId, str]
) -> list[str]:
    """Find files of the images without one in any other layout; returns notes."""
    taken = {os.path.normpath(os.path.relpath(path, directory)) for path in paths.values()}
    names = {
        os.path.splitext(name)[0].replace(os.sep, "/"): name
        for name in _relative_files(directory)
        if name.lower().endswith(SUFFIX) and name not in taken
    }
    remaining = {i: name for i, name in images.names.items() if i not in paths}
    matches = ImageNames(remaining).match(names)
    for name, image_id in matches.images.items():
        paths[image_id] = os.path.join(directory, names[name])
    notes = []
    if matches.images:
        name, image_id = next(iter(matches.images.items()))
        notes.append(
            f"{len(matches.images)} files are not where the official code looks for them "
            f"({names[name]}, not {_stem(images.names[image_id])}{SUFFIX}): taken by their names"
        )
    if matches.ambiguous:
        files = [names[name] for name in matches.ambiguous]
        notes.append(
            f"{len(files)} files may be of several images, or several of one image; they are not "
            f"read: {examples(files)}"
        )
    if matches.unknown:
        files = [names[name] for name in matches.unknown]
        notes.append(f"{len(files)} further files are of no evaluated image: {examples(files)}")
    return notes


def _kinds(malformed: Iterable[PredictionIssue]) -> str:
    """The faults counted by kind: the messages without what is particular to the line."""
    kinds = Counter(issue.message.split(", found ")[0].split(": ")[0] for issue in malformed)
    parts = [f"{number} x {kind}" for kind, number in kinds.most_common(4)]
    return "By kind: " + "; ".join(parts)


def _relative_files(directory: str | os.PathLike) -> list[str]:
    """All files below a folder, sorted, relative to it; hidden ones are left out."""
    names = []
    for folder, folders, files in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = os.path.relpath(folder, directory)
        names += [os.path.normpath(os.path.join(relative, name)) for name in sorted(files)]
    return [name for name in names if not os.path.basename(name).startswith(".")]


def _stem(name: str) -> str:
    return os.path.splitext(name)[0] if has_image_suffix(name) else name
