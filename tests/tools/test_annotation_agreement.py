"""tools/annotation_agreement.py: images whose annotation disagrees with all detectors."""

import numpy as np
import pytest
from annotation_agreement import Agreement, disagrees, main, measure_agreement
from hypothesis import given
from hypothesis import strategies as st

from helpers.wider_face_mat import make_ground_truth, write_ground_truth
from srn_d2.evaluation.widerface.prediction_files import write_predictions

FACES = np.array([[10 * i, 7 * i, 20 + i, 30] for i in range(25)])


@given(st.floats(0.5, 1.0), st.sampled_from(["C", "F"]))
def test_median_iou_of_shrunk_boxes(share, order):
    apart = np.array(FACES * [5, 1, 1, 1], order=order)
    boxes = np.column_stack([apart * [1, 1, 1, share], np.full(len(apart), 0.9)])
    agreement = measure_agreement(apart, np.array(boxes, order=order), min_score=0.5)
    assert agreement.num_faces == len(apart)
    assert agreement.median_iou == pytest.approx(share)


def test_detections_of_low_score_do_not_count():
    boxes = np.column_stack([FACES, np.full(len(FACES), 0.2)])
    assert measure_agreement(FACES, boxes, min_score=0.25).num_faces == 0
    assert measure_agreement(FACES, boxes[:0], min_score=0.0).num_faces == 0


@pytest.mark.parametrize(
    ("agreements", "expected"),
    [
        ([Agreement(20, 0.5), Agreement(30, 0.59)], True),
        ([Agreement(20, 0.5), Agreement(30, 0.61)], False),
        ([Agreement(19, 0.5), Agreement(30, 0.5)], False),
        ([Agreement(0, float("nan")), Agreement(30, 0.5)], False),
    ],
)
def test_an_image_disagrees_only_with_every_detector(agreements, expected):
    assert disagrees(agreements, iou=0.6, min_faces=20) == expected


@pytest.fixture
def folders(tmp_path):
    """Ground truth of two images; a detector's boxes are half as high in the first one."""
    names = ["0--Parade/loose", "0--Parade/tight"]
    truth = make_ground_truth({name: (FACES * [5, 1, 1, 1]).tolist() for name in names})
    write_ground_truth(tmp_path / "truth", truth)
    boxes = np.column_stack([FACES * [5, 1, 1, 1], np.full(len(FACES), 0.9)])
    loose = boxes * [1, 1, 1, 0.5, 1]
    write_predictions(tmp_path / "one", dict(zip(names, [loose, boxes], strict=True)))
    write_predictions(tmp_path / "other", dict(zip(names, [loose, loose], strict=True)))
    return tmp_path


def test_the_list_has_the_images_that_agree(folders, capsys):
    argv = ["--ground-truth", f"{folders}/truth", "--output", f"{folders}/list.txt"]
    argv += ["--predictions", f"one={folders}/one", f"other={folders}/other"]
    assert main(argv) == 0
    assert (folders / "list.txt").read_text() == "0--Parade/tight.jpg\n"
    printed = capsys.readouterr().out
    assert "| 0--Parade/loose | 25 | 25 | 0.50 | 25 | 0.50 |" in printed
    assert "1 of 2 images disagree with all detectors." in printed


@pytest.mark.parametrize("fault", ["missing folder", "damaged file", "missing file"])
def test_unreadable_predictions_are_named(folders, fault, capsys):
    argv = ["--ground-truth", f"{folders}/truth", "--output", f"{folders}/list.txt"]
    damaged = folders / "other/0--Parade/tight.txt"
    if fault == "damaged file":
        damaged.write_text("tight\n2\n1 2 3 4 0.5\n")
    if fault == "missing file":
        damaged.unlink()
    other = folders / ("nowhere" if fault == "missing folder" else "other")
    assert main([*argv, "--predictions", f"one={folders}/one", f"other={other}"]) == 2
    named = str(damaged if fault == "damaged file" else other)
    assert named in capsys.readouterr().err
    assert not (folders / "list.txt").exists()


@pytest.mark.parametrize("option", [["--iou", "60"], ["--score", "nan"], ["--min-faces", "0"]])
def test_values_out_of_range_are_refused(folders, option, capsys):
    argv = ["--ground-truth", f"{folders}/truth", "--predictions", f"one={folders}/one", *option]
    with pytest.raises(SystemExit, match="2"):
        main(argv)
    assert option[0] in capsys.readouterr().err


def test_one_detector_is_not_enough(folders, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--ground-truth", f"{folders}/truth", "--predictions", f"one={folders}/one"])
    assert "two detectors" in capsys.readouterr().err


def test_a_list_without_images_is_not_written(folders, capsys):
    argv = ["--ground-truth", f"{folders}/truth", "--output", f"{folders}/list.txt"]
    argv += ["--predictions", f"one={folders}/one", f"other={folders}/other"]
    (folders / "only.txt").write_text("0--Parade/loose.jpg\n")
    assert main([*argv, "--image-list", f"{folders}/only.txt"]) == 2
    printed = capsys.readouterr()
    assert "1 of 1 images disagree" in printed.out
    assert "list.txt is not written: no image is left" in printed.err
    assert not (folders / "list.txt").exists()
