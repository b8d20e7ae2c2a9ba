"""COCO JSON as the many tools write it."""

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from srn_d2.data.annotation_files import AnnotationFormatError
from srn_d2.data.annotations import read_faces

IMAGES = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "sub/b.png"}]
FACE = [{"id": 1, "name": "face"}]
BOX = [10, 20, 30, 40]


def face(image_id=1, category_id=1, **fields):
    return {"image_id": image_id, "category_id": category_id, "bbox": BOX, **fields}


def coco(annotations, categories=FACE, images=IMAGES):
    content = {"images": images, "annotations": annotations}
    return content if categories is None else {**content, "categories": categories}


@pytest.mark.parametrize("box_id", [1, 1.0, "1"])
@pytest.mark.parametrize("listed_id", [1, 1.0, "1"])
@pytest.mark.parametrize("image_id", [1, 1.0, "1"])
def test_numbers_are_the_same_as_texts(write, pictures, box_id, listed_id, image_id):
    images = [{"id": image_id, "file_name": "a.jpg"}]
    content = coco([face(1, box_id)], [{"id": listed_id, "name": "face"}], images)
    table = read_faces(write("f.json", content), pictures)
    assert table.boxes.tolist() == [BOX]
    assert table.image_ids == [int(image_id) if isinstance(image_id, float) else image_id]


def test_two_images_whose_ids_differ_in_type_stay_apart(write, pictures):
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": "1", "file_name": "sub/b.png"}]
    table = read_faces(write("f.json", coco([face("1")], images=images)), pictures)
    assert table.image_of.tolist() == [1]
    with pytest.raises(AnnotationFormatError, match="no image with the id"):
        read_faces(write("f.json", coco([face(" 1 ")], images=images)), pictures)


@pytest.mark.parametrize("missing", [0, 7, "head", None])
def test_a_category_id_that_is_not_listed(write, pictures, missing):
    content = coco([face(), *[face(category_id=missing)] * 2])
    with pytest.raises(
        AnnotationFormatError, match=r"2 of 3 annotations.*the categories are 1 'face'"
    ):
        read_faces(write("f.json", content), pictures)
    if missing is not None:  # the way out that the message names
        table = read_faces(write("f.json", content), pictures, categories=[missing])
        assert len(table.boxes) == 2


def test_what_is_there_twice(write, pictures):
    categories = [{"id": 1, "name": "face"}, {"id": "1", "name": "car"}]
    path = write("f.json", coco([face()], categories=categories))
    with pytest.raises(AnnotationFormatError, match=r"categories\[1\].id: 1 is .*'face'.*'car'"):
        read_faces(path, pictures)
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "a.jpg"}]
    with pytest.raises(AnnotationFormatError, match=r"f\.json, images: 'a\.jpg' is there 2 times"):
        read_faces(write("f.json", coco([face()], images=images)), pictures)


@pytest.mark.parametrize("categories", [None, []])
def test_no_list_of_categories(write, pictures, categories):
    for annotations in ([face()], [face(category_id=5)], [{"image_id": 1, "bbox": BOX}]):
        table = read_faces(write("f.json", coco(annotations, categories)), pictures)
        assert table.boxes.tolist() == [BOX]
    two = write("f.json", coco([face(category_id=5), face(category_id=6)], categories))
    with pytest.raises(AnnotationFormatError, match=r"'5' \(1\), '6' \(1\)"):
        read_faces(two, pictures)
    assert len(read_faces(two, pictures, categories=[5, "6"]).boxes) == 2


@pytest.mark.parametrize(
    ("names", "wanted", "num_faces"),
    [
        ({0: "faces-of-people", 1: "head"}, None, 2),  # Roboflow's root, which nothing has
        ({1: " Face "}, None, 2),
        ({1: "Human face"}, None, 2),
        ({1: "with_mask", 2: "without_mask"}, ["with_mask", "without_mask"], 3),
        ({1: "with_mask", 2: "without_mask"}, ["with_mask"], 2),
        ({1: "with_mask", 2: "without_mask"}, None, AnnotationFormatError),
        ({1: "car", 2: "dog", 3: "face"}, None, AnnotationFormatError),
        ({1: "face", 2: "car"}, ["dog"], AnnotationFormatError),
    ],
)
def test_which_categories_are_faces(write, pictures, names, wanted, num_faces):
    categories = [{"id": key, "name": name} for key, name in names.items()]
    annotations = [face(), face()] + ([face(category_id=2)] if 2 in names else [])
    path = write("f.json", coco(annotations, categories))
    if num_faces is AnnotationFormatError:
        with pytest.raises(AnnotationFormatError, match=r"categories, .*|categories: "):
            read_faces(path, pictures, categories=wanted)
        return
    table = read_faces(path, pictures, categories=wanted)
    assert table.num_faces == num_faces
    assert sum(table.dropped.values()) == len(annotations) - num_faces
    is_guess = wanted is None and "face" not in names[1].lower()
    assert ("'head', counts as faces" in table.summary()) == is_guess


