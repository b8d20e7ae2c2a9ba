"""The annotations of one image in detectron2's form, kept as arrays until they are looked at."""

from collections.abc import Iterable, Mapping, MutableSequence
from typing import Any

import numpy as np

FACE_CLASS = 0


class FaceAnnotations(MutableSequence):
    """A list of detectron2's annotation dicts that takes a tenth of their memory at first.

    Whatever reads or changes an item makes it the list of dicts that it stands for; length,
    ``boxes``, ``ignored`` and pickling do not. Each dict has "bbox" (four floats, XYWH_ABS),
    "bbox_mode", "category_id" 0, "iscrowd", "ignore", and ``columns``.
    """

    __slots__ = ("_boxes", "_columns", "_crowd", "_dicts", "_ignored")

    def __init__(
        self,
        boxes: np.ndarray,
        ignored: np.ndarray,
        columns: Mapping[str, np.ndarray] | None = None,
        crowd: bool = True,
    ) -> None:
        """
        Args:
            boxes: (M, 4) float64, XYWH, pixels.
            ignored: (M,) bool, True for ignore regions.
            columns: further keys of the dicts -> their values, (M,).
            crowd: whether ignore regions are "iscrowd" as well.
        """
        self._boxes, self._ignored = boxes, ignored
        self._columns = dict(columns or {})
        self._crowd = crowd
        self._dicts: list[dict[str, Any]] | None = None

    @property
    def boxes(self) -> np.ndarray:
        """(M, 4) float64, XYWH, pixels; those of the arrays unless an item has been looked at."""
        if self._dicts is None:
            return self._boxes
        return np.array([a["bbox"] for a in self._dicts], dtype=np.float64).reshape(-1, 4)

    @property
    def ignored(self) -> np.ndarray:
        """(M,) bool, True for ignore regions."""
        if self._dicts is None:
            return self._ignored
        flags = [bool(a.get("ignore") or a.get("iscrowd")) for a in self._dicts]
        return np.array(flags, dtype=bool)

    @property
    def is_only_crowd(self) -> bool:
        """True if there is no annotation that is not "iscrowd"; an empty list is so."""
        if self._dicts is None:
            return bool(self._ignored.all()) and (self._crowd or not len(self._ignored))
        return all(annotation.get("iscrowd", 0) for annotation in self._dicts)

    def __len__(self) -> int:
        return len(self._boxes) if self._dicts is None else len(self._dicts)

    def __getitem__(self, index: Any) -> Any:
        return self._list()[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._list()[index] = value

    def __delitem__(self, index: Any) -> None:
        del self._list()[index]

    def insert(self, index: int, value: dict[str, Any]) -> None:
        self._list().insert(index, value)

    def __iter__(self):
        return iter(self._list())

    def __add__(self, other: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        return [*self, *other]

    def __radd__(self, other: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        return [*other, *self]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (list, FaceAnnotations)):
            return NotImplemented
        return self._list() == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._list())

    def __reduce__(self) -> tuple:
        if self._dicts is not None:
            return _as_list, (self._dicts,)
        # Bytes are pickled several times as fast as arrays.
        columns = {key: (str(v.dtype), v.tobytes()) for key, v in self._columns.items()}
        return _from_bytes, (self._boxes.tobytes(), self._ignored.tobytes(), columns, self._crowd)

    def _list(self) -> list[dict[str, Any]]:
        if self._dicts is None:
            self._dicts = self._make_dicts()
            self._boxes = self._ignored = np.empty(0)
            self._columns = {}
        return self._dicts

    def _make_dicts(self) -> list[dict[str, Any]]:
        from detectron2.structures import BoxMode  # heavy, and not needed before

        columns = [values.tolist() for values in self._columns.values()]
        rows = zip(*columns, strict=True) if columns else iter([()] * len(self._boxes))
        return [
            {
                "bbox": box,
                "bbox_mode": BoxMode.XYWH_ABS,
                "category_id": FACE_CLASS,
                "iscrowd": int(ignored and self._crowd),
                "ignore": ignored,
                **dict(zip(self._columns, row, strict=True)),
            }
            for box, ignored, row in zip(
                self._boxes.tolist(), self._ignored.tolist(), rows, strict=True
            )
        ]


def _from_bytes(
    boxes: bytes, ignored: bytes, columns: Mapping[str, tuple[str, bytes]], crowd: bool
) -> FaceAnnotations:
    return FaceAnnotations(
        np.frombuffer(boxes, dtype=np.float64).reshape(-1, 4),
        np.frombuffer(ignored, dtype=bool),
        {key: np.frombuffer(data, dtype=dtype) for key, (dtype, data) in columns.items()},
        crowd,
    )


def _as_list(dicts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return dicts
