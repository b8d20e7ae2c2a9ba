"""AFW's anno.mat, in both versions of MATLAB's format."""

import sys

import numpy as np
import pytest
from scipy.io import savemat

from helpers.benchmark_files import AFW, AFW_BOXES, afw_cells, boxes_of
from srn_d2.data.datasets.afw import load_afw_mat
from srn_d2.data.datasets.common import AnnotationFormatError


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
