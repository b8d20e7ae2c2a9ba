"""The toolbox's AP on published detections of AFW and PASCAL face, and the ranks of ties."""

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.plain_voc_ap import image
from srn_d2.data.annotation_files import AnnotationFormatError
from srn_d2.evaluation.voc_ap.ap import evaluate_ap, evaluate_toolbox_ap
from srn_d2.evaluation.voc_ap.files import (
    ToolboxFaces,
    read_faces,
    read_toolbox_detections,
    to_ap_images,
)

ANNOTATIONS = {
    "AFW/new": "new_annotations_AFW.mat",
    "AFW/old": "anno2.mat",
    "PASCAL/new": "Annotations_Face_PASCALLayout_large_fixed.mat",
    "PASCAL/old": "Annotations_Face_PASCALLayout_large.mat",
}
FACE, AWAY = (0, 0, 40, 40), (100, 0, 140, 40)


@pytest.fixture(scope="module")
def reference(shared_dir: Path) -> Path:
    folder = shared_dir / "reference" / "afw_pascal"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder


@pytest.mark.parametrize("annotations", ANNOTATIONS)
def test_ap_is_that_of_the_toolbox(reference, annotations):
    expected = json.loads((reference / "expected.json").read_text())
    faces = read_faces(reference / "annotations" / ANNOTATIONS[annotations])
    data_set = annotations.split("/")[0]
    names = [key.split("/")[2] for key in expected if key.startswith(f"{annotations}/")]
    assert len(names) >= 3
    for name in names:
        detections = read_toolbox_detections(reference / "detections" / data_set / name)
        images, unknown = to_ap_images(faces, detections)
        result = evaluate_toolbox_ap(images)
        figures = expected[f"{annotations}/{name}"]
        assert not unknown
        assert result.num_faces == figures["counted_faces"]
        assert 100 * result.ap == pytest.approx(figures["toolbox_ap_percent"], rel=0, abs=1e-12)


def test_equal_scores_rank_in_the_order_of_the_file(tmp_path):
    """Two wrong ones of image b and the right one of image a, all of score 0.5."""
    path = tmp_path / "detections.txt"
    wrong, right = "b.jpg 0.5 100 0 140 40\n", "a.jpg 0.5 0 0 40 40\n"
    faces = {name: ToolboxFaces(np.array([FACE], float), np.array([False])) for name in "ab"}
    for text, ap in ((wrong + wrong + right, 1 / 6), (wrong + right + wrong, 1 / 4)):
        path.write_text(text)
        images, unknown = to_ap_images(faces, read_toolbox_detections(path))
        assert not unknown
        assert evaluate_ap(images).ap == pytest.approx(ap)
        assert evaluate_toolbox_ap(images).ap == pytest.approx(ap)


def test_without_ranks_equal_scores_are_in_the_order_of_the_images():
    right, wrong = image([FACE], [FACE], [0.5]), image([], [AWAY], [0.5])
    assert evaluate_ap([right, wrong]).ap == 1
    assert evaluate_ap([wrong, right]).ap == 0.5


@pytest.mark.parametrize("line", ["a 0.5 1 2 3", "a nan 1 2 3 4", "a 0.5 1 2 x 4", "a 1 2 3 4 5 6"])
def test_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "detections.txt"
    path.write_text(f"a 0.5 0 0 40 40\n\n{line}\n")
    with pytest.raises(AnnotationFormatError, match=r"detections\.txt, line 3: expected image"):
        read_toolbox_detections(path)


def test_images_that_are_not_annotated_are_named(tmp_path):
    path = tmp_path / "detections.txt"
    path.write_text("c.png 0.5 0 0 40 40\n")
    assert to_ap_images({}, read_toolbox_detections(path)) == ([], ["c"])
