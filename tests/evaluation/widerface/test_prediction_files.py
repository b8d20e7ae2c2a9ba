"""Prediction files and folders: what is read, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.plain_wider_face import read_prediction_text
from srn_d2.evaluation.predictions.folders import read_predictions
from srn_d2.evaluation.widerface.prediction_files import (
    PredictionFormatError,
    format_predictions,
    parse_predictions,
    write_predictions,
)

BOX = [1.0, 2.0, 3.0, 4.0, 0.5]


def boxes_of(text: str) -> list[list[float]]:
    return parse_predictions(text)[0].tolist()


def error_of(text: str) -> str:
    with pytest.raises(PredictionFormatError) as caught:
        parse_predictions(text, "file.txt")
    return str(caught.value)


# --- prediction files ---------------------------------------------------------------------------


def test_first_line_is_ignored_whatever_it_holds():
    for first in ("a.jpg", "", "7", "1 2 3 4 0.5"):
        assert boxes_of(f"{first}\n1\n1 2 3 4 0.5\n") == [BOX]


def test_only_count_lines_are_read():
    boxes, unread = parse_predictions("a\n1\n1 2 3 4 0.5\n9 9 9 9 0.9\nwhatever\n\n")
    assert boxes.tolist() == [BOX]
    assert unread == 2
    assert boxes_of("a\n0\n1 2 3 4 0.5\n") == []


def test_count_above_the_number_of_lines_is_an_error():
    for text in ("a\n2\n1 2 3 4 0.5\n", "a\n2\n1 2 3 4 0.5"):
        assert error_of(text) == "file.txt:4: the file ends after 1 of 2 boxes"
    assert error_of("a\n2\n") == "file.txt:3: the file ends after 0 of 2 boxes"


def test_a_blank_line_among_the_boxes_is_an_error():
    assert error_of("a\n2\n1 2 3 4 0.5\n\n1 2 3 4 0.5\n").startswith("file.txt:4: expected x y w h")
    assert error_of("a\n2\n1 2 3 4 0.5\n  \n").startswith("file.txt:4: expected x y w h")


def test_too_few_columns_are_an_error():
    message = "file.txt:4: expected x y w h score, found '1 2 3 4'"
    assert error_of("a\n2\n1 2 3 4 0.5\n1 2 3 4\n") == message


def test_further_columns_are_ignored_where_they_are_numbers():
    assert boxes_of("a\n1\n1 2 3 4 0.5 6 7\n") == [BOX]
    assert error_of("a\n1\n1 2 3 4 0.5 face\n").startswith("file.txt:3:")


def test_empty_files_are_an_error():
    assert error_of("") == "file.txt:1: the file is empty"
    assert error_of("a.jpg") == "file.txt:2: expected the number of boxes, found ''"


@pytest.mark.parametrize("count", ["", "two", "1.5", "-1", "1 2", "nan", "inf"])
def test_wrong_counts_are_an_error(count):
    assert error_of(f"a\n{count}\n1 2 3 4 0.5\n1 2 3 4 0.5\n").startswith("file.txt:2: expected")


@pytest.mark.parametrize("count", ["1", " 1 ", "1.0", "1e0", "+1", "01"])
def test_counts_may_be_written_in_any_way(count):
    assert boxes_of(f"a\n{count}\n1 2 3 4 0.5\n") == [BOX]


@pytest.mark.parametrize(
    "line",
    ["1 2 3 4 .5", "\t1\t2  3 4 5e-1 ", "1,2,3,4,0.5", "1, 2 , 3;4 0.5;", "+1 2. 3 4 5d-1"],
)
def test_numbers_may_be_written_as_matlab_reads_them(line):
    assert boxes_of(f"a\n1\n{line}\n") == [BOX]


@pytest.mark.parametrize("token", ["x", "1_0", "infinity", "0x1", "1e", "--1", "", "\u0661"])
def test_what_matlab_does_not_read_is_an_error(token):
    assert error_of(f"a\n1\n1,2,3,{token},0.5\n").startswith("file.txt:3: expected x y w h score")
    assert error_of(f"a\n1\n1 2 3 {token} 0.5\n").startswith("file.txt:3: expected x y w h score")


_TOKENS = st.sampled_from(["1", "2.5", "-3", "4e1", ".5", "x", "7"])
_LINES = st.lists(_TOKENS, min_size=4, max_size=6).map(" ".join)


@given(st.sampled_from(["0", "1", "2", "3", "x", ""]), st.lists(_LINES, max_size=4), st.booleans())
@settings(max_examples=80, deadline=None)
def test_parser_equals_the_plain_restatement(count, lines, ends_with_newline):
    text = "\n".join(["a.jpg", count, *lines]) + "\n" * ends_with_newline
    expected = read_prediction_text(text)
    if expected is None:
        assert error_of(text)
    else:
        assert boxes_of(text) == expected


# --- prediction folders -------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    def write(name: str, data: bytes) -> None:
        path = tmp_path / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    write("0--A/good", b"\xff\xfe.jpg\r\n3\r\n1 2 3 4 0.5\r\n1 2 0 4 0.6\r\n1 2 3 -4 0.6\r\n")
    write("0--A/with.dot", b"x\n1\n1 2 3 4 0.5")
    write("1--B/none", b"x\n0\n")
    write("1--B/broken", b"x\n1\n1 2 3 oops 0.5\n")
    write("1--B/nan", b"x\n4\n1 2 3 4 nan\n1 2 3 4 0.5\n1 2 3 4 -Inf\n1 2 inf 4 0.5\n")
    write("1--B/other", b"never looked at")
    return tmp_path


IDS = ["0--A/good", "0--A/with.dot", "0--A/absent", "1--B/none", "1--B/broken", "1--B/nan"]


def test_folder_gives_the_readable_images(folder):
    found = read_predictions(folder, IDS)
    assert list(found.predictions) == ["0--A/good", "0--A/with.dot", "1--B/none", "1--B/nan"]
    assert found.predictions["0--A/good"].tolist() == [
        BOX,
        [1, 2, 0, 4, 0.6],
        [1, 2, 3, -4, 0.6],
    ]
    assert found.predictions["1--B/none"].shape == (0, 5)


def test_folder_reports_what_is_wrong(folder):
    found = read_predictions(folder, IDS)
    assert found.missing == ("0--A/absent",)
    assert [issue.line for issue in found.malformed] == [3]
    assert str(found.malformed[0]).startswith(str(folder / "1--B" / "broken.txt") + ":3: expected")
    assert found.num_non_positive == 2
    assert len(found.warnings()) == 4
    assert "1--B/broken.txt:3" in found.warnings()[1].replace("\\", "/")


def test_scores_that_are_not_finite_are_named_and_left_out(folder):
    found = read_predictions(folder, IDS)
    assert found.predictions["1--B/nan"].tolist() == [BOX, [1, 2, np.inf, 4, 0.5]]
    messages = [(issue.line, issue.message) for issue in found.non_finite]
    assert messages == [(3, "score nan"), (5, "score -inf"), (6, "box [ 1.  2. inf  4.]")]


def test_folder_without_problems_has_no_warnings(folder):
    assert read_predictions(folder, ["0--A/with.dot", "1--B/none"]).warnings() == []


def test_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(NotADirectoryError, match="nowhere"):
        read_predictions(tmp_path / "nowhere", IDS)


@given(st.lists(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 5), max_size=4))
@settings(max_examples=30, deadline=None)
def test_written_predictions_read_back_exactly(tmp_path_factory, rows):
    directory = tmp_path_factory.mktemp("predictions")
    boxes = np.array(rows, dtype=np.float64).reshape(-1, 5)
    write_predictions(directory, {"0--A/x": boxes, "0--A/y": np.zeros((0, 5))})
    found = read_predictions(directory, ["0--A/x", "0--A/y"])
    np.testing.assert_array_equal(found.predictions["0--A/x"], boxes)
    assert found.predictions["0--A/y"].shape == (0, 5)
    first, count, *_ = (directory / "0--A" / "x.txt").read_text().split("\n")
    assert (first, count) == ("0--A/x", str(len(rows)))


def test_a_line_break_in_a_name_breaks_no_line():
    text = format_predictions("a\nb\rc", [[1, 2, 3, 4, 0.5]])
    assert text.startswith("a b c\n1\n")
    assert parse_predictions(text)[0].tolist() == [[1, 2, 3, 4, 0.5]]
