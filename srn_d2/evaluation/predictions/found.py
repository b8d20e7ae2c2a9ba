"""Predictions as they were found, and their boxes in pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from srn_d2.evaluation.widerface.prediction_files import PredictionIssue

from .columns import (
    XYWH,
    Columns,
    ColumnsError,
    are_fractions,
    guess_columns,
    lacks_score,
)
from .image_names import ImageId, ImageNames, NameMatches

_NUM_SHOWN = 3  # examples in a message


@dataclass(frozen=True)
class FoundRows:
    """The numbers of a source of predictions.

    Attributes:
        source: the folder or file.
        rows: image id -> (n, K) numbers; only images with readable predictions.
        columns: of the rows, where the source names them; None: to be guessed.
        places: image id -> where its rows are, such as its file.
        lines: image id -> the line of each row, where there are lines.
        missing: images that the source does not have.
        malformed: the first fault of each damaged file or record.
        notes: what is worth knowing about the source, a sentence each.
        num_unread_lines: lines beyond the files' counts.
    """

    source: str
    rows: dict[ImageId, np.ndarray]
    columns: Columns | None = None
    places: Mapping[ImageId, str] = field(default_factory=dict)
    lines: Mapping[ImageId, Sequence[int]] = field(default_factory=dict)
    missing: tuple[ImageId, ...] = ()
    malformed: tuple[PredictionIssue, ...] = ()
    notes: tuple[str, ...] = ()
    num_unread_lines: int = 0


@dataclass(frozen=True)
class Predictions:
    """Boxes and scores of a source.

    Attributes:
        predictions: image id -> (n, 5) float64: x, y, w, h, score, in the order of the source.
        found: what they were made from.
        columns: how ``found.rows`` was understood.
        are_fractions: the boxes were fractions of the image's size.
        non_finite: places of NaN or infinite numbers. Where it is the score the box is left out,
            as it has no rank; other such boxes stay, and match no face.
        num_non_positive: boxes of zero or negative width or height; they stay (the official code
            keeps them).
        notes: what is worth knowing about the columns, a sentence each.
    """

    predictions: dict[ImageId, np.ndarray]
    found: FoundRows
    columns: Columns = XYWH
    are_fractions: bool = False
    non_finite: tuple[PredictionIssue, ...] = ()
    num_non_positive: int = 0
    notes: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[ImageId, ...]:
        return self.found.missing

    @property
    def malformed(self) -> tuple[PredictionIssue, ...]:
        return self.found.malformed

    @property
    def num_unread_lines(self) -> int:
        return self.found.num_unread_lines

    @property
    def num_detections(self) -> int:
        return sum(map(len, self.predictions.values()))

    def warnings(self, images: ImageNames | None = None) -> list[str]:
        """One line of text for each kind of problem, with up to three examples.

        Args:
            images: of the ground truth, to name the missing ones; None: their ids are shown.
        """
        found, names = self.found, images.names if images else {}
        problems: list[tuple[Sequence, str]] = [
            (
                [names.get(i, i) for i in found.missing],
                "images have no file and count as without detections",
            ),
            (found.malformed, "files or records are malformed and count as without detections"),
            (self.non_finite, "boxes are not finite; those with such a score are left out"),
        ]
        lines = [f"{len(them)} {meaning}: {examples(them)}" for them, meaning in problems if them]
        if self.num_non_positive:
            lines.append(f"{self.num_non_positive} boxes have zero or negative width or height")
        if found.num_unread_lines:
            lines.append(f"{found.num_unread_lines} lines beyond the files' counts are not read")
        return [*lines, *found.notes, *self.notes]

    def main_fault(self) -> str:
        """Why figures on these predictions say nothing about the detector; "": no reason."""
        found = self.found
        num_bad, num_good = len(found.malformed), len(found.rows)
        if num_bad > num_good:
            return (
                f"{num_bad} of {num_bad + num_good} files or records are malformed, the first: "
                f"{found.malformed[0]}"
            )
        num_read = self.num_detections
        num_lost = sum(map(len, found.rows.values())) - num_read
        if num_lost > num_read:
            return f"{num_lost} of {num_lost + num_read} scores are NaN or infinite"
        if found.num_unread_lines > num_read:
            return (
                f"{found.num_unread_lines} lines lie beyond the files' counts, only {num_read} "
                "within: the counts are wrong"
            )
        if not num_read:
            return "there is not a single detection"
        return ""


def to_predictions(
    found: FoundRows,
    images: ImageNames,
    columns: Columns | None = None,
    *,
    strict: bool = False,
) -> Predictions:
    """Boxes in pixels from the rows.

    Args:
        found: the rows.
        images: the images, whose sizes are needed for boxes that are fractions of them.
        columns: of the rows; None: those that the source names or its numbers tell.
        strict: x, y, w, h, score in pixels, whatever the numbers look like.

    Raises:
        ColumnsError: there is no score, the rows have fewer columns, or boxes are fractions of
            images whose size is unknown.
    """
    notes = []
    columns = columns or (XYWH if strict else found.columns)
    if columns is None:
        columns, note = _guess(found)
        notes += [note] if note else []
    boxes = {}
    for image_id, rows in found.rows.items():
        try:
            boxes[image_id] = columns.to_boxes(rows)
        except ColumnsError as error:
            raise ColumnsError(f"{found.places.get(image_id, found.source)}: {error}") from error
    fractions = not strict and are_fractions(stack(boxes))
    if fractions:
        boxes = {image_id: _in_pixels(found, images, image_id, b) for image_id, b in boxes.items()}
        notes.append("the boxes are fractions of the images' sizes: multiplied by these")
    non_finite = [issue for i, rows in boxes.items() for issue in _non_finite(found, i, rows)]
    kept = {image_id: rows[np.isfinite(rows[:, 4])] for image_id, rows in boxes.items()}
    num_non_positive = sum(int((rows[:, 2:4] <= 0).any(axis=1).sum()) for rows in kept.values())
    return Predictions(
        kept, found, columns, fractions, tuple(non_finite), num_non_positive, tuple(notes)
    )


def examples(items: Sequence, limit: int = _NUM_SHOWN) -> str:
    """The first items, separated by semicolons."""
    return "; ".join(map(str, items[:limit])) + ("; ..." if len(items) > limit else "")


def notes_on_names(matches: NameMatches, images: ImageNames) -> list[str]:
    """A sentence for each kind of names that were not found, or not found by their folders."""
    notes = []
    if matches.unknown:
        notes.append(
            f"{len(matches.unknown)} images are not among the evaluated ones; their detections "
            f"are left out: {examples(matches.unknown)}"
        )
    if matches.ambiguous:
        notes.append(
            f"{len(matches.ambiguous)} names may be of several images, or several of one; their "
            f"detections are left out: {examples(matches.ambiguous)}"
        )
    if matches.by_last_part:
        name = matches.by_last_part[0]
        notes.append(
            f"{len(matches.by_last_part)} images have other folders than the annotated ones and "
            f"are taken by their file names ({name} is {images.names[matches.images[name]]})"
        )
    return notes


def stack(rows: Mapping[ImageId, np.ndarray]) -> np.ndarray:
    """(N, K) all rows, of the columns that all images with detections have."""
    filled = [array for array in rows.values() if len(array)]
    width = min((array.shape[1] for array in filled), default=5)
    return np.concatenate([np.zeros((0, width)), *(array[:, :width] for array in filled)])


def _guess(found: FoundRows) -> tuple[Columns, str]:
    rows = stack(found.rows)
    if lacks_score(rows):
        raise ColumnsError(
            f"{found.source}: the lines are a class, a centre and a size (YOLO) without a score, "
            "as labels are; write predictions with their scores (Ultralytics: save_conf=True)"
        )
    guess = guess_columns(rows)
    if guess is None:
        return XYWH, ""
    columns, meaning = guess
    return columns, f"the numbers of a line are read as {meaning}: --columns={columns}"


def _in_pixels(
    found: FoundRows, images: ImageNames, image_id: ImageId, boxes: np.ndarray
) -> np.ndarray:
    if not len(boxes):
        return boxes
    size = images.size(image_id)
    if size is None:
        raise ColumnsError(
            f"{found.source}: the boxes are fractions of the images' sizes, and the size of "
            f"{images.names[image_id]} is unknown: give --image-root DIR, the folder of the images"
        )
    height, width = size
    return boxes * np.array([width, height, width, height, 1.0])


def _non_finite(found: FoundRows, image_id: ImageId, boxes: np.ndarray) -> list[PredictionIssue]:
    place, lines = str(found.places.get(image_id, image_id)), found.lines.get(image_id)
    return [
        PredictionIssue(
            place,
            f"detection {row + 1}" if lines is None else lines[row],
            f"score {boxes[row, 4]}" if not np.isfinite(boxes[row, 4]) else f"box {boxes[row, :4]}",
        )
        for row in np.flatnonzero(~np.isfinite(boxes).all(axis=1))
    ]
