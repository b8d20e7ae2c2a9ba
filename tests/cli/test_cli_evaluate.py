"""``srn-d2 evaluate`` as a user runs it, on .mat files and predictions made by hand."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from helpers.wider_face_mat import write_ground_truth
from srn_d2 import cli
from srn_d2.evaluation.widerface.ap import WiderFaceGroundTruth

A, B, C, D = (10, 10, 40, 40), (100, 100, 20, 20), (50, 50, 100, 100), (10, 10, 30, 30)
BOXES = {
    "0--Parade/a": np.array([A, B], np.int32),
    "0--Parade/b": np.array([C], np.int32),
    "1--Handshaking/c": np.array([D], np.int32),
}


def counted(*flags):
    return {key: np.array(values, bool) for key, values in zip(BOXES, flags, strict=True)}


GROUND_TRUTH = WiderFaceGroundTruth(
    BOXES,
    {
        "easy": counted([1, 0], [1], [0]),
        "medium": counted([1, 0], [1], [1]),
        "hard": counted([1, 1], [1], [1]),
    },
    {
        name: {key: np.zeros(len(boxes), np.int64) for key, boxes in BOXES.items()}
        for name in ("blur", "expression", "illumination", "invalid", "occlusion", "pose")
    },
)


def write(folder, image_id, *rows):
    path = folder / f"{image_id}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{image_id}.jpg", str(len(rows)), *(" ".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The four .mat files and two folders of predictions.

    "ours", of falling score: A, C, a false positive, B; nothing for image c. "perfect": all faces.
    """
    folder = tmp_path_factory.mktemp("evaluate")
    write_ground_truth(folder / "ground_truth", GROUND_TRUTH)
    write(folder / "ours", "0--Parade/a", (*A, 0.9), (*B, 0.5), (300, 300, 30, 30, 0.7))
    write(folder / "ours", "0--Parade/b", (*C, 0.8))
    write(folder / "perfect", "0--Parade/a", (*A, 0.9), (*B, 0.5))
    write(folder / "perfect", "0--Parade/b", (*C, 0.8))
    write(folder / "perfect", "1--Handshaking/c", (*D, 0.04))
    return folder


def evaluate(*arguments):
    """Run the command in this process; gives its status."""
    return cli.main(["evaluate", *arguments])


