"""Edits of exported graphs: the same results, in ONNX Runtime and in OpenCV."""

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from srn_d2.export.graph_edits import simplify_for_runtimes
from srn_d2.export.parity import check_picture
from srn_d2.model_files import find_shipped_model

VALUES = np.array([-5, -1, 0, 3, 9], dtype=np.int64)


def nodes_of(graph):
    """All nodes of a graph and of the graphs in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes_of(attribute.g)


def run(model, **inputs):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, inputs)


@pytest.mark.parametrize("bounds", [("low", "high"), ("low", ""), ("", "high"), ()])
def test_integers_are_limited_by_min_and_max(bounds):
    constants = [
        helper.make_node(
            "Constant", [], [name], value=helper.make_tensor(name, TensorProto.INT64, [], [value])
        )
        for name, value in (("low", -1), ("high", 4))
    ]
    nodes = [
        *constants,
        helper.make_node("Clip", ["x", *bounds], ["limited"]),
        helper.make_node("Identity", ["limited"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.INT64, ["n"]) for n in "xy")
    graph = helper.make_graph(nodes, "clip", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    [expected] = run(model, x=VALUES)
    simplify_for_runtimes(model)
    onnx.checker.check_model(model, full_check=True)
    assert not {"Clip", "Constant"} & {node.op_type for node in model.graph.node}
    np.testing.assert_array_equal(run(model, x=VALUES)[0], expected)


def test_the_shipped_graph_has_half_kernels_and_no_constant_nodes():
    graph = onnx.load(find_shipped_model("lite").graph).graph
    assert "Constant" not in {node.op_type for node in nodes_of(graph)}
    inner = [
        attribute.g
        for node in nodes_of(graph)
        for attribute in node.attribute
        if attribute.type == onnx.AttributeProto.GRAPH
    ]
    assert any(x.initializer for x in inner)
    initializers = [x for every in (graph, *inner) for x in every.initializer]
    kernels = [x for x in initializers if len(x.dims) == 4 and np.prod(x.dims[1:]) > 1]
    assert len(kernels) > 50
    assert {x.data_type for x in kernels} == {TensorProto.FLOAT16}
    # onnxruntime's quantize_static would take these for its own.
    assert not [x.name for x in initializers if x.name.endswith(("_scale", "_zero_point"))]


@pytest.mark.numerics
@pytest.mark.skipif(int(cv2.__version__.split(".")[0]) < 5, reason="OpenCV 4 lacks some operators")
def test_opencv_computes_what_onnx_runtime_does(lite_files):
    path = str(lite_files[False])
    picture = np.ascontiguousarray(check_picture().transpose(0, 3, 1, 2))
    boxes, scores = run(onnx.load(path), images=picture)
    net = cv2.dnn.readNetFromONNX(path)
    net.setInput(picture, "images")
    found_boxes, found_scores = net.forward(["boxes", "scores"])
    np.testing.assert_allclose(found_scores, scores, atol=1e-4)
    counts = scores > 0.02
    assert counts.sum() > 10
    np.testing.assert_allclose(found_boxes[counts], boxes[counts], atol=0.05)
