"""COCO results, faces.json and .jsonl of srn-d2 detect, and other JSON."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srn_d2.evaluation.predictions.columns import ColumnsError
from srn_d2.evaluation.predictions.image_names import ImageNames
from srn_d2.evaluation.predictions.json_files import read_json
from srn_d2.evaluation.predictions.json_images import JsonFormatError
from srn_d2.evaluation.predictions.sources import read_source

IMAGES = ImageNames({7: "party/a.jpg", 9: "party/b.jpg", 12: "c.jpg"})
A, B = [10.0, 20.0, 30.0, 40.0], [5.0, 6.0, 70.0, 81.0]
EXPECTED = {7: [[*A, 0.9], [*B, 0.5]], 9: [[*B, 0.75]]}


def xyxy(box):
    x, y, w, h = box
    return [x, y, x + w, y + h]


def coco(ids, **more):
    boxes = [(ids[0], A, 0.9), (ids[0], B, 0.5), (ids[1], B, 0.75)]
    return [
        {"image_id": i, "category_id": 1, "bbox": box, "score": score, **more}
        for i, box, score in boxes
    ]


def faces(names):
    boxes = [[(A, 0.9), (B, 0.5)], [(B, 0.75)]]
    return [
        {"file_name": name, "faces": [{"bbox": xyxy(box), "score": s} for box, s in them]}
        for name, them in zip(names, boxes, strict=True)
    ]


def read(tmp_path, content, name="p.json", images=IMAGES, **options):
    path = tmp_path / name
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return read_source(path, images, **options)


def boxes_of(found):
    return {key: boxes.tolist() for key, boxes in found.predictions.items() if len(boxes)}


FORMS = {
    "ids": coco([7, 9]),
    "ids as text": coco(["7", "9"]),
    "ids as decimals": coco([7.0, 9.0]),
    "names": coco(["party/a.jpg", "party/b.jpg"]),
    "stems": coco(["a", "b"]),
    "paths": coco(["C:\\photos\\party\\a.jpg", "C:\\photos\\party\\b.jpg"]),
    "a whole COCO file": {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": coco([1, 2]),
    },
    "another category": coco([7, 9], category_id=0),
    "faces.json": faces(["party/a.jpg", "party/b.jpg"]),
    "faces.json of absolute paths": faces(["/data/party/a.jpg", "/data/party/b.jpg"]),
    "names and lists": {"a.jpg": [[*A, 0.9], [*B, 0.5]], "b.jpg": [[*B, 0.75]]},
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(tmp_path, form):
    found = read(tmp_path, FORMS[form])
    assert boxes_of(found) == EXPECTED
    assert found.main_fault() == ""
    lines = "\n".join(map(json.dumps, FORMS[form])) if isinstance(FORMS[form], list) else ""
    if lines:
        assert boxes_of(read(tmp_path, lines, "p.jsonl")) == EXPECTED


def test_utf_16(tmp_path):
    (tmp_path / "p.json").write_bytes(json.dumps(FORMS["ids"]).encode("utf-16"))
    assert boxes_of(read_source(tmp_path / "p.json", IMAGES)) == EXPECTED


def test_ids_that_are_the_numbers_of_the_file_names(tmp_path):
    images = ImageNames({1: "val/000123.jpg", 2: "val/000456.jpg"})
    found = read(tmp_path, coco([123, 456]), images=images)
    assert list(boxes_of(found)) == [1, 2]
    assert "number in the images' file names" in found.warnings()[0]


def test_file_names_beside_ids(tmp_path):
    records = [
        {**r, "image_id": 0, "file_name": f"{'ab'[r['image_id'] == 9]}.jpg"} for r in coco([7, 9])
    ]
    assert boxes_of(read(tmp_path, records)) == EXPECTED


def test_several_categories(tmp_path):
    records = [*coco([7, 9], category_id=3), *coco([12, 9], category_id=1)]
    with pytest.raises(
        JsonFormatError, match=r"2 categories.* 3 \(3\), 1 \(3\).*--result-category ID"
    ):
        read(tmp_path, records)
    found = read(tmp_path, records, category="3")
    assert boxes_of(found) == EXPECTED
    assert "3 detections of other categories are left out" in found.warnings()
    with pytest.raises(JsonFormatError, match="no detection has category_id 5"):
        read(tmp_path, records, category="5")


def test_images_that_are_not_annotated(tmp_path):
    found = read(tmp_path, coco([7, 77]))
    assert list(boxes_of(found)) == [7]
    assert found.warnings() == [
        "1 images are not among the evaluated ones; their detections are left out: 77"
    ]
    with pytest.raises(
        JsonFormatError, match=r"none of its 2 images is annotated: 1; 2; annotated"
    ):
        read(tmp_path, coco([1, 2]))


def test_other_folders_are_told(tmp_path):
    found = read(tmp_path, faces(["val/a.jpg", "val/b.jpg"]))
    assert boxes_of(found) == EXPECTED
    assert "val/a.jpg is party/a.jpg" in "".join(found.warnings())


def test_missing_images_and_errors_of_detect(tmp_path):
    records = [*faces(["a.jpg", "b.jpg"]), {"file_name": "c.jpg", "error": "truncated"}]
    found = read(tmp_path, records)
    assert found.missing == (12,)
    assert any("have an error in place of faces" in line for line in found.warnings())
    assert boxes_of(found) == EXPECTED


def test_one_damaged_record_is_named(tmp_path):
    records = coco([7, 9])
    records[1]["bbox"] = [1, 2, 3]
    found = read(tmp_path, records)
    assert [issue.line for issue in found.malformed] == ["[1]"]
    assert "expected bbox with four numbers" in found.warnings()[0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "p.json, line 1"),
        ("[1, 2\n3]", "line 2"),
        ("{}", "expected COCO results"),
        ("3", "expected COCO results"),
        (json.dumps([{"image_id": 7, "category_id": 1, "bbox": A}]), "there is no score"),
        (json.dumps([{"category_id": 1, "bbox": A, "score": 1}]), "expected image_id, found None"),
        (json.dumps([{"file_name": "a.jpg", "faces": []}] * 2), "'a.jpg' is there twice"),
        (json.dumps([1, 2]), "none of 2 records can be read"),
    ],
)
def test_unusable_files_are_named(tmp_path, content, expected):
    with pytest.raises(JsonFormatError) as caught:
        read(tmp_path, content)
    assert expected in str(caught.value)
    assert "p.json" in str(caught.value)


def test_nan_is_named(tmp_path):
    found = read(tmp_path, json.dumps(coco([7, 9])).replace("0.75", "NaN"))
    assert len(found.non_finite) == 1
    assert "party/b.jpg:detection 1: score nan" in str(found.non_finite[0])


_KEYS = st.sampled_from(["image_id", "bbox", "score", "faces", "file_name", "frame", "images"])
_VALUES = st.sampled_from([None, True, 7, "7", 2.5, "a.jpg", [1, 2, 3, 4], [], "x", 10**400])
_JSON = st.recursive(
    _VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(_JSON)
@settings(max_examples=50, deadline=None)
def test_any_json_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(content))
    with contextlib.suppress(JsonFormatError, ColumnsError):
        found = read_source(path, IMAGES)
        assert all(boxes.shape[1] == 5 for boxes in found.predictions.values())


def test_one_image_by_several_spellings_of_its_id(tmp_path):
    records = coco([7, 9])
    records[1]["image_id"] = "7"
    assert boxes_of(read(tmp_path, records)) == EXPECTED


# --- videos -------------------------------------------------------------------------------------


def frames(number):
    lines = [{"frame": i, "time": i / 25, "faces": []} for i in range(number)]
    lines[2]["faces"] = [{"bbox": xyxy(A), "score": 0.9}]
    return "\n".join(map(json.dumps, lines))


@pytest.mark.parametrize(
    ("numbers", "image"),
    [
        (range(5), "frame_000002.jpg"),
        (range(1, 6), "frame_000003.jpg"),
        ([0, 2], "frame_000002.jpg"),
    ],
)
def test_frames_by_number(tmp_path, numbers, image):
    images = ImageNames({i: f"frame_{i:06d}.jpg" for i in numbers})
    found = read(tmp_path, frames(5), "clip.mp4.jsonl", images)
    assert [images.names[key] for key in boxes_of(found)] == [image]


def test_frames_that_are_not_told(tmp_path):
    images = ImageNames({i: f"frame_{i:06d}.jpg" for i in (2, 3)})
    with pytest.raises(JsonFormatError, match="--first-frame 0 or --first-frame 1"):
        read(tmp_path, frames(5), "clip.mp4.jsonl", images)
    for first, image_id in ((0, 2), (1, 3)):
        found = read(tmp_path, frames(5), "clip.mp4.jsonl", images, first_frame=first)
        assert list(boxes_of(found)) == [image_id]
    with pytest.raises(JsonFormatError, match="ends in no number"):
        read(tmp_path, frames(5), "clip.mp4.jsonl", IMAGES)


def test_rows_are_arrays(tmp_path):
    (tmp_path / "p.json").write_text("[]")
    found = read_json(tmp_path / "p.json", IMAGES)
    assert all(rows.shape == (0, 5) and rows.dtype == np.float64 for rows in found.rows.values())
    assert (
        read_source(tmp_path / "p.json", IMAGES).main_fault() == "there is not a single detection"
    )
