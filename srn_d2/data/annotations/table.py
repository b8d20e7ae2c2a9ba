"""What a reader finds in an annotation file: images and boxes as arrays."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .face_annotations import FaceAnnotations


@dataclass
class FaceTable:
    """The images and the faces of one annotation file.

    Attributes:
        source: the file.
        names: of each image, N of them; as in the file until they are resolved below a folder.
        image_ids: of each image.
        boxes: (M, 4) float64, in the file's convention until the table is checked, then XYWH in
            pixels; sorted by image.
        image_of: (M,) row of each box's image, not decreasing.
        ignored: (M,) bool, True for ignore regions.
        columns: further keys of the annotations -> values (M,).
        declared_sizes: (N, 2) width and height that the file gives, 0 where it gives none.
        paths: (N) absolute paths, once resolved.
        sizes: (N, 2) upright width and height in the images' headers, 0 where unknown.
        dropped: why boxes were left out -> their number.
        notes: what was taken differently from how it stands in the file, a sentence each.
        box_format: what the columns or the format say the four numbers are.
        where: row of a box -> where in the file it stands, as messages have it.
    """

    source: str
    names: list[str]
    image_ids: list[Any]
    boxes: np.ndarray
    image_of: np.ndarray
    ignored: np.ndarray
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    declared_sizes: np.ndarray | None = None
    paths: list[str] | None = None
    sizes: np.ndarray | None = None
    dropped: Counter = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    box_format: str = "xywh"
    is_crowd: bool = True
    where: Callable[[int], str] = "row {}".format

    @property
    def num_faces(self) -> int:
        """The number of boxes that are no ignore regions."""
        return int(len(self.ignored) - self.ignored.sum())

    def best_sizes(self) -> np.ndarray:
        """(N, 2) width and height: the header's, else the file's, else 0."""
        sizes = np.zeros((len(self.names), 2))
        for known in (self.declared_sizes, self.sizes):
            if known is not None:
                sizes = np.where(known > 0, known, sizes)
        return sizes

    def keep(self, mask: np.ndarray) -> None:
        """Leave out all boxes but those of ``mask`` (M,)."""
        if mask.all():
            return
        rows = np.flatnonzero(mask)
        where = self.where
        self.where = lambda row: where(int(rows[row]))
        self.boxes, self.image_of = self.boxes[rows], self.image_of[rows]
        self.ignored = self.ignored[rows]
        self.columns = {key: values[rows] for key, values in self.columns.items()}

    def sort_by_image(self) -> None:
        """Bring the boxes into the images' order; those of one image stay in theirs."""
        order = np.argsort(self.image_of, kind="stable")
        if (order[1:] > order[:-1]).all():
            return
        where = self.where
        self.where = lambda row: where(int(order[row]))
        self.boxes, self.image_of = self.boxes[order], self.image_of[order]
        self.ignored = self.ignored[order]
        self.columns = {key: values[order] for key, values in self.columns.items()}

    def drop_empty_boxes(self) -> None:
        """Leave out the boxes without width or height, which must be XYWH, and count them."""
        has_area = (self.boxes[:, 2:] > 0).all(axis=1)
        if not has_area.all():
            self.dropped["no width or no height"] += int((~has_area).sum())
            self.keep(has_area)

    def summary(self) -> str:
        """One line: images, faces, ignored, dropped and why, and the notes."""
        parts = [
            f"{len(self.names)} images",
            f"{self.num_faces} faces",
            f"{int(self.ignored.sum())} ignored",
        ]
        reasons = ", ".join(f"{number} {reason}" for reason, number in self.dropped.items())
        parts.append(f"{sum(self.dropped.values())} dropped{f' ({reasons})' if reasons else ''}")
        return "; ".join([f"{self.source}: {', '.join(parts)}", *self.notes])

    def to_dicts(self) -> list[dict[str, Any]]:
        """detectron2's list of dicts; "annotations" are :class:`FaceAnnotations`."""
        bounds = np.searchsorted(self.image_of, np.arange(len(self.names) + 1)).tolist()
        paths: Sequence[str] = self.names if self.paths is None else self.paths
        sizes = self.best_sizes().astype(int).tolist()
        return [
            {
                "file_name": path,
                "image_id": image_id,
                **({"height": height, "width": width} if height and width else {}),
                "annotations": FaceAnnotations(
                    self.boxes[start:end],
                    self.ignored[start:end],
                    {key: values[start:end] for key, values in self.columns.items()},
                    self.is_crowd,
                ),
            }
            for path, image_id, (width, height), start, end in zip(
                paths, self.image_ids, sizes, bounds[:-1], bounds[1:], strict=True
            )
        ]
