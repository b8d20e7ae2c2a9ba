"""``srn-d2 check-data``, on files and on a registered data set."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from helpers.small_pictures import write_picture
from srn_d2.cli import main
from srn_d2.cli.contact_sheet import COLUMNS, MARGIN, TILE, choose_images
from srn_d2.data.annotations import read_faces
from srn_d2.data.annotations.statistics import suspicious_boxes
from srn_d2.data.datasets.builtin import register_builtin_datasets, register_wider_face

GOOD = [20, 30, 40, 50]
SUSPICIOUS = {
    "outside of the image": [170, 10, 30, 40],
    "more than 25% of a side beyond the image's edge": [140, 30, 30, 40],
    "the shorter side is below 3 pixels": [50, 60, 2, 3],
    "one side more than 3 times the other": [10, 10, 80, 20],
    "more than 90% of the image": [1, 1, 158, 118],
    "twice the same box": [60, 50, 31, 41],
}


@pytest.fixture
def annotations(tmp_path):
    """20 good pictures with a box each, then one for each kind of suspicion, then one damaged."""
    boxes = [[GOOD]] * 20 + [[box] for box in SUSPICIOUS.values()]
    boxes[-1] = boxes[-1] * 2
    for number in range(len(boxes)):
        write_picture(tmp_path / f"{number:02d}.jpg")
    (tmp_path / "damaged.jpg").write_bytes(b"?")
    rows = [(f"{i:02d}.jpg", box) for i, image in enumerate(boxes) for box in image]
    lines = ["file,x,y,w,h,ignore", *(f"{name},{','.join(map(str, b))},0" for name, b in rows)]
    lines += ["damaged.jpg,1,2,30,40,0", "00.jpg,100,60,20,30,1", "00.jpg,1,2,1,1,1"]
    (tmp_path / "faces.csv").write_text("\n".join(lines))
    return tmp_path / "faces.csv"


def test_each_kind_of_suspicious_box(annotations):
    table = read_faces(annotations, annotations.parent, box_format="xywh")
    found = suspicious_boxes(table)
    assert {why: table.boxes[rows].tolist() for why, rows in found.items()} == {
        why: [box] for why, box in SUSPICIOUS.items()
    }


def test_the_sheet_has_all_suspicious_images_and_some_others(annotations):
    table = read_faces(annotations, annotations.parent, box_format="xywh")
    rows = {int(row) for rows in suspicious_boxes(table).values() for row in rows}
    chosen = choose_images(table, rows, 12)
    assert len(chosen) == len(set(chosen)) == 12
    assert set(range(20, 26)) <= set(chosen)
    assert choose_images(table, rows, 1000) == list(range(27))
    assert choose_images(table, set(), 3) == [0, 13, 26]


def test_on_a_file(annotations, tmp_path, capsys):
    output = tmp_path / "out"
    arguments = ["check-data", str(annotations), "--output", str(output), "--box-format", "xywh"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "27 images, 28 faces, 2 ignored, 0 dropped" in printed
    assert "1 images cannot be read, 'damaged.jpg' first" in printed
    for why in SUSPICIOUS:
        assert f"1 {why}" in printed
    assert "32 to 64       20 #" in printed
    with open(output / "suspicious.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["why"] for row in rows] == list(SUSPICIOUS)
    sheet = np.asarray(Image.open(output / "contact_sheet.jpg").convert("RGB")).astype(int)
    assert sheet.shape[1] == COLUMNS * (TILE + MARGIN)
    # The box of the first picture is lime, at its place: 20 of 160 pixels from the left.
    scale = TILE / 160
    red, green, blue = sheet[round(55 * scale), round(20 * scale)]
    assert green > 150
    assert green > red + 60
    assert green > blue + 60


def test_on_a_registered_data_set(tmp_path, monkeypatch, capsys):
    root = tmp_path / "widerface"
    write_picture(root / "WIDER_val/images/0--Parade/a.jpg")
    (root / "wider_face_split").mkdir()
    text = "0--Parade/a.jpg\n2\n1 2 30 40 0 0 0 0 0 0\n5 6 30 40 0 0 0 1 0 0\n"
    (root / "wider_face_split/wider_face_val_bbx_gt.txt").write_text(text)
    monkeypatch.chdir(tmp_path)
    try:
        register_wider_face(root)
        assert main(["check-data", "widerface_val"]) == 0
    finally:
        register_builtin_datasets()
    assert "1 images, 1 faces, 1 ignored, 0 dropped" in capsys.readouterr().out
    assert (tmp_path / "output/check_data/contact_sheet.jpg").is_file()
    assert main(["check-data", "widerface_vla"]) == 2
    error = capsys.readouterr().err
    assert "no data set 'widerface_vla'; registered are" in error
    assert "widerface_val" in error


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["faces.csv", "--box-format", "ltrb"], "box_format is one of"),
        (["faces.csv", "--image-root", "nowhere"], "image_root, is not there"),
        (["nothing.json"], "is not there"),
        (["faces.csv", "--categories", "face"], "no column of categories"),
        (["some_name", "--image-root", "x"], "takes none of"),
    ],
)
def test_errors_are_one_sentence(tmp_path, monkeypatch, capsys, arguments, problem):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces.csv").write_text("file,x,y,w,h\n")
    assert main(["check-data", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert problem in error


def test_categories(tmp_path, capsys):
    write_picture(tmp_path / "a.jpg")
    names = ("with_mask", "without_mask")
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
        "annotations": [{"image_id": 1, "category_id": i, "bbox": GOOD} for i in range(2)],
    }
    (tmp_path / "f.json").write_text(json.dumps(content))
    arguments = ["check-data", str(tmp_path / "f.json"), "--output", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "categories=['with_mask', 'without_mask']" in capsys.readouterr().err
    assert main([*arguments, "--categories", *names]) == 0
    assert "2 faces" in capsys.readouterr().out