@pytest.mark.parametrize("bad", [None, [], "x", [1, 2], [1, 2, 3, "x"], {"x": 1}, [1, 2, 3, None]])
def test_boxes_of_other_categories_are_not_looked_at(write, pictures, bad):
    categories = [*FACE, {"id": 2, "name": "car"}]
    content = coco([face(), face(category_id=2, bbox=bad), face(99, 2)], categories)
    table = read_faces(write("f.json", content), pictures)
    assert table.boxes.tolist() == [BOX]
    assert table.dropped == {"of other categories: 'car' (2)": 2}
    content["annotations"][1]["category_id"] = 1
    with pytest.raises(AnnotationFormatError, match=r"annotations\[1\]\.bbox: "):
        read_faces(write("f.json", content), pictures)


def mask_of_box():
    mask = np.zeros((120, 160), dtype=np.uint8, order="F")
    mask[20:60, 10:40] = 1
    return mask


def plain_counts(mask):
    flat = mask.T.reshape(-1)
    changes = np.flatnonzero(np.diff(flat)) + 1
    return np.diff([0, *changes.tolist(), len(flat)]).tolist()


@pytest.mark.parametrize(
    "segmentation",
    [
        [[10, 20, 40, 20, 40, 60, 10, 60]],
        [[10, 20, 20, 30, 10, 30], [30, 50, 40, 60, 30, 55]],
        [[[10, 20], [40, 20], [40, 60]]],
        [10, 20, 40, 20, 40, 60],
        {"counts": plain_counts(mask_of_box()), "size": [120, 160]},
        {"counts": mask_utils.encode(mask_of_box())["counts"].decode(), "size": [120, 160]},
    ],
)
@pytest.mark.parametrize("box", [None, []])
def test_the_bounds_of_a_segmentation(write, pictures, segmentation, box):
    content = coco([face(bbox=box, segmentation=segmentation)])
    table = read_faces(write("f.json", content), pictures)
    assert table.boxes.tolist() == [BOX]
    assert "1 boxes are the bounds of segmentations" in table.summary()


@pytest.mark.parametrize(
    "segmentation",
    [
        *([[1]], [["x", 1, 2, 3]], {"counts": [1, 2], "size": [120, 160]}, {"counts": "?"}, {}),
        *({"counts": [], "size": [0, 0]}, {"counts": "0" * 9, "size": [-1, 2]}),
    ],
)
def test_a_damaged_segmentation(write, pictures, segmentation):
    content = coco([face(bbox=None, segmentation=segmentation)])
    with pytest.raises(AnnotationFormatError, match=r"annotations\[0\]\.bbox: there is n"):
        read_faces(write("f.json", content), pictures)


@pytest.mark.parametrize("key", ["iscrowd", "ignore"])
@pytest.mark.parametrize(
    ("value", "ignored"), [(1, True), (True, True), ("1", True), (0, False), ("0", False)]
)
def test_ignore_regions(write, pictures, key, value, ignored):
    table = read_faces(write("f.json", coco([face(**{key: value})])), pictures)
    assert table.ignored.tolist() == [ignored]
    (annotation,) = table.to_dicts()[0]["annotations"]
    assert (annotation["ignore"], annotation["iscrowd"]) == (ignored, int(ignored))


def test_order_of_boxes_and_lists_in_the_file_does_not_matter(write, pictures):
    boxes = [[1, 2, 30, 40], [3, 4, 50, 60], [5, 6, 70, 8]]
    annotations = [face(i, bbox=box) for i, box in zip((2, 1, 2), boxes, strict=True)]
    content = coco(annotations)
    turned = {key: content[key] for key in reversed(content)}
    for each in (content, turned):
        table = read_faces(write("f.json", each), pictures)
        assert table.boxes.tolist() == [boxes[1], boxes[0], boxes[2]]
        assert table.image_of.tolist() == [0, 1, 1]
        assert table.where(1) == "annotations[0].bbox"


def test_values_that_json_allows_in_python_alone(write, pictures):
    text = '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, '
    text += '"bbox": [1, 2, NaN, 4]}]}'
    with pytest.raises(AnnotationFormatError, match=r"annotations\[0\]\.bbox: .*finite"):
        read_faces(write("f.json", text), pictures)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_other_encodings(write, pictures, encoding):
    images = [{"id": 1, "file_name": "sub/ä.jpg"}]
    import json

    text = json.dumps(coco([face()], images=images), ensure_ascii=False)
    table = read_faces(write("f.json", text.encode(encoding)), pictures)
    assert table.paths == [str(pictures / "sub/ä.jpg")]


def test_the_line_in_the_log(write, pictures, caplog, monkeypatch):
    import logging

    monkeypatch.setattr(logging.getLogger("srn_d2"), "propagate", True)
    caplog.set_level(logging.INFO, logger="srn_d2")
    categories = [*FACE, {"id": 2, "name": "car"}]
    annotations = [face(), face(iscrowd=1), face(bbox=[1, 2, 0, 4]), face(category_id=2)]
    path = write("f.json", coco(annotations, categories))
    for _ in range(2):
        read_faces(path, pictures)
    assert [m for m in caplog.messages if str(path) in m] == [
        f"{path}: 2 images, 1 faces, 1 ignored, 2 dropped "
        "(1 of other categories: 'car' (1), 1 no width or no height)"
    ]
