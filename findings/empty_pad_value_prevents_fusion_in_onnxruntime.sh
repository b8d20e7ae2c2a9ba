#!/usr/bin/env bash
# torch writes F.pad's default value into ONNX as an empty third input of Pad, and ONNX Runtime then
# does not make the Pad part of the convolution after it.
#
# Packages: torch 2.14.1 (the exporter of torch.onnx.export(dynamo=False)), onnx 1.23.2,
# onnxruntime 1.32.0, CPU execution provider.
#
# An optional input that is not given may be left out or be the empty string; ONNX gives both the same
# meaning. ONNX Runtime's fusion of Pad and Conv takes place only in the first case. In the other the
# map is copied, and in a network on an x86 CPU also converted from the blocked layout of the
# convolutions before it and back after it. It meets every network with asymmetric padding, such as
# TensorFlow's SAME padding in MobileNet and EfficientNet. Removing the empty input from the node is
# enough; the results are equal.
#
# Output seen on 2026-11-30, AMD EPYC, Python 3.11:
# > torch writes Pad with 3 inputs, the last one empty
# > as written: ReorderInput, Conv, ReorderOutput, Pad, ReorderInput, Conv, ReorderOutput
# > without the empty input: ReorderInput, Conv, Conv, ReorderOutput
# > largest difference of the results: 0.0
# > as described
#
# Exit status: 0 as described; 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.14.1 onnx==1.23.2 onnxruntime==1.32.0 numpy
cat >"$folder/probe.py" <<'PYTHON'
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from torch import nn


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(32, 32, 3, padding=1)
        self.second = nn.Conv2d(32, 32, 3, stride=2)

    def forward(self, x):
        return self.second(F.pad(self.first(x).relu(), (0, 1, 0, 1)))


def run(model, x, path):
    """The operators after ONNX Runtime's optimisation, and the result."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    operators = [node.op_type for node in onnx.load(path).graph.node]
    return operators, session.run(None, {"x": x})[0]


torch.manual_seed(0)
folder = Path(tempfile.mkdtemp(dir=sys.argv[1]))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch.onnx.export(
        Network().eval(),
        (torch.zeros(1, 32, 64, 96),),
        folder / "network.onnx",
        dynamo=False,
        input_names=["x"],
        dynamic_axes={"x": {2: "height", 3: "width"}},
    )
model = onnx.load(folder / "network.onnx")
onnx.checker.check_model(model, full_check=True)
[pad] = [node for node in model.graph.node if node.op_type == "Pad"]
is_empty = len(pad.input) == 3 and pad.input[2] == ""
print(f"torch writes Pad with {len(pad.input)} inputs, the last one {'empty' if is_empty else 'set'}")
x = np.random.default_rng(0).normal(size=(1, 32, 64, 96)).astype(np.float32)
as_written, first = run(model, x, folder / "as_written.onnx")
print("as written:", ", ".join(as_written))
del pad.input[2:]
onnx.checker.check_model(model, full_check=True)
without, second = run(model, x, folder / "without.onnx")
print("without the empty input:", ", ".join(without))
difference = float(abs(first - second).max())
print("largest difference of the results:", round(difference, 5))
same = is_empty and "Pad" in as_written and "Pad" not in without and difference < 1e-4
print("as described" if same else "it has changed")
sys.exit(not same)
PYTHON
"$folder/venv/bin/python" "$folder/probe.py" "$folder" 2>/dev/null
