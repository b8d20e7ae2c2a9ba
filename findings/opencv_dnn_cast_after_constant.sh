#!/usr/bin/env bash
# OpenCV's dnn leaves out a Cast that follows a Mul or a Gather of an ONNX Constant: wrong results,
# without an error.
#
# Package: opencv-python-headless 5.0.0.93.
#
# When dnn reads an ONNX file it replaces known groups of nodes, and takes Mul(x, Constant) -> Cast for
# the Mul alone and Gather(x, Constant) -> Cast for the Gather alone, whatever the Cast's type. What
# PyTorch writes for (x * 0.5).long() is such a group (torch.onnx.export with dynamo=False writes its
# constants as nodes Constant): the fraction stays, booleans are not 0 and 1, and the output has
# another type. Where the next node checks types there is an error far from its cause: a Range of
# floats whose limit was cast from an integer ("rtype == limitTensor.type()"). With the constant as an
# initializer, which is the same to the standard, the results are right.
#
# Output seen on 2026-11-30, AMD EPYC, Python 3.11:
# > (x * 0.5).long(), Constant: -2.5 -0.5 0 1.5 4.5 float32, the standard -2 0 0 1 4 int64
# > (x * 0.5).long(), initializer: -2 0 0 1 4 int64, the standard -2 0 0 1 4 int64
# > (x * 0.5).bool().float(), Constant: -2.5 -0.5 0 1.5 4.5 float32, the standard 1 1 0 1 1 float32
# > (x * 0.5).bool().float(), initializer: 1 1 0 1 1 float32, the standard 1 1 0 1 1 float32
# > x[[4, 3]].bool().float(), Constant: 9 3 float32, the standard 1 1 float32
# > x[[4, 3]].bool().float(), initializer: 1 1 float32, the standard 1 1 float32
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

X = np.array([-5, -1, 0, 3, 9], dtype=np.float32)
MUL, GATHER = ("Mul", np.float32(0.5)), ("Gather", np.array([4, 3]))


def graph_of(operator, constant, types, as_node):
    """operator(x, constant), cast to each of the types, as a checked model."""
    tensor = numpy_helper.from_array(np.asarray(constant), "constant")
    nodes = [helper.make_node("Constant", [], ["constant"], value=tensor)] if as_node else []
    nodes.append(helper.make_node(operator, ["x", "constant"], ["v0"]))
    for i, to in enumerate(types):
        nodes.append(helper.make_node("Cast", [f"v{i}"], [f"v{i + 1}"], to=to))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    y = helper.make_tensor_value_info(f"v{len(types)}", types[-1], ["m"])
    graph = helper.make_graph(nodes, "cast", [x], [y], [] if as_node else [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def text(values):
    return " ".join(f"{value:g}" for value in values.tolist()) + f" {values.dtype}"


for name, (operator, constant), types in (
    ("(x * 0.5).long()", MUL, [TensorProto.INT64]),
    ("(x * 0.5).bool().float()", MUL, [TensorProto.BOOL, TensorProto.FLOAT]),
    ("x[[4, 3]].bool().float()", GATHER, [TensorProto.BOOL, TensorProto.FLOAT]),
):
    for kind in ("Constant", "initializer"):
        model = graph_of(operator, constant, types, kind == "Constant")
        [expected] = ReferenceEvaluator(model).run(None, {"x": X})
        net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), dtype=np.uint8))
        net.setInput(X, "x")
        found = net.forward()
        print(f"> {name}, {kind}: {text(found)}, the standard {text(expected)}")
PYTHON
output=$("$folder/venv/bin/python" "$folder/probe.py")
echo "$output"
if [ "$output" = "$(grep '^# > ' "$0" | sed 's/^# //')" ]; then
  echo "as described"
else
  echo "it has changed"
  exit 1
fi
