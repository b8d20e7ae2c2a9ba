"""PASCAL face: the toolbox's files and VOC's XML."""

import logging

import numpy as np
import pytest
from scipy.io import savemat

from helpers.benchmark_files import XML, boxes_of, ignored_of, toolbox_struct, write_xml
from srn_d2.data.datasets.common import AnnotationFormatError
from srn_d2.data.datasets.pascal_face import load_toolbox_mat, load_voc_faces

# --- the toolbox's files -------------------------------------------------------------------------


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
