"""FDDB, AFW and PASCAL face: readers of their real formats, what they refuse, registration."""

import json
import logging
import math
import sys

import cv2
import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from srn_d2.data.datasets.afw import load_afw_mat
from srn_d2.data.datasets.benchmarks import (
    AFW_ANNOTATIONS,
    PASCAL_FACE_ANNOTATIONS,
    load_benchmark,
    register_benchmarks,
)
from srn_d2.data.datasets.common import AnnotationFormatError
from srn_d2.data.datasets.fddb import FddbEllipse, FddbRecord, load_fddb, parse_ellipse_list
from srn_d2.data.datasets.pascal_face import load_toolbox_mat, load_voc_faces

# The first records of FDDB-fold-01-ellipseList.txt have this form.
ELLIPSE_LIST = """2002/08/11/big/img_591
1
123.583300 85.549500 1.265839 269.693400 161.781200  1
2002/08/26/big/img_265
3
67.363819 44.511485 -1.476417 105.249970 87.209036  1
41.936870 27.064477 1.471906 184.070915 129.345601  1
70.993052 43.355200 1.370217 340.894300 117.498951  1
"""


def make_image(path, size=(20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((*size, 3), np.uint8))


def boxes_of(dataset):
    return [[a["bbox"] for a in image["annotations"]] for image in dataset]


def ignored_of(dataset):
    return [[a["ignore"] for a in image["annotations"]] for image in dataset]


# --- FDDB ----------------------------------------------------------------------------------------


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


@pytest.fixture
def fddb(tmp_path):
    """Ten folds; ELLIPSE_LIST is fold 1, the others have one image without faces."""
    root = tmp_path / "fddb"
    folds = {1: ELLIPSE_LIST, **{fold: f"2003/01/img_{fold}\n0\n" for fold in range(2, 11)}}
    (root / "FDDB-folds").mkdir(parents=True)
    for fold, text in folds.items():
        (root / "FDDB-folds" / f"FDDB-fold-{fold:02d}-ellipseList.txt").write_text(text)
        for record in parse_ellipse_list(text):
            make_image(root / "originalPics" / f"{record.name}.jpg")
    return root


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


# --- AFW's anno.mat ------------------------------------------------------------------------------

AFW = {
    "134212_1.jpg": [[[10, 20], [40, 60]], [[100.5, 20], [130, 61.5]]],
    "1004109301.jpg": [[[5, 6], [35, 46]]],
    "empty.jpg": [],
}
AFW_BOXES = [[[10, 20, 30, 40], [100.5, 20, 29.5, 41.5]], [[5, 6, 30, 40]], []]


def cell(items):
    """A 1 x n MATLAB cell array."""
    result = np.empty((1, len(items)), object)
    for i, item in enumerate(items):
        result[0, i] = np.asarray(item, float)
    return result


def afw_cells(faces=AFW):
    rows = np.empty((len(faces), 4), object)
    for i, (name, boxes) in enumerate(faces.items()):
        landmarks = cell([np.ones((6, 2))] * len(boxes))
        rows[i] = [name, cell(boxes), cell([[15.0, 0, 0]] * len(boxes)), landmarks]
    return rows


@pytest.fixture
def afw(tmp_path):
    root = tmp_path / "afw"
    for name in AFW:
        make_image(root / "testimages" / name)
    return root


def write_mat73(path, faces, h5py):
    """Write a file as MATLAB's save -v7.3: arrays transposed, cells and contents by reference."""
    with h5py.File(path, "w", userblock_size=512) as file:
        contents = file.create_group("#refs#")

        def add(value, **attributes):
            value = contents.create_dataset(str(len(contents)), data=value)
            value.attrs.update(attributes)
            return value.ref

        def add_cell(items):
            if not items:
                return add(np.zeros(2, np.uint64), MATLAB_empty=np.uint8(1))
            references = [add(np.asarray(item, float).T) for item in items]
            return add(np.array(references, dtype=h5py.ref_dtype)[:, None])

        columns = [
            [
                add(np.array([[ord(c)] for c in name], np.uint16)),
                add_cell(boxes),
                add_cell([[[0.0]]] * len(boxes)),
                add_cell([np.ones((6, 2))] * len(boxes)),
            ]
            for name, boxes in faces.items()
        ]
        file["anno"] = np.array(columns, dtype=h5py.ref_dtype).T
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    with open(path, "r+b") as file:
        file.write(header)


def test_afw_mat(afw):
    savemat(afw / "anno.mat", {"anno": afw_cells()})
    dataset = load_afw_mat(afw / "testimages", afw / "anno.mat")
    assert boxes_of(dataset) == AFW_BOXES
    assert [image["image_id"] for image in dataset] == ["134212_1", "1004109301", "empty"]
    assert dataset[1]["file_name"] == str(afw / "testimages" / "1004109301.jpg")


def test_afw_mat_of_version_73(afw):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed: pip install h5py")
    write_mat73(afw / "anno.mat", AFW, h5py)
    dataset = load_afw_mat(afw / "testimages", afw / "anno.mat")
    assert boxes_of(dataset) == AFW_BOXES
    assert [image["image_id"] for image in dataset] == ["134212_1", "1004109301", "empty"]


def test_afw_mat_of_version_73_without_h5py(afw, monkeypatch):
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    (afw / "anno.mat").write_bytes(header.ljust(1024, b"\0"))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"anno.mat is a MATLAB 7.3 file: install h5py, or"):
        load_afw_mat(afw / "testimages", afw / "anno.mat")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: c[1, 1].__setitem__((0, 0), np.ones((1, 4))), r"anno\{2, 2\}\{1\}: expected a"),
        (lambda c: c[0, 1].__setitem__((0, 1), np.full((2, 2), np.nan)), r"anno\{1, 2\}\{2\}: "),
        (lambda c: c.__setitem__((1, 1), np.ones((2, 2))), r"anno\{2, 2\}: expected a cell array"),
        (lambda c: c.__setitem__((2, 0), ""), r"anno\{3, 1\}: expected an image name"),
        (lambda c: c.__setitem__((2, 0), "134212_1.jpg"), r"images: '134212_1.jpg' is there twice"),
    ],
)
def test_damaged_afw_mat(afw, change, problem):
    cells = afw_cells()
    change(cells)
    savemat(afw / "anno.mat", {"anno": cells})
    with pytest.raises(AnnotationFormatError, match=f"anno.mat, {problem}"):
        load_afw_mat(afw / "testimages", afw / "anno.mat")


