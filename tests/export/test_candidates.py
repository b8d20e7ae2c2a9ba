"""Graphs whose outputs are only the candidates of NMS."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from helpers.detections import assert_same_detections
from srn_d2.export.array_postprocessing import choose_detections
from srn_d2.export.candidates import CandidateNetwork
from srn_d2.export.metadata import ExportMetadata
from srn_d2.export.onnx_export import export_onnx
from srn_d2.export.onnx_predictor import OnnxFaceDetector
from srn_d2.export.parity import check_picture, onnx_parity
from srn_d2.export.tracing import NotExportableError
from srn_d2.model_files import find_shipped_model

MOST = 600
"""Candidates of an image: fewer than the anchors of some pictures, more than those of others."""
SEPARABLE = ["MODEL.SRN.HEAD_CONVOLUTION", "separable", "MODEL.SRN.RFE", False]
OPTIONS = {
    "STC": [*SEPARABLE, "MODEL.SRN.STR_LEVELS", [], "MODEL.SRN.SCORE_SIZE_EXPONENT_TEST", 0.5],
    "STC and STR": [
        *("MODEL.SRN.RFE", False, "MODEL.SRN.STC_LEVELS", ["p2", "p4"]),
        *("MODEL.SRN.STR_LEVELS", ["p3", "p5", "p7"]),
        *("MODEL.SRN.BBOX_REG_WEIGHTS", [10.0, 10.0, 5.0, 5.0]),
    ],
    "neither, released anchors": [
        *("MODEL.SRN.RFE", False, "MODEL.SRN.STC_LEVELS", [], "MODEL.SRN.STR_LEVELS", []),
        *("MODEL.ANCHOR_GENERATOR.NAME", "ReleasedAnchorGenerator"),
    ],
}


def session_of(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def batches():
    """Pictures (N, 3, H, W), of many anchors and of few, odd sides among them."""
    picture = check_picture()[0].transpose(2, 0, 1)
    return {
        "one": picture[None, :, 100:300, 120:341],
        "two": np.stack([picture[:, 10:107, 20:151], picture[:, 150:247, 160:291]]),
        "few anchors": picture[None, :, :20, :30],
        "one pixel": picture[None, :, :1, :1],
    }


@pytest.mark.numerics
@pytest.mark.parametrize(
    ("kind", "second_step"),
    [
        ("STC", "auto"),
        ("STC and STR", "auto"),
        ("STC and STR", "dense"),
        ("neither, released anchors", "dense"),
    ],
)
def test_they_are_the_best_and_the_model_s(small_cfg, make_exportable, tmp_path, kind, second_step):
    cfg = small_cfg(
        *OPTIONS[kind],
        *("MODEL.SRN.POSTPROCESSING", "paper", "MODEL.SRN.TOPK_CANDIDATES_TEST", MOST),
        *("MODEL.SRN.STC_THRESHOLD_TEST", 0.98, "MODEL.SRN.SECOND_STEP", "dense"),
        # Not 0.5, the IoU of a cell's two anchors, on either side of which rounding would decide.
        *("MODEL.SRN.NMS_THRESH_TEST", 0.45),
    )
    model = make_exportable(cfg)
    paths = {True: tmp_path / "candidates.onnx", False: tmp_path / "all.onnx"}
    metadata = {}
    for candidates_only, path in paths.items():
        metadata[candidates_only] = export_onnx(
            model, path, nms=False, second_step=second_step, candidates_only=candidates_only
        )
    few, every = (session_of(paths[only]) for only in (True, False))
    is_cut = set()
    for name, images in batches().items():
        all_boxes, all_scores = every.run(None, {"images": images})
        boxes, scores = few.run(None, {"images": images})
        number = min(MOST, all_scores.shape[1])
        is_cut.add(number == MOST)
        assert boxes.shape == (len(images), number, 4), name
        assert scores.shape == (len(images), number), name
        for image in range(len(images)):
            order = np.argsort(-all_scores[image], kind="stable")[:number]
            np.testing.assert_allclose(scores[image], all_scores[image][order], atol=1e-6)
            # Anchors that the first step removes have equal scores: the first ones come first.
            removed = scores[image] == 0
            np.testing.assert_allclose(
                boxes[image][removed], all_boxes[image][order][removed], atol=1e-3
            )
            size = images.shape[2:]
            found = choose_detections(boxes[image], scores[image], size, metadata[True])
            expected = choose_detections(all_boxes[image], all_scores[image], size, metadata[False])
            assert_same_detections(found, expected, box_tolerance=1e-3)
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        parity = onnx_parity(model, paths[True], images)
        assert parity.is_close, (name, parity)
        assert parity.num_found > 0
    assert is_cut == {True, False}


def test_equal_scores_keep_the_order_of_the_anchors(small_cfg, make_exportable, tmp_path):
    model = make_exportable(small_cfg(*OPTIONS["STC"], "MODEL.SRN.TOPK_CANDIDATES_TEST", MOST))
    for layer in (model.model.head.cls_score, model.model.head.bbox_pred):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    model.model.stc_threshold_test = 1.0  # all anchors are kept
    path = tmp_path / "candidates.onnx"
    export_onnx(model, path, nms=False, candidates_only=True)
    images = batches()["two"]
    boxes, scores = session_of(path).run(None, {"images": images})
    assert (scores == 0.5).all()
    finest = torch.zeros(1, 1, 128 // 4, 160 // 4)  # the map of 97 x 131 pixels
    anchors = model.model.anchor_generator([finest] * 6)[0].tensor[:MOST]
    for image_boxes in boxes:
        np.testing.assert_allclose(image_boxes, anchors.numpy(), atol=1e-3)


def test_a_model_with_candidates_of_each_level_is_refused(small_cfg, make_exportable, tmp_path):
    model = make_exportable(small_cfg("MODEL.SRN.POSTPROCESSING", "released"))
    with pytest.raises(NotExportableError, match="POSTPROCESSING 'paper'"):
        export_onnx(model, tmp_path / "a.onnx", nms=False, candidates_only=True)
    with pytest.raises(NotExportableError, match="POSTPROCESSING 'paper'"):
        CandidateNetwork(model.network)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_with_nms_is_refused(lite, tmp_path):
    with pytest.raises(ValueError, match="without NMS"):
        export_onnx(lite, tmp_path / "a.onnx", candidates_only=True)


def test_the_file_says_so(lite):
    metadata = lite.metadata(nms=False, score_threshold=0.0, candidates_only=True)
    properties = metadata.to_properties()
    assert ExportMetadata.from_properties(properties) == metadata
    del properties["candidates_only"]  # as in files of before
    assert ExportMetadata.from_properties(properties) == replace(metadata, candidates_only=False)


@pytest.mark.numerics
def test_the_shipped_graph_has_candidates_only(lite_files, photograph):
    shipped = OnnxFaceDetector(find_shipped_model("lite").graph)
    assert shipped.metadata.candidates_only
    images = np.ascontiguousarray(photograph.transpose(2, 0, 1)[None])
    boxes, scores = shipped.session.run(None, {"images": images})
    most = shipped.metadata.topk_candidates
    assert (boxes.shape, scores.shape) == ((1, most, 4), (1, most))
    every = OnnxFaceDetector(lite_files[False])
    assert not every.metadata.candidates_only
    batch = np.stack([photograph, photograph[:, ::-1]])
    pairs = zip(shipped.detect(batch), every.detect(batch), strict=True)
    for found, expected in pairs:
        assert_same_detections(found, expected, box_tolerance=1e-3)
