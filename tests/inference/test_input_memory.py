"""The size that the free memory allows."""

import os

import pytest
import torch

from srn_d2.inference import input_memory
from srn_d2.inference.input_memory import CPU_BYTES_PER_PIXEL, automatic_max_size, free_ram

MEMINFO = "MemTotal:       24590000 kB\nMemFree:  1000 kB\nMemAvailable:   2048 kB\nBuffers: 5 kB\n"


def test_free_ram_is_what_programs_can_still_have(tmp_path):
    path = tmp_path / "meminfo"
    path.write_text(MEMINFO, encoding="ascii")
    assert free_ram(path) == 2 * 2**20
    path.write_text(MEMINFO.replace("MemAvailable", "Other"), encoding="ascii")
    with pytest.raises(OSError, match="MemAvailable"):
        free_ram(path)


@pytest.mark.parametrize(
    ("size", "wanted"), [(600.5, 600), (1400.5, 1400), (2099.5, 2099), (5000, 2100), (100, 512)]
)
def test_the_largest_image_takes_four_fifths_of_the_memory(monkeypatch, size, wanted):
    free = int(size**2 * CPU_BYTES_PER_PIXEL / 0.8)
    monkeypatch.setattr(input_memory, "free_ram", lambda: free)
    assert automatic_max_size(pytest.fail, torch.device("cpu")) == wanted


@pytest.mark.skipif(not os.path.exists("/proc/meminfo"), reason="no /proc/meminfo: run on Linux")
def test_on_this_machine_it_is_a_part_of_the_memory_that_there_is():
    page = os.sysconf("SC_PAGE_SIZE")
    free, installed = free_ram(), page * os.sysconf("SC_PHYS_PAGES")
    assert 2**26 < free <= installed
    assert 512 <= automatic_max_size(pytest.fail, torch.device("cpu")) <= 2100


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: run where there is one")
def test_on_a_gpu_a_pixel_is_measured():
    convolution = torch.nn.Conv2d(3, 64, 3, padding=1).cuda()

    @torch.no_grad()
    def detect(image):
        return convolution(image.cuda().float()[None]).relu()

    device = torch.device("cuda")
    taken = input_memory._cuda_bytes_per_pixel(detect, device)
    assert 64 * 4 <= taken < 64 * 4 * 10  # the output's 64 channels in float32, and some more
    assert 512 <= automatic_max_size(detect, device) <= 2100
