"""The package and the plain restatement against results of the official MATLAB code.

The reference is outside the repository; test_protocol_fixture.py proves the same without it.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from helpers.plain_wider_face import accumulate, official_choices
from srn_d2.evaluation.predictions.folders import read_predictions
from srn_d2.evaluation.widerface.ap import SETTINGS, evaluate_wider_face
from srn_d2.evaluation.widerface.ground_truth import load_ground_truth

NUM_FACES = {"easy": 7211, "medium": 13319, "hard": 31958}


@pytest.fixture(scope="module")
def reference(shared_dir: Path, tmp_path_factory) -> tuple:
    """(predictions, ground truth, expected APs, expected counts) of the reference folder."""
    folder = shared_dir / "reference" / "wider_eval"
    target = tmp_path_factory.mktemp("reference")
    with tarfile.open(folder / "preds_weak.tar.xz") as archive:
        archive.extractall(target, filter="data")
    truth = load_ground_truth(shared_dir / "widerface" / "ground_truth")
    predictions = read_predictions(target / "weak", truth.image_ids)
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))["weak"]
    return predictions.predictions, truth, expected, np.load(folder / "counts.npz")


def test_counts_and_ap_are_the_official_ones(reference):
    predictions, truth, expected, counts = reference
    results = evaluate_wider_face(predictions, truth)
    for setting, num_faces in NUM_FACES.items():
        result = results[setting][0.5]
        assert result.num_faces == num_faces
        np.testing.assert_array_equal(result.counts, counts[f"weak_{setting}"])
        assert result.ap == pytest.approx(expected["octave_official"][setting], rel=0, abs=1e-12)


def test_face_of_negative_width_counts_in_hard(reference):
    """39--Ice_Skating ..._583 has one of width -2, which nothing can find but which is counted:
    the official counts above are with it, and so is the number of 31,958."""
    truth = reference[1]
    hard = truth.counted["hard"]
    negative = [
        (image, boxes[mask & (boxes[:, 2] < 0)].tolist())
        for image, boxes in truth.boxes.items()
        if (mask := hard[image]).any() and (mask & (boxes[:, 2] < 0)).any()
    ]
    assert [(image.endswith("_583"), len(boxes), boxes[0][2]) for image, boxes in negative] == [
        (True, 1, -2)
    ]


def test_plain_restatement_gives_the_official_counts_and_ap(reference):
    predictions, truth, expected, counts = reference
    boxes = {image: faces.tolist() for image, faces in truth.boxes.items()}
    choices = official_choices({i: rows.tolist() for i, rows in predictions.items()}, boxes)
    for setting, masks in truth.counted.items():
        counted = {image: (np.flatnonzero(mask) + 1).tolist() for image, mask in masks.items()}
        ap, totals, num_faces = accumulate(*choices, boxes, counted)
        assert num_faces == NUM_FACES[setting]
        np.testing.assert_array_equal(totals, counts[f"weak_{setting}"])
        assert ap == pytest.approx(expected["octave_official"][setting], rel=0, abs=1e-12)


@pytest.mark.parametrize(
    ("sort", "key"), [(False, "wondervictor"), (True, "wondervictor_on_score_sorted_files")]
)
def test_ap_of_the_popular_port_is_reproduced(reference, sort, key):
    predictions, truth, expected, _ = reference
    results = evaluate_wider_face(predictions, truth, arithmetic="float", sort=sort)
    for setting in SETTINGS:
        assert results[setting][0.5].ap == pytest.approx(expected[key][setting], rel=0, abs=1e-12)
