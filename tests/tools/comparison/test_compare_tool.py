"""tools/compare_detectors.py as a user runs it, with detectors that take milliseconds."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comparison.table import SHIPPED_TABLE, load_tables
from comparison.worker import WorkerFactory
from helpers.detections import assert_same_detections
from srn_d2.evaluation.widerface.prediction_files import write_predictions

TABLE = """
[environments.nowhere]
requirements = ["{folder}/none-1.0-py3-none-any.whl"]
[detectors.bright]
title = "What is bright"
settings = "brightness 128"
worker = "{worker}"
files = ["weights"]
options = {{ threshold = 128 }}
[detectors.blind]
title = "Nothing is bright"
settings = "brightness 250"
worker = "{worker}"
options = {{ threshold = 250 }}
[detectors.absent]
title = "Not to be had"
settings = "-"
worker = "{worker}"
environment = "nowhere"
"""


@pytest.fixture
def compare(load_tool, wider_root, tmp_path, caplog, capsys, bright):
    """Call the tool: ``compare("--steps")`` gives its status, its table and its messages."""
    (tmp_path / "weights").write_bytes(b"1")
    table = tmp_path / "table.toml"
    table.write_text(TABLE.format(folder=tmp_path, worker=bright().worker))
    tool = load_tool("compare_detectors")

    def run(*arguments, root=wider_root):
        common = ["--root", root, "--table", table, "--output", tmp_path / "out"]
        caplog.clear()
        with caplog.at_level("INFO", logger="comparison"):
            status = tool.main(list(map(str, [*common, *arguments])))
        captured = capsys.readouterr()
        return status, captured.out, captured.err + caplog.text

    return run


def result(tmp_path):
    return json.loads((tmp_path / "out" / "comparison.json").read_text())


def test_whole_comparison(compare, tmp_path):
    few = ["--latency-images", 2, "--rounds", 2, "--threads", 1]
    status, table, messages = compare("--detectors", "bright", "blind", *few)
    assert status == 0, messages
    [line] = (line for line in table.splitlines() if "What is bright" in line)
    assert line.split("|")[2] == " 1       "  # the scale
    assert line.split("|")[4:7] == [" 100.0  ", " 100.0    ", " 100.0  "]
    written = result(tmp_path)
    assert written["images"] == 4
    ours = written["detectors"]["bright"]
    assert ours["ap"] == {"easy": 1.0, "medium": 1.0, "hard": 1.0}
    assert 0 < ours["seconds"]["lower"] <= ours["seconds"]["median"] <= ours["seconds"]["upper"]
    assert written["detectors"]["blind"]["ap"]["hard"] == 0
    assert len(list(Path(ours["predictions"]).rglob("*.txt"))) == 4
    for plot in ("precision_recall.png", "ap_against_seconds.png"):
        with Image.open(tmp_path / "out" / plot) as image:
            assert image.format == "PNG"
            assert np.array(image.convert("L")).std() > 5
    markdown = (tmp_path / "out" / "comparison.md").read_text()
    assert line in markdown
    assert "of 2 rounds through 2 images" in markdown
    assert "### AP by face height" in markdown
    assert "| What is bright    | brightness 128 |" in markdown
    assert "(precision_recall.png)" in markdown

    # Evaluation alone, then with new weights, of which neither predictions nor seconds are there.
    status, again, _ = compare("--steps", "--detectors", "bright", "blind")
    assert (status, again) == (0, table)
    (tmp_path / "weights").write_bytes(b"2")
    status, table, messages = compare("--steps", "--detectors", "bright", "blind")
    assert status == 1
    assert "bright: 4 of 4 images have no predictions yet with these settings" in messages
    assert "bright: its seconds were measured with other settings" in messages
    assert result(tmp_path)["detectors"]["bright"]["seconds"] is None
    status, table, messages = compare("--steps", "predict", "--detectors", "bright")
    assert status == 1
    assert "bright: 4 of 4 images to do" in messages
    assert "| 100.0" in table


def test_a_peer_that_cannot_be_installed_and_a_folder_of_predictions(compare, tmp_path):
    write_predictions(tmp_path / "others", {"0--Discs/0": np.array([[1, 1, 9, 9, 0.5]])})
    arguments = ["--detectors", "absent", "bright", "--steps", "predict"]
    status, table, messages = compare(*arguments, "--predictions", f"others={tmp_path / 'others'}")
    assert status == 1
    assert "absent: not available: pip failed (1): ERROR" in messages
    detectors = result(tmp_path)["detectors"]
    assert "ap" not in detectors["absent"]
    assert detectors["bright"]["ap"]["hard"] == 1
    assert detectors["others"]["ap"]["hard"] == 0
    assert any("3 images have no file" in text for text in detectors["others"]["warnings"])
    lines = [line for line in table.splitlines() if line.startswith("| Not to be had")]
    assert [cell.strip() for cell in lines[0].split("|")[2:7]] == ["1", *["-"] * 4]
    markdown = (tmp_path / "out" / "comparison.md").read_text()
    assert "- Not to be had: not available: pip failed" in markdown


def test_lists_of_images_apart(compare, wider_root, tmp_path):
    """Figures of each list, of a detector and of a folder; a list with an image that is missing."""
    boxes = [[0, 0, 5, 5, 0.5], [90, 90, 5, 5, 0.4]]
    write_predictions(tmp_path / "others", {f"0--Discs/{i}": np.array(boxes) for i in range(4)})
    (tmp_path / "seen.txt").write_text("0--Discs/0.jpg\n0--Discs/2.jpg\n")
    (tmp_path / "other.txt").write_text("0--Discs/1\n")
    arguments = ["--detectors", "bright", "--steps", "predict"]
    arguments += ["--predictions", f"others={tmp_path / 'others'}"]
    lists = f"seen={tmp_path / 'seen.txt'},other={tmp_path / 'other.txt'}"
    status, table, messages = compare(*arguments, "--image-lists", lists)
    assert status == 0, messages
    assert "| seen: Hard   | other: Easy   |" in table
    written = result(tmp_path)
    assert written["lists"] == {"all": 4, "seen": 2, "other": 1}
    for name, ap in (("bright", 1), ("others", 0)):
        found = written["detectors"][name]["lists"]
        assert {key: x["num_images"] for key, x in found.items()} == written["lists"]
        by_iou = dict.fromkeys(["0.5", "0.6", "0.7", "0.8"], ap)
        assert [x["settings"]["hard"]["ap"] for x in found.values()] == [by_iou] * 3

    root = tmp_path / "root"
    shutil.copytree(wider_root, root)
    (root / "WIDER_val" / "images" / "0--Discs" / "2.jpg").unlink()
    status, _, messages = compare(*arguments, "--image-lists", lists, root=root)
    assert status == 2
    assert "seen.txt: 1 images are not evaluated, '0--Discs/2' first" in messages


def test_latency_alone_leaves_predictions_alone(compare, tmp_path):
    few = ["--latency-images", 1, "--rounds", 1]
    status, _, messages = compare("--detectors", "bright", "--steps", "latency", *few)
    assert status == 1
    assert "4 of 4 images have no predictions yet" in messages
    assert not (tmp_path / "out" / "predictions").exists()
    ours = result(tmp_path)["detectors"]["bright"]
    assert ours["seconds"]["median"] > 0
    (tmp_path / "out" / "latency.json").write_text("{}")
    status, _, messages = compare("--detectors", "bright", "--steps")
    assert status == 2
    assert "latency.json is damaged, remove it" in messages


def test_a_bad_image_is_named_and_the_rest_goes_on(compare, wider_root, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(wider_root, root)
    images = root / "WIDER_val" / "images" / "0--Discs"
    (images / "1.jpg").write_bytes(b"no image")
    (images / "3.jpg").unlink()
    status, _, messages = compare("--detectors", "bright", "--steps", "predict", root=root)
    assert status == 1
    assert "1 of 4 images are not there, left out" in messages
    assert f"{images / '1.jpg'}: cannot be decoded" in messages
    assert "1 of 3 images failed" in messages
    ours = result(tmp_path)["detectors"]["bright"]
    assert len(list(Path(ours["predictions"]).rglob("*.txt"))) == 2
    assert ours["ap"]["hard"] == pytest.approx(2 / 3)

    # It may as well be a run that was stopped: no figure unless it is tried again.
    status, _, messages = compare("--detectors", "bright", "--steps", root=root)
    assert status == 1
    assert "bright: 1 of 3 images have no predictions yet" in messages
    assert "ap" not in result(tmp_path)["detectors"]["bright"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("WIDER_val", "No folder of images: .*WIDER_val.images .--root"),
        ("images", "none of the 4 images of .*bbx_gt.txt is there"),
        ("annotation", "wider_face_val_bbx_gt.txt, line 3: expected face 1 of 1"),
        ("annotations", "annotation file .*wider_face_val_bbx_gt.txt is not there"),
        ("ground_truth", "ground_truth lacks wider_face_val.mat"),
        ("unknown image", "1 of 5 images are not in the ground truth, '0--Discs/new' first"),
    ],
)
def test_bad_folders(compare, wider_root, tmp_path, damage, message):
    root = tmp_path / "root"
    shutil.copytree(wider_root, root)
    annotations = root / "wider_face_split" / "wider_face_val_bbx_gt.txt"
    lines = annotations.read_text().splitlines()
    if damage in ("WIDER_val", "ground_truth"):
        shutil.rmtree(root / damage)
    elif damage == "images":
        shutil.rmtree(root / "WIDER_val" / "images" / "0--Discs")
    elif damage == "annotations":
        annotations.unlink()
    elif damage == "annotation":
        annotations.write_text("\n".join([*lines[:2], "1 2 three", *lines[3:]]))
    else:
        annotations.write_text("\n".join([*lines, "0--Discs/new.jpg", *lines[1:3]]))
    status, _, messages = compare("--detectors", "bright", root=root)
    assert status == 2
    assert re.search(message, messages), messages


def test_bad_arguments(compare, tmp_path):
    status, _, messages = compare("--detectors", "dark")
    assert status == 2
    assert "error: No detector 'dark'; there are lite, " in messages
    status, _, messages = compare("--detectors", "bright", "--predictions", f"bright={tmp_path}")
    assert status == 2
    assert "--predictions bright: there is a detector of this name" in messages
    wrongs = [["--predictions", "nofolder"], ["--rounds", "0"], ["--steps", "jump"]]
    for wrong in [*wrongs, ["--image-lists", "all=a.txt"]]:
        with pytest.raises(SystemExit) as ended:
            compare(*wrong)
        assert ended.value.code == 2


def test_the_shipped_model_as_a_worker(tmp_path, make_image):
    from srn_d2 import FaceDetector
    from srn_d2.data.image_io import read_image

    lite = load_tables(SHIPPED_TABLE)["lite"]
    options = {**lite.options, "score_threshold": 0.1}
    path = make_image("a", width=80)
    with WorkerFactory(tmp_path, threads=1).start(
        dataclasses.replace(lite, options=options)
    ) as worker:
        found = worker.detect(path)
    wanted = FaceDetector(device="cpu", **options)(read_image(path))
    assert_same_detections(found, wanted, at_least=0)
