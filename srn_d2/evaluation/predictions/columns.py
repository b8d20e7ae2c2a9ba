"""The order of the numbers in a line of predictions, and its conversion to x, y, w, h, score.

N detections · K columns
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# What tools call a column, in lower case -> its name here.
_ALIASES = {
    "x": ("x", "left", "bbox_x", "bb_left", "box_x"),
    "y": ("y", "top", "bbox_y", "bb_top", "box_y"),
    "w": ("w", "width", "bbox_w", "bb_width", "bbox_width", "box_w"),
    "h": ("h", "height", "bbox_h", "bb_height", "bbox_height", "box_h"),
    "x1": ("x1", "xmin", "x_min", "x0"),
    "y1": ("y1", "ymin", "y_min", "y0"),
    "x2": ("x2", "xmax", "x_max", "right"),
    "y2": ("y2", "ymax", "y_max", "bottom"),
    "cx": ("cx", "xc", "x_center", "xcenter", "center_x", "x_centre"),
    "cy": ("cy", "yc", "y_center", "ycenter", "center_y", "y_centre"),
    "score": ("score", "conf", "confidence", "prob", "probability", "s"),
}
_NAMES = {alias: name for name, aliases in _ALIASES.items() for alias in aliases}
_OTHER = "-"  # a column that is not used
# (first edge or centre, second edge or size) along x; along y likewise.
_PAIRS = (("x", "w"), ("x1", "w"), ("x1", "x2"), ("x", "x2"), ("cx", "w"))


class ColumnsError(ValueError):
    """Error for columns that give no box with a score, or that the rows do not have."""


@dataclass(frozen=True)
class Columns:
    """Names of the numbers of a line, such as ``("x", "y", "w", "h", "score")``.

    Attributes:
        names: x y w h, x1 y1 x2 y2, cx cy, score; "-" for what is not used.
    """

    names: tuple[str, ...]

    def __str__(self) -> str:
        return ",".join(self.names)

    @property
    def width(self) -> int:
        """Number of columns that a row needs."""
        used = [i for i, name in enumerate(self.names) if name != _OTHER]
        return max(used) + 1

    def to_boxes(self, rows: np.ndarray) -> np.ndarray:
        """(N, 5) x, y, w, h, score from (N, K) rows.

        Raises:
            ColumnsError: the rows have too few columns.
        """
        if rows.shape[1] < self.width:
            if len(rows):
                raise ColumnsError(f"there are {rows.shape[1]} numbers, but the columns are {self}")
            return np.zeros((0, 5))
        column = {name: rows[:, i] for i, name in enumerate(self.names) if name != _OTHER}
        with np.errstate(invalid="ignore", over="ignore"):  # infinite boxes
            x, w = _extent(column, "xw")
            y, h = _extent(column, "yh")
        return np.column_stack([x, y, w, h, column["score"]]).astype(np.float64)


def parse_columns(text: str) -> Columns:
    """Columns from names with commas between them, in the words of any tool (xmin, conf, ...).

    Unknown names are columns that are not used.

    Raises:
        ColumnsError: a box or the score is missing, or there twice.
    """
    names = tuple(_NAMES.get(word.strip().lower(), _OTHER) for word in text.split(","))
    if "x2" in names or "y2" in names:  # "left top right bottom"
        names = tuple({"x": "x1", "y": "y1"}.get(name, name) for name in names)
    used = [name for name in names if name != _OTHER]
    pairs = {pair for pair in _PAIRS if set(pair) <= set(used)}
    has_y = {pair for pair in _PAIRS if {_vertical(name) for name in pair} <= set(used)}
    if len(used) != 5 or len(set(used)) != 5 or not pairs or not has_y or "score" not in used:
        raise ColumnsError(
            f"columns {text!r} are not a box and a score: expected x,y,w,h,score or "
            'x1,y1,x2,y2,score or cx,cy,w,h,score in any order, "-" for other columns'
        )
    return Columns(names)


def _vertical(name: str) -> str:
    return name.replace("x", "y").replace("w", "h")


def header_columns(words: Sequence[str]) -> Columns | None:
    """The columns that a header names, or None where it does not name a box and a score."""
    try:
        return parse_columns(",".join(re.sub(r"[^\w]", "", word) for word in words))
    except ColumnsError:
        return None


XYWH = parse_columns("x,y,w,h,score")
XYXY = parse_columns("x1,y1,x2,y2,score")
CENTRE = parse_columns("cx,cy,w,h,score")
YOLO = parse_columns("-,cx,cy,w,h,score")

# What other tools write where x, y, w, h, score is expected.
OTHER_READINGS = (
    XYWH,
    XYXY,
    CENTRE,
    parse_columns("y1,x1,y2,x2,score"),
    parse_columns("y,x,h,w,score"),
    parse_columns("y,x,w,h,score"),
    parse_columns("score,x,y,w,h"),
    parse_columns("score,x1,y1,x2,y2"),
    parse_columns("-,x,y,w,h,score"),
    parse_columns("-,x1,y1,x2,y2,score"),
    parse_columns("-,score,x,y,w,h"),
    parse_columns("-,score,x1,y1,x2,y2"),
    parse_columns("-,score,cx,cy,w,h"),
    parse_columns("x1,y1,x2,y2,-,score"),
)


def guess_columns(rows: np.ndarray) -> tuple[Columns, str] | None:
    """Columns that the ranges of the numbers leave as the only ones, with the reason.

    None where ``x, y, w, h, score`` is possible. Whether two numbers are a size or a corner is
    not told by ranges; see :mod:`.column_checks`.

    Args:
        rows: (N, K) all rows of a data set, K >= 5.
    """
    if len(rows) < 3 or rows.shape[1] < 5 or not np.isfinite(rows).all():
        return None
    whole = (rows == np.trunc(rows)).all(axis=0)
    is_unit = ((rows >= 0) & (rows <= 1)).all(axis=0)
    is_score, is_class = (
        is_unit & ~whole,
        whole & (rows >= 0).all(axis=0) & (rows < 100).all(axis=0),
    )
    is_large = (rows > 1).mean(axis=0) > 0.5
    if rows.shape[1] >= 6:
        if is_class[0] and is_unit[1:5].all() and not whole[1:5].all() and is_unit[5]:
            return YOLO, "class, centre and size as fractions, score (YOLO)"
        if is_class[0] and is_score[1] and is_large[2:6].any() and not is_unit[2:6].any():
            return parse_columns("-,score,x,y,w,h"), "class, score, box"
        if is_class[0] and not is_unit[1:5].any() and is_score[5] and is_large[4]:
            return parse_columns("-,x,y,w,h,score"), "class, box, score"
        if is_class[4] and len(np.unique(rows[:, 4])) == 1 and is_score[5]:
            return parse_columns("x,y,w,h,-,score"), "box, class, score"
    if is_score[0] and not is_unit[1:5].any() and is_large[3:5].all():
        return parse_columns("score,x,y,w,h"), "score, box"
    return None


def lacks_score(rows: np.ndarray) -> bool:
    """True if rows of five are YOLO's class, centre and size, which have no score."""
    if len(rows) < 2 or rows.shape[1] != 5 or not np.isfinite(rows).all():
        return False
    fractions = rows[:, 1:]
    is_class = (rows[:, 0] == np.trunc(rows[:, 0])).all() and (rows[:, 0] >= 0).all()
    is_unit = ((fractions >= 0) & (fractions <= 1)).all()
    return bool(is_class and is_unit and (fractions != np.trunc(fractions)).any(axis=1).all())


def are_fractions(boxes: np.ndarray) -> bool:
    """True if (N, 5) boxes are fractions of the image's size: no number is greater than 2."""
    boxes = boxes[np.isfinite(boxes).all(axis=1), :4]
    has_area = (boxes[:, 2:] > 0).all(axis=1)
    return bool(has_area.any() and (np.abs(boxes) <= 2).all() and (boxes != np.trunc(boxes)).any())


def _extent(column: dict[str, np.ndarray], names: str) -> tuple[np.ndarray, np.ndarray]:
    """First edge and size along x (names "xw") or y ("yh")."""
    edge, size = names
    if f"c{edge}" in column:
        return column[f"c{edge}"] - column[size] / 2, column[size]
    first = column[edge if edge in column else f"{edge}1"]
    return first, column[size] if size in column else column[f"{edge}2"] - first
