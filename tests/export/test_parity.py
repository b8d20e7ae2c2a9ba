"""The check after an export: what it takes for the same, and what not."""

import re

import numpy as np
import pytest

from srn_d2.export.onnx_export import export_onnx
from srn_d2.export.onnx_predictor import OnnxFaceDetector
from srn_d2.export.parity import Parity, check_picture, onnx_parity
from srn_d2.inference.detections import Detections


def test_bounds():
    assert Parity(3, 3, 0.05, 1e-3).is_close
    assert not Parity(3, 2, 0.0, 0.0, ("1 of 3 expected has no partner",)).is_close
    assert not Parity(3, 3, 0.06, 0.0).is_close
    assert not Parity(3, 3, 0.0, 2e-3).is_close


def test_another_network_is_seen(lite_files, small_cfg, make_exportable):
    other = make_exportable(small_cfg("MODEL.SRN.SECOND_STEP", "dense"))
    parity = onnx_parity(other, lite_files[False], check_picture())
    assert not parity.is_close
    assert re.search(r"^\d+ of \d+ expected .* have no partner", parity.problems[0])


def shuffled(boxes, scores):
    order = np.random.default_rng(0).permutation(len(scores))
    return boxes[order], scores[order]


def with_a_box_moved(boxes, scores):
    return boxes + np.eye(len(boxes), 4, dtype=np.float32) * 0.06, scores


def with_a_score_changed(boxes, scores):
    return boxes, scores - np.eye(1, len(scores), dtype=np.float32)[0] * 2e-3


def without_the_best(boxes, scores):
    return boxes[1:], scores[1:]


def without_the_last(boxes, scores):
    return boxes[:-1], scores[:-1]


def with_one_twice(boxes, scores):
    return boxes[[0, *range(len(boxes))]], scores[[0, *range(len(scores))]]


CHANGES = {
    shuffled: True,
    with_a_box_moved: False,
    with_a_score_changed: False,
    without_the_best: False,
    with_one_twice: False,
}


@pytest.fixture
def changed_results(monkeypatch):
    """Let ONNX Runtime's detections of an image be other ones."""

    def change_by(change):
        detect = OnnxFaceDetector.detect

        def detect_changed(*args):
            return [Detections.of_faces(*change(x.boxes, x.scores)) for x in detect(*args)]

        monkeypatch.setattr(OnnxFaceDetector, "detect", detect_changed)

    return change_by


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_any_difference_but_the_order_is_seen(
    lite, lite_files, photograph, changed_results, change
):
    changed_results(change)
    parity = onnx_parity(lite, lite_files[True], photograph[None, :200, 100:400])
    assert parity.num_expected > 2
    assert parity.is_close is CHANGES[change], parity


@pytest.mark.parametrize("size_exponent", [0.0, 0.5])
def test_parity_allows_for_the_cut_of_candidates(
    small_cfg, make_exportable, tmp_path, changed_results, size_exponent
):
    """Of the candidates, NMS sees the best 200: the last of them might have been another."""
    options = ("MODEL.SRN.SECOND_STEP", "dense", "MODEL.SRN.TOPK_CANDIDATES_TEST", 200)
    by_size = ("MODEL.SRN.SCORE_SIZE_EXPONENT_TEST", size_exponent)
    model = make_exportable(small_cfg(*options, *by_size, "MODEL.SRN.RFE", False))
    export_onnx(model, tmp_path / "a.onnx", score_threshold=0.0)
    changed_results(without_the_last)
    parity = onnx_parity(model, tmp_path / "a.onnx", check_picture())
    assert parity.num_found == parity.num_expected - 1 > 50
    assert parity.is_close, parity
    changed_results(without_the_best)
    assert not onnx_parity(model, tmp_path / "a.onnx", check_picture()).is_close