def test_not_afw_mat(afw):
    path = afw / "anno.mat"
    with pytest.raises(FileNotFoundError, match=r"anno.mat is not there"):
        load_afw_mat(afw, path)
    path.write_text("hello, this is a text file. " * 10)
    with pytest.raises(AnnotationFormatError, match=r"anno.mat, header: not a MATLAB file"):
        load_afw_mat(afw, path)
    savemat(path, {"other": np.ones(3)})
    with pytest.raises(AnnotationFormatError, match=r"no such variable, only \['other'\]"):
        load_afw_mat(afw, path)
    savemat(path, {"anno": np.ones((3, 4))})
    with pytest.raises(AnnotationFormatError, match=r"anno: expected a cell array of 4 columns"):
        load_afw_mat(afw, path)


# --- the toolbox's files -------------------------------------------------------------------------


@pytest.fixture
def pascal(tmp_path):
    root = tmp_path / "pascal_face"
    for name in ("2008_000008", "2008_000141"):
        make_image(root / "images" / f"{name}.jpg")
    return root


def toolbox_struct(*records):
    array = np.empty((len(records), 1), dtype=[("imgname", object), ("objects", object)])
    for i, record in enumerate(records):
        array[i, 0] = record
    return {"Annotations": array}


def test_toolbox_mat(pascal, caplog):
    objects = np.array([[10.0, 20, 40, 60, 0, 0], [1, 2, 30, 50, 0, 1], [5, 5, 5, 9, 0, 0]])
    without_flags = np.array([[7.0, 8, 20, 30]])
    path = pascal / "faces.mat"
    savemat(path, toolbox_struct(("2008_000008.jpg", objects), ("2008_000141", without_flags)))
    with caplog.at_level(logging.WARNING):
        dataset = load_toolbox_mat(pascal / "images", path)
    assert boxes_of(dataset) == [[[10, 20, 30, 40], [1, 2, 29, 48]], [[7, 8, 13, 22]]]
    assert ignored_of(dataset) == [[False, True], [False]]
    assert [image["image_id"] for image in dataset] == ["2008_000008", "2008_000141"]
    assert "1 of 4 boxes have no width or no height" in caplog.text


