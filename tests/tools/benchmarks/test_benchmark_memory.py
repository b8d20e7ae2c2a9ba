"""The peak of memory in a block of code."""

import mmap
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import memory
from benchmarks.memory import measure_memory

CPU = torch.device("cpu")
MEBIBYTE = 2**20


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK),
    reason="/proc/self/clear_refs cannot be written: run on Linux, as the process's owner",
)
def test_peak_of_a_block_only():
    def touch(mebibytes):
        # Not through malloc, which may have as much in store from tests before.
        with mmap.mmap(-1, mebibytes * MEBIBYTE) as pages:
            for _ in range(mebibytes):
                pages.write(b"1" * MEBIBYTE)

    touch(150)  # an earlier peak
    with measure_memory(CPU) as large:
        touch(100)
    with measure_memory(CPU) as small:
        touch(30)
    assert 95 < large.added / MEBIBYTE < 120
    assert 25 < small.added / MEBIBYTE < 50
    assert large.peak == large.before + large.added


def test_upper_bound_where_the_peak_cannot_be_reset(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CLEAR_REFS", Path(tmp_path) / "missing" / "clear_refs")
    with measure_memory(CPU) as use:
        np.ones(MEBIBYTE, dtype=np.uint8)
    assert use.before == 0
    assert use.added == use.peak > 50 * MEBIBYTE  # the interpreter with torch


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: run where there is one")
def test_peak_on_cuda():
    with measure_memory(torch.device("cuda")) as use:
        torch.ones(100 * MEBIBYTE, dtype=torch.uint8, device="cuda")
    assert use.added == pytest.approx(100 * MEBIBYTE, rel=0.02)
