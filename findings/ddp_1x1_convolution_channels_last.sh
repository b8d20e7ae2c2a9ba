#!/usr/bin/env bash
# DistributedDataParallel and the weight of a 1 x 1 convolution in channels_last.
#
# Package: torch 2.14.1 (gloo, CPU).
#
# A weight (O, I, 1, 1) in channels_last is contiguous in both memory formats, since sizes of 1 leave
# their strides open: channels_last gives it strides (I, 1, I, I), a fresh convolution has
# (I, 1, 1, 1), and is_contiguous() is True for both. DistributedDataParallel minds the difference:
#
# 1. It cannot wrap a module whose only parameter is such a weight: a RuntimeError of overlapping
#    memory, with one worker and with two. With a bias beside it, with a 3 x 3 kernel, or with the
#    default strides it can.
# 2. With the default strides and an input in channels_last it warns in the first backward pass "Grad
#    strides do not match bucket view strides", since the gradient has the other ones. A hook that
#    gives the gradient the weight's strides, without copying, avoids it.
#
# Output seen on 2026-11-29, AMD EPYC, Python 3.11:
# > 1 workers: 1x1 channels_last: RuntimeError
# > 1 workers: 1x1 channels_last, bias: wrapped
# > 1 workers: 3x3 channels_last: wrapped
# > 1 workers: 1x1 default strides: wrapped
# > 2 workers: 1x1 channels_last: RuntimeError
# > 2 workers: 1x1 channels_last, bias: wrapped
# > 2 workers: 3x3 channels_last: wrapped
# > 2 workers: 1x1 default strides: wrapped
# > weight (32, 1, 1, 1): gradient (32, 1, 32, 32), warns True
# > weight (32, 1, 32, 32): gradient (32, 1, 32, 32), warns False
# > weight (32, 1, 1, 1), hook: gradient (32, 1, 1, 1), warns False
#
# Exit status: 0 as described, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy
cat >"$folder/probe.py" <<'PYTHON'
import os
import tempfile
import warnings

import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

CASES = {
    "1x1 channels_last": (1, False, True),
    "1x1 channels_last, bias": (1, True, True),
    "3x3 channels_last": (3, False, True),
    "1x1 default strides": (1, False, False),
}


def join(rank, world, store):
    distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=world
    )


def wrap(rank, world, store, case):
    join(rank, world, store)
    kernel, bias, channels_last = CASES[case]
    conv = nn.Conv2d(32, 8, kernel, bias=bias)
    if channels_last:
        conv = conv.to(memory_format=torch.channels_last)
    assert conv.weight.is_contiguous() == (kernel == 1 or not channels_last)
    try:
        DistributedDataParallel(conv)
        result = "wrapped"
    except RuntimeError as error:
        assert "single memory location" in str(error), error
        result = "RuntimeError"
    if rank == 0:
        print(f"{world} workers: {case}: {result}", flush=True)
    os._exit(0)  # gloo's threads may abort a process that ends in the usual way


def step(rank, store, channels_last, with_hook):
    join(rank, 1, store)
    conv = nn.Conv2d(32, 8, 1)
    if channels_last:
        conv = conv.to(memory_format=torch.channels_last)
    if with_hook:
        conv.weight.register_hook(lambda gradient: gradient.reshape(-1).view(gradient.shape))
    model = DistributedDataParallel(conv)
    x = torch.randn(2, 32, 8, 8).to(memory_format=torch.channels_last)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model(x).square().mean().backward()
    warns = any("Grad strides do not match" in str(warning.message) for warning in caught)
    name = f"weight {conv.weight.stride()}" + (", hook" if with_hook else "")
    print(f"{name}: gradient {conv.weight.grad.stride()}, warns {warns}", flush=True)
    os._exit(0)  # gloo's threads may abort a process that ends in the usual way


if __name__ == "__main__":
    for world in (1, 2):
        for case in CASES:
            multiprocessing.spawn(wrap, (world, tempfile.mkdtemp() + "/store", case), nprocs=world)
    for case in ((False, False), (True, False), (False, True)):
        multiprocessing.spawn(step, (tempfile.mkdtemp() + "/store", *case), nprocs=1)
PYTHON
"$folder/venv/bin/python" "$folder/probe.py" 2>"$folder/errors" >"$folder/found" || {
    cat "$folder/errors" >&2
    exit 1
}
sed -n 's/^# > //p' "$0" >"$folder/expected"
diff "$folder/expected" "$folder/found" && echo "as described"
