"""Columns of any order give the same boxes."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from srn_d2.evaluation.predictions.columns import (
    XYWH,
    ColumnsError,
    are_fractions,
    guess_columns,
    header_columns,
    lacks_score,
    parse_columns,
)

BOXES = np.array([[10, 20, 30, 40, 0.9], [15.5, 700, 62, 81, 0.25], [300, 60, 21, 25, 0.5]])


def write(names, boxes=BOXES):
    """The boxes as rows of these columns."""
    x, y, w, h, score = boxes.T
    values = {"x": x, "y": y, "w": w, "h": h, "score": score, "-": np.zeros(len(boxes))}
    values |= {"x1": x, "y1": y, "x2": x + w, "y2": y + h, "cx": x + w / 2, "cy": y + h / 2}
    return np.column_stack([values[name] for name in names.split(",")])


@pytest.mark.parametrize(
    "names", ["x,y,w,h,score", "x1,y1,x2,y2,score", "-,cx,cy,w,h,score", "cx,cy,h,w,score"]
)
def test_any_order_gives_the_boxes(names):
    for order in itertools.permutations(names.split(",")):
        columns = parse_columns(",".join(order))
        np.testing.assert_allclose(columns.to_boxes(write(",".join(order))), BOXES)


def test_names_of_other_tools():
    assert str(parse_columns("xmin, ymin, xmax, ymax, confidence")) == "x1,y1,x2,y2,score"
    assert str(parse_columns("label,left,top,right,bottom,prob")) == "-,x1,y1,x2,y2,score"
    assert str(parse_columns("left,top,width,height,conf")) == "x,y,w,h,score"
    assert header_columns(["file", "x", "y"]) is None


@pytest.mark.parametrize("text", ["", "x,y,w,h", "x,y,w,score", "x,x2,w,h,score", "x,y,y,h,score"])
def test_columns_without_a_box_and_a_score(text):
    with pytest.raises(ColumnsError, match=r"expected x,y,w,h,score"):
        parse_columns(text)


def test_too_few_numbers():
    with pytest.raises(ColumnsError, match="there are 5 numbers"):
        parse_columns("-,x,y,w,h,score").to_boxes(BOXES)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (BOXES, None),
        (write("score,x,y,w,h"), "score,x,y,w,h"),
        (write("-,x,y,w,h,score"), "-,x,y,w,h,score"),
        (write("-,score,x,y,w,h"), "-,score,x,y,w,h"),
        (write("x,y,w,h,-,score"), "x,y,w,h,-,score"),
        (write("x,y,w,h,score,-"), None),
        (write("-,cx,cy,w,h,score", BOXES / [1000, 1000, 1000, 1000, 1]), "-,cx,cy,w,h,score"),
    ],
)
def test_columns_told_by_the_ranges(rows, expected):
    guess = guess_columns(rows)
    assert (None if guess is None else str(guess[0])) == expected


_PIXELS = hnp.arrays(np.float64, (6, 4), elements=st.integers(2, 3000).map(float))
_SCORES = hnp.arrays(np.float64, (6, 1), elements=st.floats(0, 1))


@given(_PIXELS, _SCORES)
def test_boxes_in_pixels_are_left_alone(boxes, scores):
    rows = np.hstack([boxes, scores])
    assert guess_columns(rows) is None
    assert guess_columns(np.hstack([rows, boxes])) is None  # landmarks after the score
    assert not are_fractions(XYWH.to_boxes(rows + np.array([3, 0, 0, 0, 0])))
    assert not lacks_score(rows)


def test_labels_of_yolo_have_no_score():
    assert lacks_score(np.array([[0, 0.5, 0.4, 0.1, 0.2], [0, 0.25, 0.4, 0.1, 0.3]]))
