"""Detectors in other processes: forked after use, and pickled."""

import multiprocessing
import pickle

import numpy as np
import pytest
import torch

from helpers.detections import assert_same_detections
from srn_d2 import FaceDetector

TIMEOUT = 120


@pytest.fixture(scope="module")
def photograph():
    import matplotlib.cbook
    from PIL import Image

    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module", params=["onnx", "torch"])
def detector(request):
    return FaceDetector(device="cpu", size=300, runtime=request.param)


def in_a_fork(function):
    """The result of a function in a forked process; fails if it hangs."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=lambda: theirs.send(function()))
    process.start()
    try:
        assert ours.poll(TIMEOUT), "the forked process hangs"
        return ours.recv()
    finally:
        process.kill()
        process.join()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_finds_the_same_faces(detector, photograph):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        expected = detector(photograph)
        found = in_a_fork(lambda: (detector(photograph), torch.get_num_threads()))
    finally:
        torch.set_num_threads(threads)
    faces, threads_there = found
    assert threads_there == (1 if detector.runtime == "torch" else 2)
    assert len(expected) == 1
    assert_same(faces, expected)


def test_a_pickled_detector_finds_the_same_faces(detector, photograph):
    assert_same(pickle.loads(pickle.dumps(detector))(photograph), detector(photograph))


def test_a_fork_cannot_share_a_gpu(photograph):
    copy = FaceDetector(device="cpu", runtime="torch")
    copy._device_name, copy._process = "cuda", -1
    with pytest.raises(RuntimeError, match=r"forked .* 'cuda'.*after the fork"):
        copy(photograph)


def assert_same(faces, expected):
    assert_same_detections(
        *(np.column_stack([f.boxes, f.scores]) for f in (faces, expected)),
        box_tolerance=0.05,
        score_tolerance=1e-3,
    )


@pytest.mark.parametrize("device", ["gpu", 0, None, "cuda:x", 1.5])
def test_devices_that_are_none_name_the_valid_ones(device):
    with pytest.raises(ValueError, match=r"device is .*valid are 'auto' .*'cpu', 'cuda'.*'mps'"):
        FaceDetector(device=device)


def test_a_torch_device_is_a_device():
    assert FaceDetector(device=torch.device("cpu")).device.type == "cpu"


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is an Apple GPU")
def test_an_apple_gpu_that_is_not_there():
    with pytest.raises(RuntimeError, match=r"device is 'mps' .*take \"cpu\" or \"auto\""):
        FaceDetector(device="mps")
