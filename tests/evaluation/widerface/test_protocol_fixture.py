"""The official protocol on the committed fixture: files, exact counts and AP, command line.

The expected results are of an independent restatement; make_protocol_fixture.py writes them, and
data/protocol/README.md says why they can be trusted.
"""

import json

import numpy as np
import pytest
from scipy.io import loadmat

from helpers import make_protocol_fixture as fixture
from helpers.protocol_scenes import SETTINGS, make_scenes
from srn_d2 import cli
from srn_d2.evaluation.predictions.folders import read_predictions
from srn_d2.evaluation.widerface.ap import evaluate_wider_face
from srn_d2.evaluation.widerface.ground_truth import load_ground_truth

EXPECTED = json.loads((fixture.FIXTURE / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def files() -> tuple:
    """(predictions, ground truth) as the package reads them."""
    truth = load_ground_truth(fixture.FIXTURE / "ground_truth")
    return read_predictions(fixture.FIXTURE / "predictions", truth.image_ids), truth


def test_counts_are_the_expected_ones_exactly(files):
    found, truth = files
    counts = np.loadtxt(fixture.FIXTURE / "counts.txt", dtype=np.int64)
    assert counts.shape == (1000, 6)
    results = evaluate_wider_face(found.predictions, truth)
    for column, setting in enumerate(SETTINGS):
        result = results[setting][0.5]
        assert result.num_faces == EXPECTED[setting]["num_faces"]
        np.testing.assert_array_equal(result.counts, counts[:, 2 * column : 2 * column + 2])


def test_ap_is_the_expected_one(files):
    found, truth = files
    results = evaluate_wider_face(found.predictions, truth, fixture.IOU_THRESHOLDS)
    for setting in SETTINGS:
        for threshold in fixture.IOU_THRESHOLDS:
            expected = EXPECTED[setting]["ap"][str(threshold)]
            assert results[setting][threshold].ap == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize(("sort", "key"), [(False, "file_order"), (True, "sorted")])
def test_ap_of_the_popular_port_is_the_expected_one(files, sort, key):
    found, truth = files
    results = evaluate_wider_face(found.predictions, truth, arithmetic="float", sort=sort)
    for setting in SETTINGS:
        expected = EXPECTED[setting]["ap_of_popular_port"][key]
        assert results[setting][0.5].ap == pytest.approx(expected, rel=0, abs=1e-12)


def test_files_that_count_as_without_detections_are_named(files):
    found, _ = files
    assert found.missing == ("1--Regatta/3_Regatta",)
    named = [issue.path.replace("\\", "/").split("predictions/")[1] for issue in found.malformed]
    assert named == ["1--Regatta/7_Regatta.txt", "2--Market/5_Market.txt", "2--Market/9_Market.txt"]
    assert found.num_unread_lines == 2


def test_command_line_reports_the_expected_ap(capsys, tmp_path):
    folders = [str(fixture.FIXTURE / name) for name in ("predictions", "ground_truth")]
    thresholds = [str(threshold) for threshold in fixture.IOU_THRESHOLDS]
    arguments = ["--predictions", folders[0], "--ground-truth", folders[1], "--iou", *thresholds]
    assert cli.main(["evaluate", *arguments, "--output", str(tmp_path)]) == 0
    (report,) = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    table = capsys.readouterr().out
    for setting in SETTINGS:
        expected = EXPECTED[setting]
        assert report["settings"][setting]["num_faces"] == expected["num_faces"]
        assert report["settings"][setting]["ap"] == pytest.approx(expected["ap"], rel=0, abs=1e-12)
        assert f"{expected['ap']['0.5'] * 100:.2f}" in table


def test_fixture_is_what_the_script_writes(tmp_path):
    fixture.main(tmp_path)
    committed = sorted(path for path in fixture.FIXTURE.rglob("*") if path.is_file())
    names = [path.relative_to(fixture.FIXTURE) for path in committed if path.name != "README.md"]
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert written == names
    for name in names:
        old, new = fixture.FIXTURE / name, tmp_path / name
        if name.suffix == ".mat":  # compressed, which is not the same bytes with every zlib
            assert as_lists(loadmat(old)) == as_lists(loadmat(new)), name
        else:
            assert old.read_text(encoding="utf-8") == new.read_text(encoding="utf-8"), name


def as_lists(value):
    """Nested cell arrays as lists of (shape, values), which == compares whole."""
    if isinstance(value, dict):
        return {key: as_lists(item) for key, item in value.items()}
    if not isinstance(value, np.ndarray):
        return value
    items = [as_lists(item) for item in value.ravel()] if value.dtype == object else value.tolist()
    return value.shape, str(value.dtype), items


def test_scenes_hold_the_hard_cases():
    scenes = make_scenes()
    faces = [face for scene in scenes for face in scene.faces]
    scores = [row[4] for scene in scenes for row in scene.detections]
    assert len(scenes) > 60
    assert len(faces) > 600
    assert sum(min(face[2:]) <= 0 for face in faces) > 10
    assert sum(not scene.faces for scene in scenes) > 4
    assert max(len(scene.faces) for scene in scenes) > 60
    assert (min(scores), max(scores)) == (-0.25, 1.5)
    assert len(set(scores)) < len(scores) / 2  # ties
    degenerate = next(scene for scene in scenes if scene.image_id.endswith("degenerate"))
    assert degenerate.faces[1][2] == -2
    assert 2 in degenerate.counted["hard"]
