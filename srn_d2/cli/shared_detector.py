"""One detector for the inputs that are in work at the same time."""

import os
from typing import NamedTuple

from srn_d2.cores import usable_cores
from srn_d2.inference.concurrent_detection import BatchingDetector, ThreadedDetector
from srn_d2.inference.detector import FaceDetector

from .worker_group import get_local_size

MAX_INPUTS = 4
"""Maximum number of inputs in work in a process on CPUs. More hold up each other in Python."""
MAX_INPUTS_GPU = 8
FRAMES_PER_GPU_BATCH = 8

SharedDetector = ThreadedDetector | BatchingDetector


class ThreadPlan(NamedTuple):
    """Threads of a process on CPUs.

    Attributes:
        inputs: number of pictures, or frames of a video, at the same time.
        network: number of threads of the network of each.
    """

    inputs: int
    network: int


def plan_threads(num_inputs: int, num_processes: int = 1) -> ThreadPlan:
    """Threads of one of ``num_processes`` processes.

    Networks on one core each are faster together than one on all cores. With fewer inputs than
    cores each gets several.

    Args:
        num_inputs: number of inputs that can be done at the same time.
    """
    cores = max(1, available_cores() // num_processes)
    inputs = max(1, min(num_inputs, cores, MAX_INPUTS)) if num_processes == 1 else 1
    return ThreadPlan(inputs, cores // inputs)


def available_cores() -> int:
    """Cores of this worker: its share of the machine's, or OMP_NUM_THREADS."""
    cores = max(1, usable_cores() // get_local_size())
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(limit)) if limit.isdigit() and int(limit) > 0 else cores


def share_detector(detector: FaceDetector, plan: ThreadPlan) -> SharedDetector:
    """A detector for several threads: on a GPU it joins their images in batches."""
    if detector.device_type == "cuda":
        return BatchingDetector(detector)
    return ThreadedDetector(detector, plan.inputs)


def inputs_at_a_time(detector: FaceDetector, plan: ThreadPlan) -> int:
    """Number of threads that read, decode and write."""
    is_on_gpu = detector.device_type == "cuda"
    return min(max(available_cores(), 2), MAX_INPUTS_GPU) if is_on_gpu else plan.inputs


def frames_at_a_time(detector: FaceDetector, plan: ThreadPlan) -> int:
    """Number of a video's frames that the detector gets at a time."""
    return FRAMES_PER_GPU_BATCH if detector.device_type == "cuda" else plan.inputs
