"""Prediction folders and the official .mat ground truth: what is read, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from helpers.plain_wider_face import read_prediction_text
from helpers.wider_face_mat import make_ground_truth, write_ground_truth
from srn_d2.evaluation.widerface.ap import WiderFaceGroundTruth
from srn_d2.evaluation.widerface.ground_truth import GroundTruthFormatError, load_ground_truth
from srn_d2.evaluation.widerface.prediction_files import (
    PredictionFormatError,
    format_predictions,
    parse_predictions,
    read_predictions,
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
@settings(max_examples=200, deadline=None)
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
@settings(max_examples=50, deadline=None)
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


# --- ground truth -------------------------------------------------------------------------------

BOXES = {"0--A/x": [[1, 2, 3, 4], [5, 6, 0, 8]], "0--A/y": [], "1--B/z": [[7, 7, 7, 7]]}
COUNTED = {"easy": {"0--A/x": [2], "1--B/z": []}}


@pytest.fixture
def truth() -> WiderFaceGroundTruth:
    truth = make_ground_truth(BOXES, COUNTED)
    blur = {"0--A/x": np.array([2, 0]), "0--A/y": np.zeros(0), "1--B/z": np.array([1])}
    return WiderFaceGroundTruth(truth.boxes, truth.counted, {"blur": blur})


def test_ground_truth_is_read(tmp_path, truth):
    write_ground_truth(tmp_path, truth)
    found = load_ground_truth(tmp_path)
    assert found.image_ids == ("0--A/x", "0--A/y", "1--B/z")
    assert {i: b.tolist() for i, b in found.boxes.items()} == BOXES
    assert all(b.dtype == np.int32 and b.shape[1:] == (4,) for b in found.boxes.values())
    masks = {i: mask.tolist() for i, mask in found.counted["easy"].items()}
    assert masks == {"0--A/x": [False, True], "0--A/y": [], "1--B/z": [False]}
    assert found.counted["hard"]["0--A/x"].tolist() == [True, True]
    assert {i: v.tolist() for i, v in found.attributes["blur"].items()} == {
        "0--A/x": [2, 0],
        "0--A/y": [],
        "1--B/z": [1],
    }


def test_missing_ground_truth_files_are_named_with_their_source(tmp_path, truth):
    write_ground_truth(tmp_path, truth)
    (tmp_path / "wider_hard_val.mat").unlink()
    (tmp_path / "wider_face_val.mat").unlink()
    message = r"lacks wider_face_val.mat, wider_hard_val.mat: .*eval_tools\.zip"
    with pytest.raises(FileNotFoundError, match=message):
        load_ground_truth(tmp_path)


def change(path, **variables) -> None:
    """Replace (None: remove) variables of a .mat file."""
    content = {k: v for k, v in loadmat(path).items() if not k.startswith("__")} | variables
    savemat(path, {k: v for k, v in content.items() if v is not None})


def test_damaged_ground_truth_is_named(tmp_path, truth):
    easy, main = tmp_path / "wider_easy_val.mat", tmp_path / "wider_face_val.mat"

    def error() -> str:
        with pytest.raises(GroundTruthFormatError) as caught:
            load_ground_truth(tmp_path)
        return str(caught.value)

    write_ground_truth(tmp_path, truth)
    change(easy, gt_list=None)
    assert error() == f"{easy}: no variable gt_list"

    write_ground_truth(tmp_path, make_ground_truth(BOXES, {"easy": {"0--A/x": [1]}}))
    change(easy, gt_list=loadmat(tmp_path / "wider_hard_val.mat")["gt_list"][:1])
    assert "gt_list does not fit the list of images" in error()

    other = {**BOXES, "1--B/z": [[7, 7, 7, 8]]}
    write_ground_truth(tmp_path, make_ground_truth(other))
    other_easy = easy.read_bytes()
    write_ground_truth(tmp_path, truth)
    easy.write_bytes(other_easy)
    assert "1--B/z: other boxes than in wider_face_val.mat" in error()

    write_ground_truth(tmp_path, make_ground_truth({"0--A/w": []}))
    other_easy = easy.read_bytes()
    write_ground_truth(tmp_path, truth)
    easy.write_bytes(other_easy)
    assert "other images than in wider_face_val.mat" in error()

    easy.write_bytes(b"this is no .mat file" * 20)
    assert error().startswith(f"{easy}: not a readable .mat file")

    main.write_bytes(main.read_bytes()[:300])
    assert error().startswith(f"{main}: not a readable .mat file")


@pytest.mark.parametrize("index", [[0], [3], [1, 1]])
def test_indices_that_name_no_face_are_refused(tmp_path, truth, index):
    write_ground_truth(tmp_path, truth)
    gt_list = loadmat(tmp_path / "wider_easy_val.mat")["gt_list"]
    gt_list[0, 0][0, 0] = np.array(index, dtype=np.float64).reshape(-1, 1)
    change(tmp_path / "wider_easy_val.mat", gt_list=gt_list)
    with pytest.raises(GroundTruthFormatError, match="0--A/x: gt_list holds"):
        load_ground_truth(tmp_path)


def test_official_ground_truth_is_read(shared_dir):
    truth = load_ground_truth(shared_dir / "widerface" / "ground_truth")
    assert len(truth.image_ids) == 3226
    assert sum(map(len, truth.boxes.values())) == 39708
    counts = [sum(int(m.sum()) for m in truth.counted[s].values()) for s in truth.counted]
    assert counts == [7211, 13319, 31958]
    assert set(truth.attributes) == {
        *("blur", "expression", "illumination", "invalid", "occlusion", "pose")
    }
    assert all(len(truth.attributes["pose"][i]) == len(b) for i, b in truth.boxes.items())
