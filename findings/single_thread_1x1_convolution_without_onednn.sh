#!/usr/bin/env bash
# With one thread torch computes 1 x 1 convolutions in float32 without oneDNN.
#
# Package: torch 2.14.1, on an x86 CPU.
#
# With two threads or more every convolution of usual size goes to oneDNN. With one
# (torch.set_num_threads(1), OMP_NUM_THREADS=1, and so in most data workers and in one process for
# each core) a 1 x 1 convolution in float32 goes to aten::_slow_conv2d_forward, a matrix product of
# another library, in both memory formats; 3 x 3 convolutions, depthwise or not, stay with oneDNN. So
# half of the layers of MobileNet, EfficientNet and the like change their backend with the number of
# threads: results differ in the last bits, and a measurement with one thread says little about two.
#
# Output seen on 2026-11-29, AMD EPYC, Python 3.11:
# > 1x1 contiguous, 1 thread: slow_conv2d
# > 1x1 contiguous, 2 threads: oneDNN
# > 1x1 channels_last, 1 thread: slow_conv2d
# > 1x1 channels_last, 2 threads: oneDNN
# > 3x3 contiguous, 1 thread: oneDNN
# > 3x3 contiguous, 2 threads: oneDNN
# > 3x3 depthwise channels_last, 1 thread: oneDNN
# > 3x3 depthwise channels_last, 2 threads: oneDNN
# > as described
#
# Exit status: 0 as described; 1 if it has changed.
set -euo pipefail
unset ONEDNN_MAX_CPU_ISA DNNL_MAX_CPU_ISA ATEN_CPU_CAPABILITY
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy
cat >"$folder/probe.py" <<'PYTHON'
import sys

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
OPERATORS = {
    "aten::mkldnn_convolution": "oneDNN",
    "aten::_slow_conv2d_forward": "slow_conv2d",
}


def backend(kernel, groups, memory_format):
    conv = nn.Conv2d(64, 64, kernel, padding=kernel // 2, groups=groups)
    conv = conv.to(memory_format=memory_format)
    x = torch.randn(1, 64, 96, 96).to(memory_format=memory_format)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as recorded:
        conv(x)
    names = {event.key for event in recorded.key_averages()}
    return next((short for name, short in OPERATORS.items() if name in names), "another")


assert torch.backends.mkldnn.is_available()
same = True
for name, kernel, groups, layout in (
    ("1x1", 1, 1, "contiguous"),
    ("1x1", 1, 1, "channels_last"),
    ("3x3", 3, 1, "contiguous"),
    ("3x3 depthwise", 3, 64, "channels_last"),
):
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found = backend(kernel, groups, FORMATS[layout])
        print(f"{name} {layout}, {threads} thread{'s' * (threads > 1)}: {found}")
        same &= found == ("slow_conv2d" if kernel == 1 and threads == 1 else "oneDNN")
print("as described" if same else "it has changed")
sys.exit(not same)
PYTHON
"$folder/venv/bin/python" "$folder/probe.py" 2>/dev/null
