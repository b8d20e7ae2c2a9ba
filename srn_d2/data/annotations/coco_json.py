"""Reader of COCO JSON, as the many tools write it that export to it."""

import os
from array import array
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from srn_d2.data.annotation_files import AnnotationFormatError, open_annotation_text

from .categories import canonical_key, choose_face_categories, list_categories, note_on_choice
from .foreign_formats import describe_foreign_json
from .json_stream import JsonStream
from .segmentation import segmentation_bounds
from .table import FaceTable

_NO_BOX = array("d", [float("nan")] * 4)
# Categories and ids that are named in a message.
NUM_SHOWN = 10


def read_coco(
    annotation_file: str | os.PathLike, categories: Sequence[str | int] | None = None
) -> FaceTable:
    """The faces of a COCO file; memory for the boxes, not for the whole file.

    Args:
        annotation_file: with the lists "images", "annotations" and, where there are several kinds
            of objects, "categories".
        categories: see :func:`choose_face_categories`.

    Raises:
        FileNotFoundError: the file is not there.
        AnnotationFormatError: it is damaged or of another format; names line or key.
    """
    source = str(annotation_file)
    content = _Content(source)
    with open_annotation_text(annotation_file) as file:
        stream = JsonStream(file, source)
        if stream.peek() != "{":
            raise _not_coco(stream, source)
        others: dict[str, Any] = {}
        for key in stream.keys():  # noqa: SIM118 -- a method of the stream
            if key in ("images", "annotations") and stream.peek() == "[":
                add = content.add_image if key == "images" else content.add_annotation
                for number, item in enumerate(stream.items()):
                    add(number, item)
                content.lists.add(key)
            else:
                others[key] = stream.value()
        if stream.peek():
            raise AnnotationFormatError(source, "the end", "more than one JSON object")
    if content.lists != {"images", "annotations"}:
        foreign = describe_foreign_json(others)
        if foreign:
            raise AnnotationFormatError(source, "its keys", foreign)
        missing = "images" if "images" not in content.lists else "annotations"
        raise AnnotationFormatError(source, missing, "this list is missing")
    return _to_table(content, others.get("categories"), categories)


