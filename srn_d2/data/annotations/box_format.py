"""What the four numbers of boxes are: detected over a whole file, converted to XYWH in pixels."""

import numpy as np

from srn_d2.data.annotation_files import AnnotationFormatError

from .table import FaceTable

# Name -> what it says, for messages. "_fraction", "_percent": of the image's width and height.
BOX_FORMATS = {
    "xywh": "left, top, width and height in pixels",
    "xyxy": "x1, y1, x2, y2 in pixels",
    "cxcywh": "centre, width and height in pixels",
    "xywh_fraction": "left, top, width and height as fractions of the image's",
    "xyxy_fraction": "x1, y1, x2, y2 as fractions of the image's size",
    "cxcywh_fraction": "centre, width and height as fractions of the image's",
    "xywh_percent": "left, top, width and height in percent of the image's",
    "xyxy_percent": "x1, y1, x2, y2 in percent of the image's size",
    "cxcywh_percent": "centre, width and height in percent of the image's",
}
_KINDS = ("xywh", "xyxy", "cxcywh")
_UNITS = {"fraction": 1.0, "percent": 0.01}  # of the image's size
# A box fits if it reaches beyond the image by at most this part of its side, and these pixels
# (or this fraction of the image).
_SIDE_TOLERANCE, _PIXEL_TOLERANCE, _FRACTION_TOLERANCE = 0.1, 2.0, 0.005
# Another reading is taken for the right one if this part of the boxes does not fit as they are
# given, and less than a tenth of that does not fit in the other reading.
_MISFITS, _RELATION = 0.01, 0.1
# Fractions: this part of the boxes has all numbers up to the limit (rounding, faces cut off).
_SHARE_OF_FRACTIONS, _FRACTION_LIMIT = 0.95, 1.2
# Corners (x1, x2) of small faces go together over the image, left and width do not.
_MIN_BOXES, _MIN_CORRELATION, _MIN_SPREAD = 10, 0.9, 0.05
# Percent: on images of at least this width and height no number is above 100, and on both axes
# some box is as far from the origin as this. In pixels all faces would be in a corner.
_PERCENT_SIDE, _PERCENT_FAR = 250, 50.0
# Boxes that lie outside of their images are an error if they are more than this part.
_MAX_OUTSIDE = 0.1


def convert_boxes(table: FaceTable, box_format: str | None = None) -> None:
    """Make a table's boxes XYWH in pixels.

    Args:
        table: with sizes of the images, for fractions and for the detection.
        box_format: of ``BOX_FORMATS``; None: what the file says, which is checked against the
            images.

    Raises:
        ValueError: there is no such format.
        AnnotationFormatError: the boxes look like another format than the file says, many lie
            outside of their images, or fractions lack the sizes of their images.
    """
    if box_format is not None and box_format not in BOX_FORMATS:
        raise ValueError(f"box_format is one of {', '.join(BOX_FORMATS)}, not {box_format!r}")
    sizes = table.best_sizes()[table.image_of]  # (M, 2)
    if box_format is None:
        _check(table, sizes)
    kind, _, unit = (box_format or table.box_format).partition("_")
    if unit:
        unknown = (sizes <= 0).any(axis=1)
        if unknown.any():
            name = table.names[table.image_of[np.flatnonzero(unknown)[0]]]
            problem = f"{unit}: the size of the image {name!r} is needed, and not known"
            raise AnnotationFormatError(table.source, "boxes", problem)
        table.boxes = table.boxes * np.tile(sizes, 2) * _UNITS[unit]
    if kind != "xywh":
        table.boxes = _to_xywh(table.boxes, kind)
    _check_places(table, sizes, is_told=box_format is not None)


def _check_places(table: FaceTable, sizes: np.ndarray, is_told: bool) -> None:
    """Note the boxes that lie outside of their images; raise if they are many."""
    low, sides = table.boxes[:, :2], table.boxes[:, 2:]
    is_outside = ((low >= sizes) | (low + sides <= 0)).any(axis=1)
    is_outside &= (sizes > 0).all(axis=1) & (sides > 0).all(axis=1)
    rows = np.flatnonzero(is_outside)
    if not len(rows):
        return
    name = table.names[table.image_of[rows[0]]]
    problem = (
        f"{len(rows)} of {len(table.boxes)} boxes lie outside of their images, the first "
        f"{table.boxes[rows[0]].round(1).tolist()} (left, top, width, height) in {name!r}"
    )
    if len(rows) <= _MAX_OUTSIDE * len(table.boxes) or is_told:
        table.notes.append(problem)
        return
    raise AnnotationFormatError(
        table.source,
        table.where(int(rows[0])),
        f"{problem}: were they drawn on larger pictures, or are x and y exchanged? Correct them, "
        f"or pass box_format={table.box_format!r} if they are as given",
    )