@pytest.mark.parametrize(
    ("objects", "problem"),
    [
        (np.ones((2, 3)), r"expected a matrix of 4 or 6 columns, found float64 \(2, 3\)"),
        (np.array([[1, 2, np.inf, 4]]), "not finite"),
        ("text", "expected a matrix"),
    ],
)
def test_damaged_toolbox_mat(pascal, objects, problem):
    path = pascal / "faces.mat"
    savemat(path, toolbox_struct(("2008_000008", np.zeros((0, 0))), ("2008_000141", objects)))
    with pytest.raises(
        AnnotationFormatError, match=rf"faces.mat, Annotations\(2\).objects: .*{problem}"
    ):
        load_toolbox_mat(pascal / "images", path)
    savemat(path, {"Annotations": np.ones(3)})
    with pytest.raises(AnnotationFormatError, match="expected a struct with imgname and objects"):
        load_toolbox_mat(pascal / "images", path)


# --- VOC XML -------------------------------------------------------------------------------------

XML = """<annotation>
  <filename>2008_000008.jpg</filename>
  <object>
    <name>face</name>
    <bndbox><xmin>11</xmin><ymin>21</ymin><xmax>40</xmax><ymax>60</ymax></bndbox>
  </object>
  <object>
    <name>Face</name>
    <difficult>1</difficult>
    <bndbox>
      <xmax>30.5</xmax>
      <xmin>2</xmin>
      <ymin>3</ymin>
      <ymax>50</ymax>
    </bndbox>
  </object>
  <object>
    <name>horse</name>
  </object>
</annotation>
"""


def write_xml(root, *texts):
    (root / "Annotations").mkdir(exist_ok=True)
    for i, text in enumerate(texts):
        (root / "Annotations" / f"{i}.xml").write_text(text)


def test_voc_xml(pascal):
    """Corners count from 1 and are inclusive: 11 to 40 are 30 pixels that begin at 10."""
    write_xml(
        pascal,
        XML,
        "<annotation><filename>2008_000141.jpg</filename></annotation>",
    )
    dataset = load_voc_faces(pascal / "images", pascal / "Annotations")
    assert boxes_of(dataset) == [[[10, 20, 30, 40], [1, 2, 29.5, 48]], []]
    assert ignored_of(dataset) == [[False, True], []]
    assert [image["image_id"] for image in dataset] == ["2008_000008", "2008_000141"]


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ("</bndbox>\n  </object>", "</object>", 5, "mismatched tag"),
        ("<xmin>11</xmin>", "", 5, "<bndbox> has no <xmin>"),
        ("<xmin>2<", "<xmin>two<", 12, "expected a number in <xmin>, found 'two'"),
        ("<ymin>3<", "<ymin>nan<", 13, "expected a number in <ymin>, found 'nan'"),
        ("<difficult>1", "<difficult>yes", 9, "expected a number in <difficult>"),
        ("    <name>horse</name>\n", "", 17, "<object> has no <name>"),
        ("<filename>2008_000008.jpg</filename>", "", 1, "<annotation> has no <filename>"),
        (XML, "", 1, "no element found"),
    ],
)
def test_damaged_voc_xml(pascal, old, new, line, problem):
    assert old in XML
    write_xml(pascal, XML.replace(old, new))
    with pytest.raises(AnnotationFormatError) as caught:
        load_voc_faces(pascal / "images", pascal / "Annotations")
    path = pascal / "Annotations" / "0.xml"
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert problem in str(caught.value)


