"""Both ROC curves against those of the official program, line by line, on published detections
and on made-up ones. They are outside the repository; test_fddb_assignment.py and
test_fddb_regions.py prove the rules without them."""

from pathlib import Path

import numpy as np
import pytest

from srn_d2.evaluation.fddb.files import read_detections, read_ellipses, read_sizes
from srn_d2.evaluation.fddb.roc import FddbImage, fddb_curves

REAL = ["mtcnn_hualitlc", "mtcnn_imistyrain", "mtcnn_jan3zk", "s3fd_resnet18_lippman1125"]
RECTANGLES = ["0_half", "0_outside", "0_plain", "0_tiny", "0_zero"]
ELLIPSES = ["1_degree", "1_outside", "1_plain", "1_tiny"]


@pytest.fixture(scope="module")
def reference(shared_dir: Path) -> Path:
    folder = shared_dir / "reference" / "fddb"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder


def images_of(reference, detections, only=None):
    found = read_detections(detections)
    sizes = read_sizes(reference / "image_sizes.txt")
    faces = read_ellipses(reference / "annotations")
    names = faces if only is None else only
    none = np.zeros((0, 4)), np.zeros(0)
    return [FddbImage(faces[name], *found.get(name, none), sizes[name]) for name in names]


def assert_equal_lines(curves, prefix):
    """Every line, in the six digits that are printed; without the one of images without any."""
    discrete = [line.split() for line in Path(f"{prefix}.DiscROC.txt").read_text().splitlines()]
    continuous = [line.split() for line in Path(f"{prefix}.ContROC.txt").read_text().splitlines()]
    rows = [k for k, words in enumerate(discrete) if float(words[2]) < 1e300]
    assert len(rows) == len(curves.thresholds)
    columns = curves.discrete, curves.continuous, curves.false_positives, curves.thresholds
    for k, *values in zip(reversed(rows), *columns, strict=True):
        disc, cont, positives, score = (f"{value:.6g}" for value in values)
        assert [disc, positives, score] == discrete[k]
        assert [cont, positives] == continuous[k][:2]


@pytest.mark.parametrize("name", REAL)
def test_published_detections(reference, name):
    curves = fddb_curves(images_of(reference, reference / "detections" / f"{name}.txt"))
    assert_equal_lines(curves.official, reference / "official" / name)
    assert (curves.optimal.continuous >= curves.official.continuous - 1e-12).all()


@pytest.mark.parametrize("name", RECTANGLES + ELLIPSES)
def test_synthetic_detections(reference, name):
    folder = reference / "synthetic"
    names = (folder / "list.txt").read_text().split()
    curves = fddb_curves(images_of(reference, folder / f"{name}.txt", names))
    assert_equal_lines(curves.official, folder / name)