class _Content:
    """Images and annotations of a COCO file, as columns."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lists: set[str] = set()
        self.names: list[str] = []
        self.image_rows: dict[Any, int] = {}  # id -> row
        self.sizes = array("d")
        # Of each annotation: numbers of its image's and its category's id, box, ignored.
        self.image_keys: dict[Any, int] = {}
        self.category_keys: dict[Any, int] = {}
        self.images, self.categories = array("l"), array("l")
        self.boxes, self.ignored = array("d"), array("b")
        self.problems: dict[int, tuple[str, str]] = {}  # annotation -> field, what is wrong
        self.notes: Counter = Counter()
        self.remark = ""  # on the choice of categories

    def add_image(self, number: int, image: Any) -> None:
        name, image_id = _field(image, "file_name"), _field(image, "id")
        if not isinstance(name, str) or not name.strip():
            raise self.error(f"images[{number}].file_name", "expected str", name)
        if isinstance(image_id, bool) or not isinstance(image_id, (int, str, float)):
            raise self.error(f"images[{number}].id", "expected int or str", image_id)
        if isinstance(image_id, float) and image_id.is_integer():
            image_id = int(image_id)
        if image_id in self.image_rows:
            raise AnnotationFormatError(
                self.source, f"images[{number}].id", f"{image_id!r} is there twice"
            )
        self.image_rows[image_id] = len(self.names)
        self.names.append(name)
        self.sizes.extend((to_number(image.get("width")), to_number(image.get("height"))))

    def add_annotation(self, number: int, annotation: Any) -> None:
        try:
            image = self.image_keys.setdefault(annotation["image_id"], len(self.image_keys))
            category = self.category_keys.setdefault(
                annotation.get("category_id"), len(self.category_keys)
            )
            ignored = annotation.get("iscrowd") or annotation.get("ignore")
            box = annotation["bbox"]
            if len(box) != 4:
                raise ValueError
            self.boxes.fromlist(box)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            image, category, ignored = self._add_unusual(number, annotation)
        self.images.append(image)
        self.categories.append(category)
        self.ignored.append(to_flag(ignored) if ignored else 0)

    def _add_unusual(self, number: int, annotation: Any) -> tuple[int, int, Any]:
        """An annotation with a missing or unusual field; what is wrong matters if it is a face."""
        for key in ("image_id", "category_id"):
            value = _field(annotation, key)
            is_optional = key == "category_id" and isinstance(annotation, dict)
            if not isinstance(value, (int, str, float)) and not (value is None and is_optional):
                raise self.error(f"annotations[{number}].{key}", "expected int or str", value)
        box = annotation.get("bbox")
        try:
            values = [float(value) for value in box]  # type: ignore[union-attr]
        except (TypeError, ValueError, OverflowError):  # the last: beyond all floats
            values = []
        if len(values) != 4 and not box:
            values, problem = segmentation_bounds(annotation.get("segmentation"))
            self.notes["boxes are the bounds of segmentations"] += bool(values)
            if problem:
                self.problems[number] = ("bbox", problem)
        elif len(values) != 4 or isinstance(box, (str, dict)):
            values = []
            self.problems[number] = ("bbox", f"expected four numbers, found {box!r:.80}")
        self.boxes.extend(values or _NO_BOX)
        return (
            self.image_keys.setdefault(annotation["image_id"], len(self.image_keys)),
            self.category_keys.setdefault(annotation.get("category_id"), len(self.category_keys)),
            annotation.get("iscrowd") or annotation.get("ignore"),
        )

    def error(self, where: str, expected: str, found: Any) -> AnnotationFormatError:
        return AnnotationFormatError(self.source, where, f"{expected}, found {found!r:.80}")


def _to_table(content: _Content, listed: Any, wanted: Sequence[str | int] | None) -> FaceTable:
    source = content.source
    category_of = np.frombuffer(content.categories, dtype=np.dtype("l")).astype(np.int64)
    is_face, dropped = _find_faces(content, category_of, listed, wanted)
    rows = np.flatnonzero(is_face)
    boxes = np.frombuffer(content.boxes, dtype=np.float64).reshape(-1, 4)[rows]
    for row in rows[~np.isfinite(boxes).all(axis=1)][:1].tolist():
        field, problem = content.problems.get(row, ("bbox", "expected four finite numbers"))
        raise AnnotationFormatError(source, f"annotations[{row}].{field}", problem)
    image_rows = _image_rows(content)
    image_of = image_rows[np.frombuffer(content.images, dtype=np.dtype("l"))[rows]]
    orphans = rows[image_of < 0]
    if len(orphans):
        image_id = list(content.image_keys)[content.images[orphans[0]]]
        raise AnnotationFormatError(
            source,
            f"annotations[{orphans[0]}].image_id",
            f"there is no image with the id {image_id!r} (so for {len(orphans)} of {len(rows)} "
            "faces)",
        )
    table = FaceTable(
        source,
        content.names,
        list(content.image_rows),
        boxes,
        image_of,
        np.frombuffer(content.ignored, dtype=bool)[rows],
        declared_sizes=np.frombuffer(content.sizes, dtype=np.float64).reshape(-1, 2),
        dropped=dropped,
        notes=[
            *(f"{number} {text}" for text, number in content.notes.items() if number),
            *([content.remark] if content.remark else []),
        ],
        where=lambda row: f"annotations[{rows[row]}].bbox",
    )
    table.sort_by_image()
    return table


def _image_rows(content: _Content) -> np.ndarray:
    """Of each id of ``image_keys`` the row of its image; -1 if there is none."""
    loose: dict[Hashable, int] = {}
    if any(image_id not in content.image_rows for image_id in content.image_keys):
        for image_id, row in content.image_rows.items():  # 1 and "1" may be the same image
            key = canonical_key(image_id)
            loose[key] = -1 if key in loose else row
    found = [
        content.image_rows.get(image_id, loose.get(canonical_key(image_id), -1) if loose else -1)
        for image_id in content.image_keys
    ]
    return np.array(found, dtype=np.int64)


def _find_faces(
    content: _Content, category_of: np.ndarray, listed: Any, wanted: Sequence[str | int] | None
) -> tuple[np.ndarray, Counter]:
    """Which annotations are faces (M,), and the numbers of the others."""
    source = content.source
    names = _category_names(listed, source)
    keys = [canonical_key(value) for value in content.category_keys]
    numbers = np.bincount(category_of, minlength=len(keys)).tolist()
    counts: Counter = Counter()
    for key, number in zip(keys, numbers, strict=True):
        counts[key] += number
    where = "categories"
    if not names:  # no list of categories: their ids alone
        where = "categories (the list is missing or empty)"
        names = {key: "no category_id" if key is None else str(key) for key in counts}
        if not names:
            return np.zeros(0, dtype=bool), Counter()
    unknown = {key: number for key, number in counts.items() if key not in names}
    if unknown and wanted is None:
        ids = ", ".join(f"{key} ({number})" for key, number in [*unknown.items()][:NUM_SHOWN])
        known = ", ".join(f"{key} {name!r}" for key, name in [*names.items()][:NUM_SHOWN])
        raise AnnotationFormatError(
            source,
            "annotations[].category_id",
            f"{sum(unknown.values())} of {len(category_of)} annotations have a category_id that "
            f"is not among the categories: found {ids}; the categories are {known}; correct "
            f"either, or pass categories=[...] with the ids or names that are faces",
        )
    # An id without an entry can be asked for by its number.
    names = {**names, **{key: f"id {key}" for key in unknown}}
    faces = choose_face_categories(names, counts, wanted, source, where)
    content.remark = note_on_choice(names, faces, wanted)
    is_chosen = np.array([key in faces for key in keys] or [False])
    dropped: Counter = Counter()
    others = {key: number for key, number in counts.items() if key not in faces and number}
    if others:
        shown = list_categories({key: names[key] for key in others}, others)
        dropped[f"of other categories: {shown}"] = sum(others.values())
    return is_chosen[category_of], dropped


def _category_names(listed: Any, source: str) -> dict[Hashable, str]:
    """Key -> name of the categories; {} if there is no list or it is empty."""
    if listed is None:
        return {}
    if not isinstance(listed, list):
        raise AnnotationFormatError(source, "categories", "expected a list")
    names: dict[Hashable, str] = {}
    for number, category in enumerate(listed):
        key = _field(category, "id")
        if isinstance(key, bool) or not isinstance(key, (int, str, float)):
            where = f"categories[{number}].id"
            raise AnnotationFormatError(source, where, f"expected int or str, found {key!r}")
        name, key = str(category.get("name") or key).strip(), canonical_key(key)
        if names.setdefault(key, name) != name:
            problem = f"{key} is the id of {names[key]!r} as well as of {name!r}: correct one"
            raise AnnotationFormatError(source, f"categories[{number}].id", problem)
    return names


def _not_coco(stream: JsonStream, source: str) -> AnnotationFormatError:
    if stream.peek() != "[":
        return AnnotationFormatError(source, "line 1", "expected a JSON object")
    foreign = describe_foreign_json(next(stream.items(), None))
    return AnnotationFormatError(
        source, "line 1", foreign or "expected a JSON object, found a list"
    )


def _field(item: Any, key: str) -> Any:
    return item.get(key) if isinstance(item, dict) else None


def to_number(value: Any) -> float:
    """A width or a height; 0 if it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if 0 < number < 1e9 else 0.0


def to_flag(value: Any) -> bool:
    """A flag as numbers, booleans or their texts."""
    if isinstance(value, str):
        return value.strip().lower() not in ("", "0", "0.0", "false", "no", "none", "null")
    return bool(value)