def test_voc_xml_missing_files(pascal):
    with pytest.raises(FileNotFoundError, match="There is no XML file in"):
        load_voc_faces(pascal / "images", pascal / "Annotations")
    write_xml(pascal, XML.replace("2008_000008", "other"))
    with pytest.raises(FileNotFoundError, match=r"1 of 1 images .*\n.*other.jpg"):
        load_voc_faces(pascal / "images", pascal / "Annotations")
    write_xml(pascal, XML, XML)
    with pytest.raises(AnnotationFormatError, match=r"Annotations, images: '2008_000008.jpg' is"):
        load_voc_faces(pascal / "images", pascal / "Annotations")


# --- one folder, any of the formats --------------------------------------------------------------


def write_wider(root):
    (root / "annotations.txt").write_text("2008_000008.jpg\n1\n10 20 30 40 0 0 0 0 0 0\n")


def write_coco(root):
    content = {
        "images": [{"id": 1, "file_name": "2008_000008.jpg"}],
        "categories": [{"id": 1, "name": "face"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40]}],
    }
    (root / "annotations.json").write_text(json.dumps(content))


def write_voc(root):
    write_xml(root, XML[: XML.index("  <object>\n    <name>Face")] + "</annotation>")


def write_fixed(root):
    record = ("2008_000008.jpg", np.array([[10.0, 20, 40, 60, 0, 0]]))
    savemat(root / "Annotations_Face_PASCALLayout_large_fixed.mat", toolbox_struct(record))


@pytest.mark.parametrize("write", [write_wider, write_coco, write_voc, write_fixed])
def test_pascal_face_formats(pascal, write):
    write(pascal)
    assert boxes_of(load_benchmark(pascal, PASCAL_FACE_ANNOTATIONS)) == [[[10, 20, 30, 40]]]


@pytest.mark.parametrize("write", [write_wider, write_coco, write_voc])
def test_afw_formats(pascal, write):
    (pascal / "images").rename(pascal / "JPEGImages")
    write(pascal)
    assert boxes_of(load_benchmark(pascal, AFW_ANNOTATIONS)) == [[[10, 20, 30, 40]]]


def test_afw_prefers_its_own_annotations(afw):
    savemat(afw / "testimages" / "anno.mat", {"anno": afw_cells()})
    write_wider(afw)
    assert boxes_of(load_benchmark(afw, AFW_ANNOTATIONS)) == AFW_BOXES


def test_nothing_there(pascal):
    expected = r"pascal_face has none of .*_large.mat, annotations.txt, annotations.json, Annota"
    with pytest.raises(FileNotFoundError, match=expected):
        load_benchmark(pascal, PASCAL_FACE_ANNOTATIONS)
    write_wider(pascal)
    (pascal / "images").rename(pascal / "pictures")
    with pytest.raises(FileNotFoundError, match="has none of images, testimages, JPEGImages"):
        load_benchmark(pascal, PASCAL_FACE_ANNOTATIONS)


def test_registration(fddb, pascal, afw, tmp_path):
    savemat(afw / "testimages" / "anno.mat", {"anno": afw_cells()})
    write_wider(pascal)
    register_benchmarks(tmp_path)
    try:
        for name, num_images in {"fddb": 11, "afw": 3, "pascal_face": 1}.items():
            metadata = MetadataCatalog.get(name)
            assert (metadata.evaluator_type, metadata.thing_classes) == (name, ["face"])
            assert len(DatasetCatalog.get(name)) == num_images
    finally:
        register_benchmarks()
