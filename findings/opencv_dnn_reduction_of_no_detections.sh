#!/usr/bin/env bash
# OpenCV's dnn stops at a reduction over the coordinates of no boxes: a graph with NMS inside that
# works on every picture with a face raises an error on the first one without.
#
# Package: opencv-python-headless 5.0.0.93.
#
# In an ONNX graph NonMaxSuppression gives a tensor of as many rows as there are detections, possibly
# 0. dnn carries such empty tensors through Gather, Slice, Mul and Sub, and forward() then returns
# None for an empty output. But ReduceSum or ReduceMax over the last axis of (0, 4) gives another
# shape than the next node expects, and forward() raises "buf.shape() == m.shape()" for any node
# behind it. To the standard the reduction of (0, 4) with keepdims is (0, 1), without an error. Areas
# of boxes as products of sides taken by Slice work.
#
# Output seen on 2026-11-30, AMD EPYC, Python 3.11:
# > Slice, Mul: 2 detections (2, 4); 0 detections None, the standard (0, 4)
# > ReduceSum, Mul: 2 detections (2, 4); 0 detections error, the standard (0, 4)
# > ReduceMax, Mul: 2 detections (2, 4); 0 detections error, the standard (0, 4)
#
# Exit status: 0 as described, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    opencv-python-headless==5.0.0.93 onnx==1.23.2
cat >"$folder/probe.py" <<'PYTHON'
import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

BOXES = np.array([[[0, 0, 8, 8], [1, 0, 9, 8], [20, 0, 30, 9]]], dtype=np.float32)
CONSTANTS = {
    "most": np.array([10]),
    "iou": np.array([0.5], np.float32),
    "limit": np.array([0.1], np.float32),
    "column": np.array(2),
    "shape": np.array([-1, 4]),
    "first": np.array([0]),
    "second": np.array([1]),
    "axis": np.array([-1]),
}
FACTORS = {
    "Slice": helper.make_node("Slice", ["kept", "first", "second", "axis"], ["factor"]),
    "ReduceSum": helper.make_node("ReduceSum", ["kept", "axis"], ["factor"], keepdims=1),
    "ReduceMax": helper.make_node("ReduceMax", ["kept"], ["factor"], axes=[-1], keepdims=1),
}


def graph_of(factor):
    """NMS, the boxes that it keeps (n, 4), and these times a factor of each, as a checked model."""
    nodes = [
        helper.make_node(
            "NonMaxSuppression", ["boxes", "scores", "most", "iou", "limit"], ["chosen"]
        ),
        helper.make_node("Gather", ["chosen", "column"], ["rows"], axis=1),
        helper.make_node("Reshape", ["boxes", "shape"], ["flat"]),
        helper.make_node("Gather", ["flat", "rows"], ["kept"], axis=0),
        factor,
        helper.make_node("Mul", ["factor", "kept"], ["y"]),
    ]
    inputs = [("boxes", [1, "anchors", 4]), ("scores", [1, 1, "anchors"])]
    graph = helper.make_graph(
        nodes,
        "detections",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["detections", 4])],
        [numpy_helper.from_array(value, name) for name, value in CONSTANTS.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def shape_found(net, scores):
    net.setInput(BOXES, "boxes")
    net.setInput(scores, "scores")
    try:
        found = net.forward("y")
    except cv2.error as error:
        return "error" if "buf.shape() == m.shape()" in str(error) else str(error)
    return None if found is None else found.shape


for name, factor in FACTORS.items():
    model = graph_of(factor)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), dtype=np.uint8))
    two = shape_found(net, np.array([[[0.9, 0.8, 0.7]]], dtype=np.float32))
    scores = np.zeros((1, 1, 3), dtype=np.float32)
    none = shape_found(net, scores)
    [expected] = ReferenceEvaluator(model).run(None, {"boxes": BOXES, "scores": scores})
    print(f"> {name}, Mul: 2 detections {two}; 0 detections {none}, the standard {expected.shape}")
PYTHON
output=$("$folder/venv/bin/python" "$folder/probe.py")
echo "$output"
if [ "$output" = "$(grep '^# > ' "$0" | sed 's/^# //')" ]; then
  echo "as described"
else
  echo "it has changed"
  exit 1
fi
