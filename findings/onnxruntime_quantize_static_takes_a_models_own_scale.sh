#!/usr/bin/env bash
# onnxruntime.quantization.quantize_static (QDQ) takes a parameter of the network that is named as a
# weight with "_scale" behind it for the weight's quantisation scale: wrong results, no error.
#
# Packages: onnxruntime 1.32.0, onnx 1.23.2, torch 2.14.1 (torch.onnx.export(dynamo=False)).
#
# The quantiser names the scale of a tensor W W_scale. If the graph has an initializer of that name, it
# adds none, and the model's own factor is used as the scale. torch names initializers as parameters
# are named, so a convolution with a learnt factor `weight_scale` beside its `weight` is enough. With one
# factor for the whole map and quantisation per tensor, the file is written and runs, and its results
# are far off. With a factor for each channel and quantisation per channel, quantize_static ends with
# an error of shapes that names neither of them. A factor of another name gives what eight bits give.
#
# Output seen on 2026-12-01, AMD EPYC, Python 3.11:
# > initializers: bias, weight, weight_gain; mean error relative to the mean result: 0.01
# > initializers: bias, weight, weight_scale; mean error relative to the mean result: 3.55
# > a factor for each channel, weight_gain: 0.01
# > a factor for each channel, weight_scale: ValueError
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
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn

FOLDER = Path(sys.argv[1])


class Network(nn.Conv2d):
    """A convolution whose result is multiplied by a parameter of this name."""

    def __init__(self, name, per_channel):
        super().__init__(4, 8, 3, padding=1)
        self.factor = name
        shape = (8, 1, 1) if per_channel else ()
        self.register_parameter(name, nn.Parameter(torch.full(shape, 2.0)))

    def forward(self, x):
        return super().forward(x) * getattr(self, self.factor)


class Samples(CalibrationDataReader):
    def __init__(self):
        self.remaining = iter(range(4))

    def get_next(self):
        seed = next(self.remaining, None)
        return None if seed is None else {"x": sample(seed)}


def sample(seed):
    return np.random.default_rng(seed).normal(size=(1, 4, 16, 16)).astype(np.float32)


def error(name, per_channel):
    """Names of the initializers, and the quantised network's mean error over the mean result."""
    torch.manual_seed(0)
    plain, quantised = FOLDER / "plain.onnx", FOLDER / "quantised.onnx"
    network = Network(name, per_channel).eval()
    torch.onnx.export(
        network, (torch.zeros(1, 4, 16, 16),), plain, dynamo=False, input_names=["x"]
    )
    model = onnx.load(plain)
    onnx.checker.check_model(model, full_check=True)
    names = sorted(tensor.name for tensor in model.graph.initializer)
    quantize_static(
        plain,
        quantised,
        Samples(),
        quant_format=QuantFormat.QDQ,
        per_channel=per_channel,
        weight_type=QuantType.QInt8,
    )
    expected, found = (
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(
            None, {"x": sample(9)}
        )[0]
        for path in (plain, quantised)
    )
    return names, float(abs(found - expected).mean() / abs(expected).mean())


warnings.simplefilter("ignore")
errors = {}
for name in ("weight_gain", "weight_scale"):
    names, errors[name] = error(name, per_channel=False)
    print(
        f"initializers: {', '.join(names)}; mean error relative to the mean result: "
        f"{errors[name]:.2f}"
    )
_, by_channel = error("weight_gain", per_channel=True)
print(f"a factor for each channel, weight_gain: {by_channel:.2f}")
raised = ""
try:
    error("weight_scale", per_channel=True)
except Exception as exception:
    raised = type(exception).__name__
print("a factor for each channel, weight_scale:", raised or "no error")
is_accurate = max(errors["weight_gain"], by_channel) < 0.03
same = is_accurate and errors["weight_scale"] > 0.5 and raised == "ValueError"
print("as described" if same else "it has changed")
sys.exit(not same)
PYTHON
"$folder/venv/bin/python" "$folder/probe.py" "$folder" 2>/dev/null
