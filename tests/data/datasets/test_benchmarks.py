"""The benchmarks' folders with annotations in any of the formats, and their registration."""

import json

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from scipy.io import savemat

from helpers.benchmark_files import AFW_BOXES, XML, afw_cells, boxes_of, toolbox_struct, write_xml
from srn_d2.data.datasets.benchmarks import (
    AFW_ANNOTATIONS,
    PASCAL_FACE_ANNOTATIONS,
    load_benchmark,
    register_benchmarks,
)


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
