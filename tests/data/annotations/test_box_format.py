"""What the four numbers of boxes are, over whole files."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srn_d2.data.annotation_files import AnnotationFormatError
from srn_d2.data.annotations import BOX_FORMATS, FaceTable, read_faces
from srn_d2.data.annotations.box_format import convert_boxes

WIDTH, HEIGHT = 640, 480


def table_of(boxes, size=(WIDTH, HEIGHT)):
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    num = len(boxes)
    sizes = np.full((num, 2), size, dtype=np.float64)
    names = [f"{i}.jpg" for i in range(num)]
    return FaceTable(
        "f.csv", names, names, boxes, np.arange(num), np.zeros(num, dtype=bool), sizes=sizes
    )


def write_as(boxes, box_format, size=(WIDTH, HEIGHT)):
    """XYWH pixels -> the numbers of another format."""
    low, sides = boxes[:, :2], boxes[:, 2:]
    kind, _, unit = box_format.partition("_")
    written = {
        "xywh": boxes,
        "xyxy": np.column_stack([low, low + sides]),
        "cxcywh": np.column_stack([low + sides / 2, sides]),
    }[kind]
    written = written / np.tile(size, 2) if unit else written
    return written * 100 if unit == "percent" else written


@st.composite
def data_sets(draw):
    """Faces anywhere in their images, some at each edge."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num = draw(st.integers(40, 300))
    sides = rng.lognormal(draw(st.floats(2.5, 4.5)), 0.6, (num, 2)).clip(8, 300)
    low = rng.random((num, 2)) * ([WIDTH, HEIGHT] - sides)
    low[: num // 10] = 0
    low[num // 10 : num // 5] = ([WIDTH, HEIGHT] - sides)[num // 10 : num // 5]
    return np.column_stack([low, sides])


def _named(box_format: str) -> str:
    """In percent, few boxes may fit two of the orders of numbers: any is named."""
    return r"box_format='\w+_percent'" if "percent" in box_format else f"box_format='{box_format}'"


@given(data_sets(), st.sampled_from(list(BOX_FORMATS)))
@settings(max_examples=30)
def test_each_format_is_told_from_the_one_that_is_expected(boxes, box_format):
    written = write_as(boxes, box_format)
    if box_format == "xywh":
        table = table_of(written)
        convert_boxes(table)
    else:
        with pytest.raises(AnnotationFormatError, match=_named(box_format)):
            convert_boxes(table_of(written))
        table = table_of(written)
        convert_boxes(table, box_format)
    np.testing.assert_allclose(table.boxes, boxes, atol=1e-6)
    table = table_of(written)  # the user knows better
    convert_boxes(table, "xywh")
    np.testing.assert_array_equal(table.boxes, written)


@given(data_sets(), st.integers(0, 10**6))
@settings(max_examples=30)
def test_faces_that_are_cut_off_by_the_edges_are_no_sign(boxes, seed):
    """Annotated in full, they reach beyond the image on all sides."""
    rng = np.random.default_rng(seed)
    cut = rng.random(len(boxes)) < 0.2
    boxes[cut, :2] = rng.choice([-0.4, 1], (cut.sum(), 2)) * boxes[cut, 2:] + rng.integers(
        0, 2, (cut.sum(), 2)
    ) * ([WIDTH, HEIGHT] - 1.6 * boxes[cut, 2:])
    boxes[0, :2] = -0.4 * boxes[0, 2:]
    table = table_of(boxes)
    convert_boxes(table)
    np.testing.assert_array_equal(table.boxes, boxes)


@given(st.integers(20, 200), st.integers(0, 10**6))
@settings(max_examples=30)
def test_portraits_are_no_sign_of_corners(num, seed):
    """One large face in the middle of each picture: x2 > x1 in either reading."""
    rng = np.random.default_rng(seed)
    sides = rng.uniform(0.35, 0.5, (num, 2)) * [WIDTH, HEIGHT]
    low = ([WIDTH, HEIGHT] - sides) * rng.uniform(0.4, 0.6, (num, 2))
    boxes = np.column_stack([low, sides])
    table = table_of(boxes)
    convert_boxes(table)
    np.testing.assert_array_equal(table.boxes, boxes)


def test_corners_in_the_upper_left_of_large_pictures():
    """All of them fit as XYWH too, but x2 goes with x1."""
    rng = np.random.default_rng(0)
    sides = rng.uniform(20, 40, (50, 2))
    low = rng.random((50, 2)) * ([WIDTH / 2, HEIGHT / 2] - sides)
    written = write_as(np.column_stack([low, sides]), "xyxy")
    with pytest.raises(AnnotationFormatError, match="grows with the first"):
        convert_boxes(table_of(written))


@pytest.mark.parametrize(
    ("row", "box_format"),
    [
        ("a.jpg,100,80,150,110", "xyxy"),
        ("a.jpg,0.2,0.3,0.1,0.1", "xywh_fraction"),
        ("a.jpg,150,110,18,16", "cxcywh"),
    ],
)
def test_in_a_file(write, pictures, row, box_format):
    path = write("f.csv", f"file,x,y,w,h\n{row}\n")
    with pytest.raises(AnnotationFormatError, match=rf"f\.csv, line 2: .*'{box_format}'") as error:
        read_faces(path, pictures)
    assert row.split(",")[1] in str(error.value)
    table = read_faces(path, pictures, box_format=box_format)
    box = table.boxes[0]
    assert (box >= 0).all()
    assert box[0] + box[2] <= 160
    assert box[1] + box[3] <= 120


def test_a_format_that_there_is_not(pictures, write):
    with pytest.raises(ValueError, match="box_format is one of xywh, xyxy"):
        read_faces(write("f.csv", "file,x,y,w,h\n"), pictures, box_format="ltrb")
    path = write("f.csv", "file,x,y,w,h\nb.jpg,0.1,0.1,0.2,0.2\n")
    with pytest.raises(AnnotationFormatError, match=r"fraction: the size of .*b\.jpg"):
        read_faces(path, box_format="xywh_fraction")


@given(data_sets(), st.integers(0, 10**6))
@settings(max_examples=20)
def test_boxes_of_other_pictures_are_an_error(boxes, seed):
    """x and y exchanged on tall images, or drawn on pictures twice as large: not silently kept."""
    low, sides = boxes[:, :2], boxes[:, 2:]
    for wrong in (np.column_stack([low + np.array([WIDTH, 0]), sides]), boxes * 3):
        with pytest.raises(AnnotationFormatError, match=r"f\.csv, row"):
            convert_boxes(table_of(wrong))
    few = boxes.copy()
    few[seed % len(few)] = [WIDTH + 5, 10, 20, 20]
    table = table_of(few)
    convert_boxes(table)
    assert table.notes == [
        f"1 of {len(few)} boxes lie outside of their images, the first [645.0, 10.0, 20.0, 20.0] "
        f"(left, top, width, height) in '{seed % len(few)}.jpg'"
    ]
    table = table_of(boxes + np.array([WIDTH, 0, 0, 0]))
    convert_boxes(table, "xywh")  # the user knows better, and is told
    assert f"{len(boxes)} of {len(boxes)} boxes lie outside" in table.notes[0]


def test_small_faces_in_a_corner_are_not_percent():
    rng = np.random.default_rng(3)
    boxes = np.column_stack([rng.random((200, 2)) * 40, rng.random((200, 2)) * 20 + 8])
    table = table_of(boxes)
    convert_boxes(table)
    np.testing.assert_array_equal(table.boxes, boxes)
