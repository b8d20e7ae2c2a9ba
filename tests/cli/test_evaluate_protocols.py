"""srn-d2 evaluate --protocol fddb, afw, pascal: files in, JSON, Markdown and plots out."""

import json
import subprocess
import sys

import numpy as np
import pytest
from scipy.io import savemat

from helpers.wider_face_mat import write_ground_truth
from srn_d2.cli import main
from srn_d2.data.annotations.wider_records import WiderFace, WiderImage, write_wider_annotations
from srn_d2.evaluation.widerface.ap import SETTINGS, WiderFaceGroundTruth
from srn_d2.evaluation.widerface.prediction_files import write_predictions

FACES = {"2002/a/img_1": ["24 16 1.5708 40 40 1", "10 8 1.5 90 60 1"], "2002/a/img_2": []}
BOX = "24 16 32 48"  # of the first face


@pytest.fixture
def fddb(tmp_path):
    """Two folds of one image each, sizes, and detections in one file."""
    (tmp_path / "lists").mkdir()
    for fold, (name, faces) in enumerate(FACES.items(), start=1):
        text = "\n".join([name, str(len(faces)), *faces])
        (tmp_path / "lists" / f"FDDB-fold-{fold:02d}-ellipseList.txt").write_text(text)
    (tmp_path / "image_sizes.txt").write_text("".join(f"{name} 120 100\n" for name in FACES))
    write(tmp_path / "boxes.txt", {"2002/a/img_1": [f"{BOX} 0.9", "0 0 5 5 0.5"]})
    return tmp_path


def write(path, detections):
    lines = []
    for name, rows in detections.items():
        lines += [name, str(len(rows)), *rows]
    path.write_text("\n".join(lines) + "\n")


def run_fddb(folder, *arguments):
    return main(
        ["evaluate", "--protocol", "fddb", "--annotations", str(folder / "lists"), *arguments]
    )


def test_fddb(fddb, capsys):
    write(fddb / "ellipses.txt", {"2002/a/img_1": ["24 16 1.5708 40 40 0.7"], "2002/a/img_2": []})
    (fddb / "DiscROC.txt").write_text("0.5 3 0.1\n0.25 0 0.9\n")
    paths = [str(fddb / "boxes.txt"), f"ours={fddb / 'ellipses.txt'}"]
    curve = f"published={fddb / 'DiscROC.txt'}"
    out = fddb / "out"
    assert run_fddb(fddb, "--predictions", *paths, "--output", str(out), "--curves", curve) == 0
    printed = capsys.readouterr()
    assert "| boxes    | difference" in printed.out
    assert "warning: boxes: 1 images of 2 annotated ones have no detections: 2002/a/img_2" in (
        printed.err
    )
    results = json.loads((out / "results.json").read_text())
    boxes, ours = results["methods"]["boxes"], results["methods"]["ours"]
    assert boxes["official"]["thresholds"] == [0.9, 0.5]
    assert boxes["official"]["false_positives"] == [0, 1]
    assert boxes["official"]["discrete"] == [0.5, 0.5]
    assert boxes["optimal_minus_official"] == {"Disc1000": 0, "Cont1000": 0}
    assert ours["official"]["continuous"] == [0.5]
    assert results["published"]["discrete"]["published"]["rates"] == [0.25, 0.5]
    names = {path.name for path in out.iterdir()}
    assert names == {"results.json", "report.md", "discrete_roc.png", "continuous_roc.png"}