def _to_xywh(boxes: np.ndarray, kind: str) -> np.ndarray:
    first, second = boxes[:, :2], boxes[:, 2:]
    if kind == "xyxy":
        return np.column_stack([first, second - first])
    return boxes if kind == "xywh" else np.column_stack([first - second / 2, second])


def _check(table: FaceTable, sizes: np.ndarray) -> None:
    """Raise if the boxes are another format than the file says."""
    boxes, given = table.boxes, table.box_format
    is_known = (sizes > 0).all(axis=1)
    if not (boxes[:, 2:] > 0).any():
        return  # no boxes, or nothing but empty ones
    if (np.abs(boxes).max(axis=1) <= _FRACTION_LIMIT).mean() >= _SHARE_OF_FRACTIONS:
        units = np.ones((len(boxes), 2))
        likely = _likely_kinds(boxes, units, given, _FRACTION_TOLERANCE) or [given]
        _refuse(table, [f"{kind}_fraction" for kind in likely], "all numbers are up to 1")
    boxes, sizes = boxes[is_known], sizes[is_known]
    if _are_percent(boxes, sizes):
        units = np.full((len(boxes), 2), 100.0)
        likely = _likely_kinds(boxes, units, given, _PIXEL_TOLERANCE) or [given]
        _refuse(table, [f"{kind}_percent" for kind in likely], "no number is greater than 100")
    likely = _likely_kinds(boxes, sizes, given, _PIXEL_TOLERANCE) if len(boxes) else []
    if likely:
        num_beyond = int((~_fits(boxes, sizes, given, _PIXEL_TOLERANCE)).sum())
        sign = f"{num_beyond} of {len(boxes)} boxes reach beyond their image otherwise"
        if not num_beyond:
            sign = "the third number grows with the first, and the fourth with the second"
        _refuse(table, likely, sign)


def _are_percent(boxes: np.ndarray, sizes: np.ndarray) -> bool:
    if len(boxes) < _MIN_BOXES or sizes.min() < _PERCENT_SIDE:
        return False
    is_far = (boxes[:, :2].max(axis=0) >= _PERCENT_FAR).all()
    return bool(is_far and boxes.min() >= 0 and boxes.max() <= 100)


def _refuse(table: FaceTable, likely: list[str], sign: str) -> None:
    shown = " or ".join(f"{name!r} ({BOX_FORMATS[name]})" for name in likely)
    raise AnnotationFormatError(
        table.source,
        table.where(0),
        f"the boxes look like {shown}, not {BOX_FORMATS[table.box_format]}: {sign}; "
        f"the first is {table.boxes[0].round(4).tolist()}. Say which they are: "
        f"box_format={likely[0]!r}, or {table.box_format!r} if they are as given",
    )


def _likely_kinds(boxes: np.ndarray, sizes: np.ndarray, given: str, tolerance: float) -> list[str]:
    """The readings that fit far better than ``given`` does; [] if there is none."""
    misfits = {kind: int((~_fits(boxes, sizes, kind, tolerance)).sum()) for kind in _KINDS}
    others = [kind for kind in _KINDS if kind != given]
    if misfits[given] >= max(1, _MISFITS * len(boxes)):
        best = min(misfits[kind] for kind in others)
        if best <= _RELATION * misfits[given]:
            return [kind for kind in others if misfits[kind] == best]
    if given == "xywh" and not misfits["xyxy"] and _corners_go_together(boxes / np.tile(sizes, 2)):
        return ["xyxy"]
    return []


def _corners_go_together(fractions: np.ndarray) -> bool:
    if len(fractions) < _MIN_BOXES or (fractions.std(axis=0) < _MIN_SPREAD).any():
        return False
    correlation = np.corrcoef(fractions.T)
    return min(correlation[0, 2], correlation[1, 3]) >= _MIN_CORRELATION


def _fits(boxes: np.ndarray, sizes: np.ndarray, kind: str, slack: float) -> np.ndarray:
    """Which boxes, read as ``kind``, are in their image (M,); empty ones fit as XYWH."""
    boxes = _to_xywh(boxes, kind)
    low, sides = boxes[:, :2], boxes[:, 2:]
    tolerance = np.maximum(sides, 0) * _SIDE_TOLERANCE + slack
    is_inside = (low >= -tolerance) & (low + sides <= sizes + tolerance)
    return is_inside.all(axis=1) & ((sides > 0).all(axis=1) | (kind != "xyxy"))
