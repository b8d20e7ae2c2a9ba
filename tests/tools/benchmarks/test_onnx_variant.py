"""The variant onnxruntime detects what the model does, and can be measured as the others are."""

import numpy as np
import pytest
import torch
from detectron2.structures import ImageList

from benchmarks.inference import Case, measure_case
from benchmarks.onnx_variant import is_available
from benchmarks.variants import build_variants
from helpers.detections import assert_same_detections
from srn_d2.modeling import SRN


@pytest.fixture
def images(small_cfg):
    """Normalised pixels; no side needs padding."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 128, 160), dtype=np.uint8)
    cfg = small_cfg()
    mean, std = (torch.tensor(cfg.MODEL[key]).view(3, 1, 1) for key in ("PIXEL_MEAN", "PIXEL_STD"))
    return ImageList((torch.from_numpy(pixels) - mean) / std, [(128, 160)] * 2)


def test_it_detects_what_the_model_does(small_cfg, images):
    torch.manual_seed(1)
    cfg = small_cfg("MODEL.SRN.RFE", False)
    dense, exported = build_variants(cfg, ["dense", "onnxruntime"], images)
    for ours, theirs in zip(exported.run(images), dense.run(images), strict=True):
        assert_same_detections(ours, theirs, at_least=31)
    case = measure_case([dense, exported], Case("small", images, masks=None, repeats=1))
    results = case["variants"]
    assert results["onnxruntime"]["detections"] == results["dense"]["detections"]
    assert results["onnxruntime"]["spread"]["median"] > 0
    assert "onnxruntime" in case["speedups"]["dense"]


def test_it_runs_on_the_cpu_only(small_cfg, images, monkeypatch):
    assert is_available(torch.device("cpu"))
    assert not is_available(torch.device("cuda"))
    monkeypatch.setattr(SRN, "device", torch.device("cuda"))
    with pytest.raises(ValueError, match="on the CPU"):
        build_variants(small_cfg("MODEL.SRN.SECOND_STEP", "dense"), ["onnxruntime"], images)
