"""Folders of the benchmarks, without annotations where there are several kinds."""

import pytest

from helpers.benchmark_files import AFW, ELLIPSE_LIST, make_image
from srn_d2.data.datasets.fddb import parse_ellipse_list


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


@pytest.fixture
def afw(tmp_path):
    root = tmp_path / "afw"
    for name in AFW:
        make_image(root / "testimages" / name)
    return root


@pytest.fixture
def pascal(tmp_path):
    root = tmp_path / "pascal_face"
    for name in ("2008_000008", "2008_000141"):
        make_image(root / "images" / f"{name}.jpg")
    return root
