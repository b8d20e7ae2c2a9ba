"""Text files of predictions as other tools write them have the rows of the official file."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srn_d2.evaluation.predictions import text_files
from srn_d2.evaluation.predictions.text_files import parse_text
from srn_d2.evaluation.widerface.prediction_files import PredictionFormatError, format_predictions

ROWS = [[541.5, 354.0, 36.0, 46.25, 0.98], [101.0, 98.25, 12.0, 17.0, 0.07]]


def plain(row):
    return " ".join(map(repr, row))


def lines_of(rows, write=plain):
    return [write(row) for row in rows]


def official(rows, write=plain):
    return "\n".join(["0--A/a.jpg", str(len(rows)), *lines_of(rows, write), ""])


WRITERS = {
    text_files.NO_NAME: lambda rows: "\n".join([str(len(rows)), *lines_of(rows)]),
    text_files.NO_COUNT: lambda rows: "\n".join(["a.jpg", *lines_of(rows), ""]),
    text_files.BOXES_ONLY: lambda rows: "\n".join([*lines_of(rows), ""]),
    text_files.BLANK_LINES: lambda rows: official(rows).replace("\n", "\r\r\n"),
    text_files.LABELS: lambda rows: official(rows, lambda row: f"face {plain(row)}"),
    text_files.COLUMN_NAMES: lambda rows: "\n".join(
        ["x,y,w,h,score", *(",".join(map(repr, row)) for row in rows), ""]
    ),
}
WRAPPERS = {
    "tensor": lambda row: " ".join(f"tensor({value!r})" for value in row),
    "on a GPU": lambda row: f"{plain(row[:4])} tensor({row[4]!r}, device='cuda:0')",
    "with a gradient": lambda row: (
        f"{plain(row[:4])} tensor({row[4]!r}, grad_fn=<SelectBackward0>)"
    ),
    "float64": lambda row: " ".join(f"np.float64({value!r})" for value in row),
    "int": lambda row: f"np.float32({row[0]!r}) {plain(row[1:4])} numpy.float16({row[4]!r})",
    "list": lambda row: str(row),
    "array": lambda row: f"array({row!r}, dtype=float32)",
    "tuple": lambda row: f"({row[0]!r}, {row[1]!r}, {row[2]!r}, {row[3]!r}) {row[4]!r}",
    "tensorflow": lambda row: (
        f"{plain(row[:4])} <tf.Tensor: shape=(), dtype=float32, numpy={row[4]!r}>"
    ),
}
_NUMBERS = st.floats(min_value=2, max_value=5000).map(lambda value: round(value, 3))
_BOXES = st.lists(
    st.tuples(*[_NUMBERS] * 4, st.floats(min_value=0.001, max_value=1)).map(list),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("form", WRITERS)
@given(rows=_BOXES)
@settings(max_examples=25, deadline=None)
def test_other_forms_have_the_rows(form, rows):
    found = parse_text(WRITERS[form](rows).encode(), "a.txt")
    assert found.rows.tolist() == rows
    assert found.forms == (form,)


@pytest.mark.parametrize("wrapper", WRAPPERS)
@given(rows=_BOXES)
@settings(max_examples=15, deadline=None)
def test_numbers_may_be_printed_by_any_library(wrapper, rows):
    text = official(rows, WRAPPERS[wrapper])
    assert parse_text(text.encode(), "a.txt").rows.tolist() == rows


@given(rows=_BOXES)
@settings(max_examples=25, deadline=None)
def test_official_files_are_read_as_they_are(rows):
    found = parse_text(format_predictions("a", rows).encode(), "a.txt")
    assert (found.rows.tolist(), found.forms) == (rows, ())
    assert list(found.lines) == list(range(3, 3 + len(rows)))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16(encoding):
    for text in (official(ROWS), WRITERS[text_files.NO_COUNT](ROWS)):
        found = parse_text(text.encode(encoding), "a.txt")
        assert found.rows.tolist() == ROWS
        assert text_files.UTF_16 in found.forms


def test_bytes_that_look_like_a_mark_of_utf_16_in_a_name():
    text = b"\xff\xfe.jpg\n1\n1 2 3 4 0.5\n"
    assert parse_text(text, "a.txt").forms == ()


def test_decimal_commas():
    text = official(ROWS, lambda row: plain(row).replace(".", ","))
    found = parse_text(text.encode(), "a.txt")
    assert (found.rows.tolist(), found.forms) == (ROWS, (text_files.COMMAS,))
    separated = official(ROWS, lambda row: ",".join(map(repr, row)))
    assert parse_text(separated.encode(), "a.txt").forms == ()


def test_columns_of_a_header():
    text = "xmin ymin xmax ymax conf\n10 20 40 60 0.5\n"
    found = parse_text(text.encode(), "a.txt")
    assert found.columns.to_boxes(found.rows).tolist() == [[10, 20, 30, 40, 0.5]]


@pytest.mark.parametrize("text", ["", "\n", "\ufeff", " \n\n"])
def test_empty_files_have_no_detections(text):
    found = parse_text(text.encode(), "a.txt")
    assert (found.rows.shape, found.forms) == ((0, 5), (text_files.EMPTY,))


@pytest.mark.parametrize("text", ["a.jpg\n0\n", "0\n", "a.jpg\n0"])
def test_no_detections(text):
    assert parse_text(text.encode(), "a.txt").rows.shape == (0, 5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n3\n1 2 3 4 0.5\n", "the file ends after 1 of 3 boxes"),
        ("2\n1 2 3 4 0.5\n", "the file ends after 1 of 2 boxes"),
        (
            "a\n2\n1 2 3 4 0.5\n1 2 x 4 0.5\n",
            "a.txt:4: expected x y w h score, found '1 2 x 4 0.5'",
        ),
        ("a\n1 2 3 4\n5 6 7 8\n", "a box without a score"),
        ("a\n2\n1 2 3 4 0.5\nface 5 6 7 8 0.5\n", "found 'face 5 6 7 8 0.5'"),
        ("a\n2\n1 2 3 4 0.5\n\n1 2 3 4 0.5\n", "a.txt:4: expected x y w h score, found ''"),
        ("\x00\x01\x02", "binary"),
        ("<html>\n<body>\n", "expected x y w h score"),
    ],
)
def test_damaged_files_are_named(text, expected):
    with pytest.raises(PredictionFormatError) as caught:
        parse_text(text.encode(), "a.txt")
    assert expected in str(caught.value)


@given(st.binary(max_size=60))
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(PredictionFormatError):
        found = parse_text(data, "a.txt")
        assert found.rows.ndim == 2
        assert found.rows.shape[1] >= 5
        assert len(found.lines) in (0, len(found.rows))


def test_strict_reads_the_official_format_only():
    for form, write in WRITERS.items():
        if form not in (text_files.COLUMN_NAMES,):
            with pytest.raises(PredictionFormatError):
                parse_text(write(ROWS).encode(), "a.txt", strict=True)


@pytest.mark.parametrize("number", [0, 1, 2, 139])
def test_a_name_that_is_a_number_is_no_count(number):
    """COCO's images are called so; the file's own name tells."""
    text = "\n".join([f"{number:012d}", *lines_of(ROWS), ""])
    assert parse_text(text.encode(), f"val/{number:012d}.txt").rows.tolist() == ROWS
    if number != 2:  # another image's: a count that is wrong, as before
        with contextlib.suppress(PredictionFormatError):
            assert len(parse_text(text.encode(), "val/a.txt").rows) == min(number, len(ROWS))
