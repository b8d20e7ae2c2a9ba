"""The user's own faces: CSV, COCO JSON and WIDER FACE text."""

import copy
import json

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srn_d2.data import register_face_folder
from srn_d2.data.datasets.common import AnnotationFormatError
from srn_d2.data.datasets.custom import load_faces

COCO = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": "x", "file_name": "sub/b.png"}],
    "categories": [{"id": 3, "name": "car"}, {"id": 5, "name": "Face"}],
    "annotations": [
        {"image_id": 7, "category_id": 5, "bbox": [1, 2, 30, 40.5]},
        {"image_id": 7, "category_id": 5, "bbox": [5, 6, 7, 8], "iscrowd": 1},
        {"image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9]},
        {"image_id": "x", "category_id": 5, "bbox": [0, 0, 0, 9], "iscrowd": 0},
    ],
}


@pytest.fixture
def folder(tmp_path):
    """A folder with two image files; the readers do not open them."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.jpg").touch()
    (tmp_path / "sub" / "b.png").touch()
    return tmp_path


def boxes_of(dataset):
    return [[a["bbox"] for a in image["annotations"]] for image in dataset]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("faces.csv", "file,x,y,w,h\na.jpg,1,2,30,40\na.jpg,5,6,7,8\nsub/b.png,,,,\n"),
        ("faces.txt", "a.jpg\n2\n1 2 30 40 0 0 0 0 0 0\n5 6 7 8 0 0 0 0 0 0\nsub/b.png\n0\n"),
        (
            "faces.json",
            json.dumps(
                {
                    "images": COCO["images"],
                    "categories": [{"id": 1, "name": "head"}],
                    "annotations": [
                        {"image_id": 7, "category_id": 1, "bbox": [1, 2, 30, 40]},
                        {"image_id": 7, "category_id": 1, "bbox": [5, 6, 7, 8]},
                    ],
                }
            ),
        ),
    ],
)
def test_three_formats_give_the_same_boxes(folder, file, content):
    (folder / file).write_text(content)
    register_face_folder("my_faces", folder, folder / file)
    dataset = DatasetCatalog.get("my_faces")
    assert [image["file_name"] for image in dataset] == [
        str(folder / "a.jpg"),
        str(folder / "sub" / "b.png"),
    ]
    assert boxes_of(dataset) == [[[1.0, 2.0, 30.0, 40.0], [5.0, 6.0, 7.0, 8.0]], []]
    assert not any(a["ignore"] for image in dataset for a in image["annotations"])
    assert MetadataCatalog.get("my_faces").thing_classes == ["face"]
    assert MetadataCatalog.get("my_faces").evaluator_type == "coco_face"


def test_unknown_suffix_fails_at_once(folder):
    with pytest.raises(ValueError, match=r"\.txt, \.json, \.csv"):
        register_face_folder("my_yml", folder, folder / "faces.yml")
    assert "my_yml" not in DatasetCatalog


def test_missing_files(folder):
    register_face_folder("my_faces", folder, folder / "faces.csv")
    with pytest.raises(FileNotFoundError, match=r"faces\.csv"):
        DatasetCatalog.get("my_faces")
    (folder / "faces.csv").write_text("file,x,y,w,h\nnot_there.jpg,1,2,3,4\n")
    with pytest.raises(FileNotFoundError, match=r"1 of 1 images are missing(.|\n)*not_there\.jpg"):
        DatasetCatalog.get("my_faces")


numbers = st.floats(-1e4, 1e4, allow_nan=False)
sides = st.floats(2, 1e4)  # smaller ones look like fractions


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["a.jpg", "sub/b.png"]), numbers, numbers, sides, sides)))
def test_csv_round_trip(folder, rows):
    lines = ["file,x,y,w,h", *(",".join(map(str, row)) for row in rows)]
    (folder / "faces.csv").write_text("\r\n".join(lines))
    dataset = load_faces(folder / "faces.csv", folder)
    assert [image["image_id"] for image in dataset] == list(dict.fromkeys(row[0] for row in rows))
    for image, boxes in zip(dataset, boxes_of(dataset), strict=True):
        assert boxes == [list(row[1:]) for row in rows if row[0] == image["image_id"]]


@pytest.mark.parametrize(
    "row",
    [
        *("a.jpg,1,2,3", "a.jpg,1,2,3,x", "a.jpg,1,2,,4", "a.jpg,1,2,3,nan", ",1,2,3,4"),
        "a.jpg,1,5,2,5,3,5,4,5",  # decimal commas
    ],
)
@pytest.mark.parametrize("line", [2, 3, 5])
def test_csv_error_names_the_line(folder, row, line):
    lines = ["file,x,y,w,h"] + ["a.jpg,1,2,3,4"] * 4
    lines[line - 1] = row
    (folder / "faces.csv").write_text("\n".join(lines))
    with pytest.raises(AnnotationFormatError, match=rf"faces\.csv, line {line}: "):
        load_faces(folder / "faces.csv", folder)


def test_csv_header_other_columns_and_binary(folder):
    file = folder / "faces.csv"
    file.write_text("h, w, y, x, who, file\n4, 3, 2, 1, Ann, a.jpg\n")
    assert boxes_of(load_faces(file, folder)) == [[[1.0, 2.0, 3.0, 4.0]]]
    file.write_text("a.jpg,1,2,3,4\n")
    with pytest.raises(AnnotationFormatError, match="line 1: expected the header file,x,y,w,h"):
        load_faces(file, folder)
    file.write_text('file,x,y,w,h\n"' + "z" * 200_000)
    with pytest.raises(AnnotationFormatError, match="field larger"):
        load_faces(file, folder)


def test_coco_category_crowd_and_degenerate(folder):
    file = folder / "faces.json"
    file.write_text(json.dumps(COCO))
    first, second = load_faces(file, folder)
    assert first["image_id"] == 7
    assert [a["bbox"] for a in first["annotations"]] == [[1, 2, 30, 40.5], [5, 6, 7, 8]]
    assert [(a["iscrowd"], a["ignore"]) for a in first["annotations"]] == [(0, False), (1, True)]
    assert {a["category_id"] for a in first["annotations"]} == {0}
    assert second["annotations"] == []  # its only box has no width


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("images",), None, "images: "),
        (("images", 1, "file_name"), 12, r"images\[1\]\.file_name: expected str"),
        (("images", 1, "id"), [], r"images\[1\]\.id: expected int or str"),
        (("images", 1, "id"), 7, r"images\[1\]\.id: 7 is there twice"),
        (("annotations", 2), "face", r"annotations\[2\]\.image_id: "),
        (("annotations", 3, "bbox"), [1, 2, 3], r"annotations\[3\]\.bbox: expected four numbers"),
        (("annotations", 3, "bbox"), [1, 2, 3, None], r"annotations\[3\]\.bbox: "),
        (("annotations", 3, "bbox"), [1, 2, 3, 10**400], r"annotations\[3\]\.bbox: "),
        (("annotations", 0, "image_id"), 8, r"annotations\[0\]\.image_id: there is no image"),
        (("categories", 1, "name"), "head", r"categories: .*\['car', 'head'\]"),
        (("categories",), [], r"categories .*missing or empty.*'3' \(1\)"),
    ],
)
def test_coco_error_names_the_key(folder, path, value, where):
    content = copy.deepcopy(COCO)
    parent = content
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    (folder / "faces.json").write_text(json.dumps(content))
    with pytest.raises(AnnotationFormatError, match=rf"faces\.json, {where}"):
        load_faces(folder / "faces.json", folder)


@pytest.mark.parametrize(("text", "line"), [('{"images": [\n\n}', 3), ("", 1), ("[1]", 1)])
def test_json_that_cannot_be_read(folder, text, line):
    (folder / "faces.json").write_text(text)
    with pytest.raises(AnnotationFormatError, match=rf"faces\.json, line {line}: "):
        load_faces(folder / "faces.json", folder)