def test_folder_of_fold_files(fddb):
    folder = fddb / "method"
    folder.mkdir()
    write(folder / "fold-01-out.txt", {"2002/a/img_1": [f"{BOX} 0.9"]})
    write(folder / "fold-02-out.txt", {"2002/a/img_2": [f"{BOX} 0.8"]})
    (folder / "notes.txt").write_text("not read")
    out = fddb / "out"
    assert run_fddb(fddb, "--predictions", str(folder), "--output", str(out)) == 0
    official = json.loads((out / "results.json").read_text())["methods"]["method"]["official"]
    assert official["false_positives"] == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2002/a/img_1\n2\n1 2 3 4 0.5\n", ", line 3: the file ends after 1 of 2 detections"),
        ("2002/a/img_1\n1\n1 2 3 4 nan\n", ", line 3: expected a rectangle or an ellipse"),
        ("2002/a/img_1\n1\ninf 2 3 4 0.5\n", ", line 3: expected a rectangle or an ellipse"),
        ("2002/a/img_1\n1\n1 2 3 4\n", ", line 3: expected a rectangle or an ellipse"),
        ("2002/a/img_1\n1\n1 2 3 4 5 6 0.5\n", ", line 3: expected a rectangle or an ellipse"),
        ("2002/a/img_1\nx\n", ", line 2: expected a number of detections, found 'x'"),
        ("2002/a/img_1\n-1\n", ", line 2: expected a number of detections, found '-1'"),
        ("2002/a/img_1\n1.5\n", ", line 2: expected a number of detections, found '1.5'"),
        ("2002/a/img_1\n", ", line 1: the file ends before the count"),
        (
            "2002/a/img_1\n1\n1 2 3 4 0.5\n1 2 3 4 0.4\n",
            ", line 4: expected an image, found '1 2 3 4 0.4': does the count before fit?",
        ),
        (
            "2002/a/img_1\n2\n1 2 3 4 0.5\n2002/a/img_2\n0\n",
            ", line 4: expected detection 2 of the 2 that 2002/a/img_1 has by line 2, found "
            "'2002/a/img_2': the count does not fit",
        ),
        (
            "2002/a/img_1\n0\n2002/a/img_1\n0\n",
            ", line 3: '2002/a/img_1' was listed before, in damaged.txt, line 1",
        ),
        (
            "2002/a/img_1\n1\n1 2 3 4 0.5\n2002/a/img_2\n1\n1 2 3 4 5 0.5\n",
            ", line 4: rectangles and ellipses are mixed",
        ),
        ("", ": has none of the 2 annotated images, 2002/a/img_1, 2002/a/img_2; it has no image"),
        ("other\n0\n", "2002/a/img_1, 2002/a/img_2; it has 1 others, other"),
        ("x" * 200 + " 1\n", f", line 1: expected an image, found '{'x' * 60}...': does"),
    ],
)
def test_damaged_detections_are_named(fddb, capsys, text, message):
    path = fddb / "damaged.txt"
    path.write_text(text)
    assert run_fddb(fddb, "--predictions", str(path)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}")
    assert message in error
    assert error.count("\n") == 1


