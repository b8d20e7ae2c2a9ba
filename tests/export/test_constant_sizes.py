"""Sizes of exported networks that are constants."""

import onnx
import onnxruntime
import pytest
import torch
from detectron2.modeling import build_model

from srn_d2.config import build_cfg
from srn_d2.export.constant_sizes import constant_sizes


def test_onnx_runtime_makes_the_padding_part_of_the_convolutions(lite_files, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3  # the optimized file is for this processor
    onnxruntime.InferenceSession(lite_files[False], options, providers=["CPUExecutionProvider"])
    padding = [n for n in onnx.load(tmp_path / "optimized.onnx").graph.node if n.op_type == "Pad"]
    assert len(padding) == 1  # of the input, to a multiple of 32


@pytest.mark.numerics
@pytest.mark.parametrize("norm", ["BN", "FrozenBN"])
def test_constant_amounts_are_those_of_the_padded_input(repo_root, norm):
    config = repo_root / "configs" / "srn_efflite0_sep.yaml"
    torch.manual_seed(0)
    cfg = build_cfg(str(config), ["MODEL.WEIGHTS", "", "MODEL.TIMM.NORM", norm])
    model = build_model(cfg).eval()
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected = model.backbone(x)
        with constant_sizes(model):
            found = model.backbone(x)
        again = model.backbone(x[:, :, :33])
    assert again["p2"].shape[2] == 9  # sizes that are no multiples work as before
    for level, value in expected.items():
        torch.testing.assert_close(found[level], value)
