"""From the command line of ``srn-d2 detect`` to the job."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from srn_d2.detection_settings import detection_settings
from srn_d2.inference.detector import FaceDetector

from .detector_arguments import build_detector
from .input_processing import InputProcessor, Process
from .parquet_output import import_pyarrow
from .processing import Job
from .run_folder import INPUTS
from .shared_detector import (
    ThreadPlan,
    available_cores,
    frames_at_a_time,
    inputs_at_a_time,
    plan_threads,
    share_detector,
)
from .sources import Source, distinct_stems, find_sources
from .video.arguments import video_options
from .video.containers import keep_containers

logger = logging.getLogger(__name__)

INPUTS_FOR_ONNX = 16
"""Number of pictures from which --runtime auto is ONNX Runtime, which takes seconds to start."""
FRAMES_OF_A_VIDEO = 100
"""A number of frames that most videos have."""
# Options on which the results depend, besides those of the detector's config.
_OPTIONS = (
    *("format", "blur", "pixelate", "no_pictures", "max_frames", "margin", "hide_neighbours"),
    *("fill_gaps", "no_audio", "keep_metadata", "video_codec", "copy_codec", "crf"),
    *("threshold", "size", "min_face_size", "no_large_faces", "max_megapixels", "runtime"),
)


def prepare_job(args: argparse.Namespace) -> Job:
    """The job of a command line, or of this worker of it.

    Raises:
        OSError, ValueError, KeyError, RuntimeError, ImportError: something is wrong with it.
    """
    sources = find_sources(args.inputs, args.output) if args.inputs else []
    if args.copy_codec:
        sources = keep_containers(sources, args.output)
    if "wider" in args.format:
        sources = distinct_stems(sources)
    if "parquet" in args.format:
        import_pyarrow()
    num_images = _num_images(sources)
    plan = plan_threads(num_images, args.num_processes)
    detector = make_detector(args, plan, num_images)
    start = partial(start_worker, args, plan, num_images)
    num_processes = min(args.num_processes, max(len(sources), 1))
    return Job(
        detector=share_detector(detector, plan),
        sources=sources,
        output=args.output,
        formats=args.format,
        settings=job_settings(args, detector),
        camera=args.webcam,
        video=video_options(args, frames_at_a_time(detector, plan)),
        num_inputs=inputs_at_a_time(detector, plan),
        start_worker=start if num_processes > 1 else None,
        num_processes=num_processes,
        restart=args.restart,
    )


def start_worker(args: argparse.Namespace, plan: ThreadPlan, num_inputs: int) -> Process:
    """The function by which a worker process does an input."""
    detector = make_detector(args, plan, num_inputs)
    video = video_options(args, frames_at_a_time(detector, plan))
    shared = share_detector(detector, plan)
    # Several bars at a time would overwrite each other.
    return InputProcessor(shared, args.output, video, show_progress=not sys.stderr.isatty())


def make_detector(args: argparse.Namespace, plan: ThreadPlan, num_inputs: int) -> FaceDetector:
    """The detector of the options, whose network has the plan's threads on CPUs.

    Raises:
        ValueError, FileNotFoundError, RuntimeError, ImportError: see ``build_detector``.
    """
    threads = plan.network if plan.network < available_cores() else None
    return build_detector(
        args, args.threshold, threads=threads, is_long=num_inputs >= INPUTS_FOR_ONNX
    )


def job_settings(args: argparse.Namespace, detector: FaceDetector) -> dict[str, Any]:
    """JSON values that the results of a command line depend on, to compare with an earlier one."""
    options = {f"--{name.replace('_', '-')}": getattr(args, name) for name in _OPTIONS}
    inputs = [os.fsdecode(os.path.abspath(pattern)) for pattern in args.inputs]
    # With ONNX Runtime without the config, which needs detectron2.
    of_model = (
        detection_settings(detector.cfg) if detector.metadata is None else asdict(detector.metadata)
    )
    return {INPUTS: inputs, **options, **of_model}


def _num_images(sources: Sequence[Source]) -> int:
    """Number of pictures; of several frames, if there is a video."""
    has_video = any(source.is_video for source in sources)
    return max(len(sources), FRAMES_OF_A_VIDEO if has_video else 0)