def test_suffixes_of_images_and_line_ends_do_not_matter(fddb, capsys):
    text = f"2002/a/img_1.jpg\r\n1\r\n{BOX}\t0.9 \r\n\r\n2002/a/img_2.jpg\r\n0\r\n"
    (fddb / "found.txt").write_text(text)
    assert run_fddb(fddb, "--predictions", str(fddb / "found.txt")) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "| found    | official     |         50.0000" in printed.out


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("image_sizes.txt", "2002/a/img_1 120\n", "line 1: expected image, width and height"),
        ("image_sizes.txt", "\na nan 9\n", "line 2: expected image, width and height"),
        ("image_sizes.txt", "a 1 2\na.jpg 1 3\n", "line 2: 'a' had another size before"),
        ("lists/FDDB-fold-02-ellipseList.txt", "a\n1\n1 nan 3 4 5 1\n", "line 3: expected an ell"),
        ("lists/FDDB-fold-02-ellipseList.txt", "a\n2\n1 2 3 4 5 1\n", "line 3: the file ends"),
        (
            "lists/FDDB-fold-02-ellipseList.txt",
            "a\n0\n2002/a/img_1\n0\n",
            "line 3: '2002/a/img_1' was listed before, in FDDB-fold-01-ellipseList.txt",
        ),
        ("lists/FDDB-fold-01-ellipseList.txt", "2002/a/img_1\n0\n", "there is no face in 2 images"),
        ("curve", "0.5 1 0.3\nnan 2 0.1\n", "line 2: expected a rate in 0 .. 1, false positives"),
        ("curve", "97.7 1000\n", "line 1: expected a rate in 0 .. 1, false positives"),
        ("curve", "", "line 1: the file is empty"),
        ("list", "2002/a/img_1.jpg\n\nother\n", "line 3: 'other' is not annotated; 1 of 2 images"),
        ("list", "\n", "names no image"),
        ("list", "2002/a/img_2\n", "there is no face in these images"),
        ("out", "", "is a file: a folder is needed"),
    ],
)
def test_damaged_other_files_are_named(fddb, capsys, file, text, message):
    path = fddb / file
    path.write_text(text)
    arguments = ["--predictions", str(fddb / "boxes.txt")]
    options = {"curve": "--curves", "list": "--image-list", "out": "--output"}
    arguments += [options[file], str(path)] if file in options else []
    assert run_fddb(fddb, *arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert str(path.parent if "no face in 2" in message else path) in error
    assert message in error


@pytest.mark.parametrize("option", ["--predictions", "--image-sizes", "--curves", "--image-list"])
def test_missing_file_is_named(fddb, capsys, option):
    arguments = ["--predictions", str(fddb / "boxes.txt")] * (option != "--predictions")
    assert run_fddb(fddb, *arguments, option, str(fddb / "nowhere.txt")) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: There is no ")
    assert str(fddb / "nowhere.txt") in error


@pytest.mark.parametrize("name", ["text.txt", "text.mat"])
@pytest.mark.parametrize("of", ["--annotations", "--predictions"])
def test_files_that_are_no_toolbox_files(tmp_path, capsys, name, of):
    objects = np.array([[0, 0, 40, 40, 0, 0.0]])
    record = np.array([("a.jpg", objects)], dtype=[("imgname", object), ("objects", object)])
    savemat(tmp_path / "annotations.mat", {"Annotations": record})
    (tmp_path / "found.txt").write_text("a.jpg 0.9 0 0 40 40\n")
    (tmp_path / name).write_text("a.jpg\n1\n0 0 40 40 0.9\n")
    files = {"--annotations": "annotations.mat", "--predictions": "found.txt", of: name}
    arguments = [word for option, file in files.items() for word in (option, str(tmp_path / file))]
    assert main(["evaluate", "--protocol", "afw", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / name}, ")


def test_unknown_images_and_missing_sizes(fddb, capsys):
    write(fddb / "boxes.txt", {"2002/a/img_9": [f"{BOX} 0.9"], "2002/a/img_1": []})
    assert run_fddb(fddb, "--predictions", str(fddb / "boxes.txt")) == 0
    assert "1 images are not annotated; their detections are left out: 2002/a/img_9" in (
        capsys.readouterr().err
    )
    (fddb / "image_sizes.txt").write_text("2002/a/img_2 120 100\n")
    assert run_fddb(fddb, "--predictions", str(fddb / "boxes.txt")) == 0  # nothing is drawn
    write(fddb / "boxes.txt", {"2002/a/img_1": [f"{BOX} 0.9"]})
    capsys.readouterr()
    assert run_fddb(fddb, "--predictions", str(fddb / "boxes.txt")) == 2
    expected = "image_sizes.txt: 1 images with detections, 2002/a/img_1 first, have no size"
    assert expected in capsys.readouterr().err
    (fddb / "image_sizes.txt").unlink()
    assert run_fddb(fddb, "--predictions", str(fddb / "boxes.txt")) == 2
    assert "fddb needs --image-sizes FILE" in capsys.readouterr().err


@pytest.mark.parametrize("protocol", ["afw", "pascal"])
def test_toolbox_files(tmp_path, capsys, protocol):
    """Face 2 is below 30 pixels: the toolbox ignores it."""
    objects = np.array([[0, 0, 40, 40, 0, 0], [100, 0, 120, 20, 0, 0.0]])
    record = np.array([("a.jpg", objects)], dtype=[("imgname", object), ("objects", object)])
    savemat(tmp_path / "annotations.mat", {"Annotations": record})
    (tmp_path / "ours.txt").write_text("a.jpg 0.9 0 0 40 40\nb.jpg 0.8 0 0 40 40\n")
    ids = np.array(["a"], dtype=object)
    boxes = {"ids": ids, "BB": np.array([[200.0], [0], [240], [40]]), "confidence": [[0.5]]}
    savemat(tmp_path / "other.mat", boxes)
    out = tmp_path / "out"
    arguments = ["--annotations", str(tmp_path / "annotations.mat"), "--output", str(out)]
    predictions = ["--predictions", str(tmp_path / "ours.txt"), str(tmp_path / "other.mat")]
    assert main(["evaluate", "--protocol", protocol, *arguments, *predictions]) == 0
    assert "warning: ours: 1 images are not annotated" in capsys.readouterr().err
    methods = json.loads((out / "results.json").read_text())["methods"]
    assert methods["ours"]["toolbox"]["counted_faces"] == 1
    assert (methods["ours"]["toolbox"]["ap"], methods["ours"]["plain"]["ap"]) == (1, 0.5)
    assert methods["other"]["toolbox"]["ap"] == 0
    assert "annotations.mat" in (out / "report.md").read_text()
    assert (out / "precision_recall.png").is_file()


def run_without_torch(*arguments):
    """Run the command in a process of its own, which must not have loaded torch or detectron2."""
    code = (
        "import sys\nfrom srn_d2.cli import main\nassert main(sys.argv[1:]) == 0\n"
        "assert not {'torch', 'detectron2'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, "evaluate", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=120)


def test_neither_torch_nor_detectron2_is_imported(fddb):
    arguments = ["--annotations", fddb / "lists", "--predictions", fddb / "boxes.txt"]
    run_without_torch("--protocol", "fddb", *arguments, "--output", fddb / "out")


def test_widerface_with_list_and_attributes_needs_no_torch(tmp_path):
    """The list is the file of the attributes, as the official one can be both."""
    boxes = {"0--Parade/a": np.array([[10, 10, 40, 40], [100, 20, 20, 20]], np.int32)}
    counted = {setting: {"0--Parade/a": np.ones(2, bool)} for setting in SETTINGS}
    write_ground_truth(tmp_path, WiderFaceGroundTruth(boxes, counted))
    faces = WiderFace(10, 10, 40, 40, blur=0), WiderFace(100, 20, 20, 20, blur=2)
    text = tmp_path / "val_bbx_gt.txt"
    write_wider_annotations(text, [WiderImage("0--Parade/a.jpg", faces)])
    # A second one, for the protocol stretches the scores to 0 .. 1.
    found = np.array([[10, 10, 40, 40, 0.9], [300, 300, 40, 40, 0.1]])
    write_predictions(tmp_path / "found", {"0--Parade/a": found})
    files = [
        "--image-list",
        tmp_path / "val_bbx_gt.txt",
        "--annotations",
        tmp_path / "val_bbx_gt.txt",
    ]
    arguments = ["--predictions", tmp_path / "found", "--ground-truth", tmp_path, *files]
    run_without_torch("--protocol", "widerface", *arguments, "--output", tmp_path / "out")
    (report,) = json.loads((tmp_path / "out" / "report.json").read_text())
    groups = {(group["kind"], group["name"]): group["recall"] for group in report["groups"]}
    assert (groups["blur", "clear"], groups["blur", "heavy"]) == (1, 0)
