"""Image lists in both formats, and attributes by the order of the faces."""

import numpy as np
import pytest

from srn_d2.data.datasets.wider_face import WiderFace, WiderImage, write_wider_annotations
from srn_d2.evaluation.widerface.ap import WiderFaceGroundTruth
from srn_d2.evaluation.widerface.image_lists import UNKNOWN, read_attributes, read_image_list

BOXES = {
    "0--Parade/a": np.array([[1, 2, 30, 40], [5, 6, 7, 8]], np.int32),
    "0--Parade/b": np.array([[9, 9, 20, 20]], np.int32),
    "1--Handshaking/c": np.array([[0, 0, 0, 0]], np.int32),  # the .mat's way to say: no face
    "1--Handshaking/d": np.array([[3, 3, 10, 10]], np.int32),
}
GROUND_TRUTH = WiderFaceGroundTruth(BOXES, {})
ANNOTATIONS = [
    WiderImage(
        "0--Parade/a.jpg",
        (WiderFace(1, 2, 30, 40, blur=2, pose=1), WiderFace(5, 6, 7, 8, invalid=1, occlusion=2)),
    ),
    WiderImage("0--Parade/b.jpg", (WiderFace(9, 9, 20, 20, illumination=1),)),
    WiderImage("1--Handshaking/c.jpg", ()),
]


@pytest.fixture
def annotation_file(tmp_path):
    path = tmp_path / "wider_face_val_bbx_gt.txt"
    write_wider_annotations(path, ANNOTATIONS)
    return path


def test_plain_list_with_and_without_suffix(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("1--Handshaking/d\n\n0--Parade/b.jpg \n0--Parade/b\n")
    assert read_image_list(path, GROUND_TRUTH) == ["1--Handshaking/d", "0--Parade/b"]


def test_annotation_file_as_list(annotation_file):
    found = read_image_list(annotation_file, GROUND_TRUTH)
    assert found == ["0--Parade/a", "0--Parade/b", "1--Handshaking/c"]


def test_bad_lists_are_named(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("0--Parade/a\n0--Parade/x.jpg\n")
    with pytest.raises(ValueError, match=r"list.txt: 1 of 2 images .* '0--Parade/x' first"):
        read_image_list(path, GROUND_TRUTH)
    path.write_text("\n")
    with pytest.raises(ValueError, match="names no image"):
        read_image_list(path, GROUND_TRUTH)
    with pytest.raises(FileNotFoundError, match=r"No list of images: .*missing.txt"):
        read_image_list(tmp_path / "missing.txt", GROUND_TRUTH)


def test_attributes(annotation_file):
    attributes = read_attributes(annotation_file, BOXES)
    np.testing.assert_array_equal(attributes["blur"]["0--Parade/a"], [2, 0])
    np.testing.assert_array_equal(attributes["pose"]["0--Parade/a"], [1, 0])
    np.testing.assert_array_equal(attributes["invalid"]["0--Parade/a"], [0, 1])
    np.testing.assert_array_equal(attributes["occlusion"]["0--Parade/a"], [0, 2])
    np.testing.assert_array_equal(attributes["illumination"]["0--Parade/b"], [1])
    for image_id in ("1--Handshaking/c", "1--Handshaking/d"):  # no face; not in the file
        np.testing.assert_array_equal(attributes["blur"][image_id], [UNKNOWN])


@pytest.mark.parametrize("change", ["moved", "fewer", "none"])
def test_other_boxes_are_an_error(tmp_path, change):
    moved = (WiderFace(1, 2, 30, 41), WiderFace(5, 6, 7, 8))
    faces = {"moved": moved, "fewer": ANNOTATIONS[0].faces[:1], "none": ()}[change]
    path = tmp_path / "wider_face_val_bbx_gt.txt"
    write_wider_annotations(path, [WiderImage("0--Parade/a.jpg", faces)])
    with pytest.raises(ValueError, match="0--Parade/a has other boxes"):
        read_attributes(path, BOXES)
