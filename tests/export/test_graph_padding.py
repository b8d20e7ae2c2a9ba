"""Padding as part of convolutions: the same results, without nodes Pad."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from detectron2.modeling import build_model
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from srn_d2.config import build_cfg
from srn_d2.export.graph_padding import merge_padding
from srn_d2.export.same_padding import constant_same_padding

SIDE = st.integers(0, 3)


def run(model, x):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})


def pad_and_conv(sides, own, *, value=0.0, mode="constant", amounts_of_input=False):
    """A graph of a Pad by (top, left, bottom, right) and a strided convolution."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(4, 2, 3, 3)).astype(np.float32)
    top, left, bottom, right = sides
    values = {
        "kernel": kernel,
        "amounts": np.array([0, 0, top, left, 0, 0, bottom, right]),
        "value": np.float32(value),
        "zero": np.int64(0),
    }
    nodes = [helper.make_node("Add", ["amounts", "zero"], ["sum"])]  # to be computed
    if amounts_of_input:
        nodes += [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Mul", ["shape", "zero"], ["nothing"]),
            helper.make_node("Concat", ["nothing", "nothing"], ["nothings"], axis=0),
            helper.make_node("Add", ["sum", "nothings"], ["sum_of_input"]),
        ]
    pad = [
        "x",
        "sum_of_input" if amounts_of_input else "sum",
        "value" if mode == "constant" else "",
    ]
    nodes += [
        helper.make_node("Pad", pad, ["padded"], mode=mode),
        helper.make_node("Conv", ["padded", "kernel"], ["y"], strides=[2, 1], pads=list(own)),
    ]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, "h", "w"])
        for name, channels in (("x", 2), ("y", 4))
    )
    constants = [numpy_helper.from_array(np.asarray(v), name) for name, v in values.items()]
    graph = helper.make_graph(nodes, "padding", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def kinds(model):
    return {node.op_type for node in model.graph.node}


@given(sides=st.tuples(SIDE, SIDE, SIDE, SIDE), own=st.tuples(SIDE, SIDE, SIDE, SIDE))
@settings(max_examples=25, deadline=None)
def test_the_convolution_pads_by_itself(sides, own):
    model = pad_and_conv(sides, own)
    x = np.random.default_rng(1).normal(size=(1, 2, 8, 11)).astype(np.float32)
    [expected] = run(model, x)
    assert merge_padding(model) == 1
    onnx.checker.check_model(model, full_check=True)
    assert kinds(model) == {"Conv"}
    np.testing.assert_allclose(run(model, x)[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{"value": 1.0}, {"mode": "edge"}, {"amounts_of_input": True}], ids=str
)
def test_other_padding_stays(options):
    model = pad_and_conv((1, 0, 1, 2), (0, 0, 0, 0), **options)
    before = model.SerializeToString()
    assert merge_padding(model) == 0
    assert model.SerializeToString() == before


def test_of_the_shipped_model_only_the_padding_to_a_multiple_of_32_is_left(lite_files):
    for path in lite_files.values():
        graph = onnx.load(path).graph
        assert [node.input[0] for node in graph.node if node.op_type == "Pad"] == ["/Div_output_0"]


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
        with constant_same_padding(model):
            found = model.backbone(x)
        again = model.backbone(x[:, :, :33])
    assert again["p2"].shape[2] == 9  # sizes that are no multiples work as before
    for level, value in expected.items():
        torch.testing.assert_close(found[level], value)
