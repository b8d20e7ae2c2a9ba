"""FDDB's ellipse lists: reader and loader."""

import logging
import math

import pytest
from detectron2.structures import BoxMode
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.benchmark_files import ELLIPSE_LIST
from srn_d2.data.datasets.common import AnnotationFormatError
from srn_d2.data.datasets.fddb import FddbEllipse, FddbRecord, load_fddb, parse_ellipse_list


def test_ellipse_list():
    first, second = parse_ellipse_list(ELLIPSE_LIST)
    assert first.name == "2002/08/11/big/img_591"
    assert first.faces == (FddbEllipse(123.5833, 85.5495, 1.265839, 269.6934, 161.7812),)
    assert [face.angle for face in second.faces] == [-1.476417, 1.471906, 1.370217]


finite = st.floats(-1e6, 1e6)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z]{1,3}/img_\d", fullmatch=True), st.lists(st.tuples(*[finite] * 5))
        ),
        unique_by=lambda record: record[0],
    )
)
def test_ellipse_list_round_trip(records):
    text = "".join(
        f"{name}\r\n{len(faces)}\r\n" + "".join(" ".join(map(repr, f)) + "  1\r\n" for f in faces)
        for name, faces in records
    )
    expected = [FddbRecord(name, tuple(FddbEllipse(*f) for f in faces)) for name, faces in records]
    assert parse_ellipse_list(text) == expected


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ("img_591\n1\n", "img_591\n", 2, "expected a number of faces"),
        ("img_591\n1\n", "img_591\n2\n", 4, "expected an ellipse"),
        ("img_591\n1\n", "img_591\n0\n", 3, "expected an image name"),
        ("img_265\n3\n", "img_265\n4\n", 8, "the file ends after this line, expected an ellipse"),
        ("2002/08/26/big/img_265", "2002/08/11/big/img_591", 4, "was listed before, in line 1"),
        ("1.265839", "", 3, "expected an ellipse"),
        ("1.265839", "nan", 3, "expected an ellipse"),
        ("1.265839", "1,26", 3, "expected an ellipse"),
        ("87.209036  1", "87.209036  0.97", 6, "expected an ellipse"),
        ("img_591\n1\n", "img_591\n-1\n", 2, "expected a number of faces, found '-1'"),
    ],
)
def test_damaged_ellipse_list(old, new, line, problem):
    assert old in ELLIPSE_LIST
    with pytest.raises(AnnotationFormatError) as caught:
        parse_ellipse_list(ELLIPSE_LIST.replace(old, new, 1), "list.txt")
    assert str(caught.value).startswith(f"list.txt, line {line}: ")
    assert problem in str(caught.value)


def test_load_fddb(fddb):
    dataset = load_fddb(fddb)
    assert [image["fold"] for image in dataset] == [1, 1, *range(2, 11)]
    assert dataset[0]["image_id"] == "2002/08/11/big/img_591"
    assert dataset[0]["file_name"] == str(fddb / "originalPics/2002/08/11/big/img_591.jpg")
    assert [len(image["annotations"]) for image in dataset] == [1, 3] + 9 * [0]
    (annotation,) = dataset[0]["annotations"]
    assert annotation["ellipse"] == [123.5833, 85.5495, 1.265839, 269.6934, 161.7812]
    assert (annotation["category_id"], annotation["ignore"]) == (0, False)
    assert annotation["bbox_mode"] == BoxMode.XYWH_ABS
    half_width = math.sqrt(
        (123.5833 * math.cos(1.265839)) ** 2 + (85.5495 * math.sin(1.265839)) ** 2
    )
    x, _, width, height = annotation["bbox"]
    assert (x, width) == pytest.approx((269.6934 - half_width, 2 * half_width))
    assert 2 * 85.5495 < width < height < 2 * 123.5833


def test_fddb_ellipses_without_area_are_counted(fddb, caplog):
    path = fddb / "FDDB-folds" / "FDDB-fold-01-ellipseList.txt"
    path.write_text(ELLIPSE_LIST.replace("41.936870", "0").replace("43.355200", "-43.3552"))
    with caplog.at_level(logging.WARNING):
        dataset = load_fddb(fddb)
    assert [a["ellipse"][0] for a in dataset[1]["annotations"]] == [67.363819]
    assert f"{path}: 2 of 4 boxes have no width or no height" in caplog.text


def test_fddb_missing_files(fddb):
    for fold in (4, 7):
        (fddb / "FDDB-folds" / f"FDDB-fold-{fold:02d}-ellipseList.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"2 of FDDB's 10 .*FDDB-fold-04-ellipseList.txt"):
        load_fddb(fddb)
    assert len(load_fddb(fddb, folds=(1, 2))) == 3
    (fddb / "originalPics/2002/08/26/big/img_265.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 images .*\n.*img_265.jpg"):
        load_fddb(fddb, folds=(1, 2))


def test_fddb_image_in_two_folds(fddb):
    path = fddb / "FDDB-folds" / "FDDB-fold-10-ellipseList.txt"
    path.write_text("2003/01/img_3\n0\n")
    with pytest.raises(AnnotationFormatError, match=r"fold-10.*'2003/01/img_3' is in fold 3"):
        load_fddb(fddb)
