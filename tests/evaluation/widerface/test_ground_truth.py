"""The reader of the official ground truth files."""

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from helpers.wider_face_mat import make_ground_truth, write_ground_truth
from srn_d2.evaluation.widerface.ap import WiderFaceGroundTruth
from srn_d2.evaluation.widerface.ground_truth import GroundTruthFormatError, load_ground_truth

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