def test_whole_report(folder, repo_root):
    arguments = ["--predictions", "ours", "--compare", "perfect", "--ground-truth", "ground_truth"]
    command = [sys.executable, "-m", "srn_d2.cli", "evaluate"]
    done = subprocess.run(
        [*command, *arguments, "--iou", "0.5", "0.8", "--output", "report"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(repo_root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "1 images have no file" in done.stdout
    assert "1 files are not sorted" in done.stdout
    assert "no score is below 0.5" in done.stdout
    ours, perfect = json.loads((folder / "report" / "report.json").read_text())
    assert [ours["name"], perfect["name"]] == ["ours", "perfect"]
    # Easy: A and C before any error. Medium: D is not found. Hard: B comes after the error.
    for setting, expected in {"easy": 1, "medium": 2 / 3, "hard": 1 / 2 + 3 / 4 / 4}.items():
        assert ours["settings"][setting]["ap"]["0.5"] == pytest.approx(expected, abs=1e-12)
        assert ours["settings"][setting]["ap"]["0.8"] == pytest.approx(expected, abs=1e-12)
        assert set(perfect["settings"][setting]["ap"].values()) == {1.0}
    at_recalls = ours["settings"]["hard"]["false_positives_at_recall"]
    assert list(at_recalls.values()) == [0, 0, 0, None, None, None]
    assert perfect["warnings"] == []
    pictures = {path.name for path in (folder / "report").glob("*.png")}
    assert {"precision_recall.png", "ap_by_iou.png", "false_positives_at_recall.png"} <= pictures
    table = (folder / "report" / "report.md").read_text()
    assert "68.75" in table
    assert table.split("![")[0].strip() in done.stdout


def test_listed_images_only(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "list.txt").write_text("0--Parade/a.jpg\n")
    arguments = ["--predictions", "ours", "--ground-truth", "ground_truth"]
    assert evaluate(*arguments, "--image-list", "list.txt", "--output", "subset") == 0
    assert "have no file" not in capsys.readouterr().out
    (report,) = json.loads((folder / "subset" / "report.json").read_text())
    assert report["num_images"] == 1
    assert report["settings"]["easy"]["ap"]["0.5"] == pytest.approx(1)
    assert report["settings"]["hard"]["ap"]["0.5"] == pytest.approx(1 / 2 + 2 / 3 / 2)
    assert report["settings"]["hard"]["num_faces"] == 2


@pytest.mark.parametrize(
    ("predictions", "ground_truth", "options", "expected"),
    [
        ("nowhere", "ground_truth", [], "nowhere"),
        ("empty", "ground_truth", [], "no readable prediction"),
        ("ours", "nowhere", [], "wider_easy_val.mat"),
        ("ours", "ground_truth", ["--image-list", "strange.txt"], "'0--Parade/strange' first"),
        ("ours", "ground_truth", ["--annotations", "strange.txt"], "strange.txt"),
        ("ours", "ground_truth", ["--iou", "50"], "(0, 1]"),
    ],
)
def test_errors_are_one_line(
    folder, monkeypatch, capsys, predictions, ground_truth, options, expected
):
    monkeypatch.chdir(folder)
    (folder / "strange.txt").write_text("0--Parade/strange.jpg\n")
    (folder / "empty").mkdir(exist_ok=True)
    arguments = ["--predictions", predictions, "--ground-truth", ground_truth, *options]
    assert evaluate(*arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert expected in output.err


def test_same_folder_names_are_told_apart(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    write(folder / "other" / "ours", "0--Parade/a", (*A, 0.9))
    arguments = ["--predictions", "ours", "--compare", "other/ours"]
    assert evaluate(*arguments, "--ground-truth", "ground_truth") == 0
    assert "| other/ours " in capsys.readouterr().out


def test_malformed_file_is_named(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    write(folder / "broken", "0--Parade/b", (*C, 0.8), (1, 1, 9, 9, 0.04))
    write(folder / "broken", "0--Parade/a", (10, 10, 40, "x", 0.9))
    assert evaluate("--predictions", "broken", "--ground-truth", "ground_truth") == 0
    output = capsys.readouterr().out
    assert "a.txt:3: " in output
    assert "'10 10 40 x 0.9'" in output


def test_other_forms_are_read_and_told(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "flat").mkdir()
    for image_id, rows in (("a", [(*A, 0.9), (*B, 0.5)]), ("b", [(*C, 0.8)]), ("c", [(*D, 0.04)])):
        lines = [" ".join(map(str, row[:4])) + f" tensor({row[4]})" for row in rows]
        (folder / "flat" / f"{image_id}.jpg.txt").write_text("\n".join(lines))
    arguments = ["--predictions", "flat", "--ground-truth", "ground_truth"]
    assert evaluate(*arguments) == 0
    output = capsys.readouterr().out
    assert output.count("100.00") >= 12
    assert "3 files are not where the official code looks for them" in output
    assert "3 files have tensor(...)" in output
    assert evaluate(*arguments, "--strict") == 2
    assert "no readable prediction" in capsys.readouterr().err


def test_corners_in_place_of_a_size(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    for image_id, rows in (
        ("0--Parade/a", [(*A, 0.9), (*B, 0.5)]),
        ("0--Parade/b", [(*C, 0.8)]),
        ("1--Handshaking/c", [(*D, 0.04)]),
    ):
        write(folder / "corners", image_id, *((x, y, x + w, y + h, s) for x, y, w, h, s in rows))
    arguments = ["--predictions", "corners", "--ground-truth", "ground_truth", "--iou", "0.5"]
    assert evaluate(*arguments) == 1
    output = capsys.readouterr()
    assert "100.00 as x1,y1,x2,y2,score" in output.err
    assert "100.00 as x1,y1,x2,y2,score" in output.out
    assert evaluate(*arguments, "--columns", "x1,y1,x2,y2,score") == 0
    assert "| corners    | Hard      | 4       | 100.00    |" in capsys.readouterr().out


def test_mostly_malformed_files_are_no_report_with_status_0(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    write(folder / "mostly", "0--Parade/b", (*C, 0.8))
    for image_id in ("0--Parade/a", "1--Handshaking/c"):
        write(folder / "mostly", image_id, (10, 10, "x", 40, 0.9))
    assert evaluate("--predictions", "mostly", "--ground-truth", "ground_truth") == 1
    assert "error: mostly: 2 of 3 files" in capsys.readouterr().err


def test_coco_results_on_wider_face(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "results.json").write_text(
        json.dumps(
            [
                {"image_id": image_id, "category_id": 1, "bbox": list(map(int, box)), "score": 0.5}
                for image_id, boxes in BOXES.items()
                for box in boxes
            ]
            + [{"image_id": "0--Parade/a", "category_id": 1, "bbox": [300, 300, 9, 9], "score": 0}]
        )
    )
    assert evaluate("--predictions", "results.json", "--ground-truth", "ground_truth") == 0
    assert capsys.readouterr().out.count("100.00") >= 12


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit, match="0"):
        evaluate("--help")
    assert "--ground-truth datasets/widerface/ground_truth" in capsys.readouterr().out


def test_former_names_of_options(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "list.txt").write_text("0--Parade/a.jpg\n")
    arguments = ["--predictions", "ours", "--ground-truth", "ground_truth", "--images=list.txt"]
    assert evaluate(*arguments, "--out", "former") == 0
    assert (folder / "former" / "report.json").is_file()
    notes = ["note: --images is now --image-list", "note: --out is now --output"]
    assert capsys.readouterr().err.splitlines() == notes
