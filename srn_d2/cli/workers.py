"""The workers of ``srn-d2 detect`` on several GPUs or machines, by detectron2's launch."""

import argparse
import ctypes
import logging
import multiprocessing
import os
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from srn_d2.heavy_imports import import_heavy

from .preparation import prepare_job
from .processing import GO_ON, run_job, stopped_by_sigterm
from .worker_group import get_local_rank

if TYPE_CHECKING:
    from torch.multiprocessing.spawn import ProcessException

logger = logging.getLogger(__name__)

TIMEOUT = timedelta(days=30)
"""Time that a worker that is done waits for the others."""
STOP_SECONDS = 5.0
"""Time that workers have to stop by themselves, as Ctrl-C in a terminal stops them too."""


def run_workers(args: argparse.Namespace) -> int:
    """Run the command, by the workers that its options ask for on this machine.

    If a worker ends, killed for instance, the others on this machine are stopped, and those on
    other machines fail as they wait; what is done is kept.

    Returns:
        the exit status.
    """
    # The rest are functions, which cannot be pickled.
    args = argparse.Namespace(
        **{key: value for key, value in vars(args).items() if not callable(value)}
    )
    if args.num_gpus * args.num_machines == 1:
        return run_job(lambda: prepare_job(args))
    import_heavy("detectron2.engine")
    return _launch_workers(args)


def _launch_workers(args: argparse.Namespace) -> int:
    """Start several workers, wait for them, and return the exit status."""
    import torch
    from detectron2.engine import launch
    from torch.multiprocessing.spawn import ProcessException

    num_gpus = torch.cuda.device_count()
    if 0 < num_gpus < args.num_gpus:
        logger.error("--num-gpus is %d, but this machine has %d", args.num_gpus, num_gpus)
        return 2
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # see _log_end
    # Workers import detectron2 first, before srn_d2 hides warnings of its imports; semaphores of
    # killed ones are cleaned up.
    hidden = "ignore:`torch.jit.script`:FutureWarning,ignore:resource_tracker:UserWarning"
    os.environ.setdefault("PYTHONWARNINGS", hidden)
    status = multiprocessing.get_context("spawn").Value("i", 1, lock=False)
    try:
        with stopped_by_sigterm():
            launch(
                _run_worker,
                args.num_gpus,
                num_machines=args.num_machines,
                machine_rank=args.machine_rank,
                dist_url=args.dist_url,
                args=(args, status),
                timeout=TIMEOUT,
            )
    except KeyboardInterrupt:
        end_workers()
        logger.info("Stopped: %s", GO_ON)
        return 130
    except ProcessException as error:
        _log_end(error)
        return 1 if status.value in (0, 1) else status.value
    return status.value


def end_workers() -> None:
    """End the worker processes; Python would wait until they are done with all inputs."""
    end = time.monotonic() + STOP_SECONDS
    workers = multiprocessing.active_children()
    for worker in workers:
        worker.join(max(end - time.monotonic(), 0))
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()


def _run_worker(args: argparse.Namespace, status: "ctypes.c_int") -> None:
    """One worker, in a process of its own."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("srn_d2.cli").setLevel(logging.INFO)
    import torch

    if torch.cuda.is_available() and args.device in (None, "auto", "cuda"):
        args.device = f"cuda:{get_local_rank()}"
    status.value = run_job(lambda: prepare_job(args))
    torch.distributed.destroy_process_group()


def _log_end(error: "ProcessException") -> None:
    """Say which worker ended first, and how."""
    from torch.multiprocessing.spawn import ProcessExitedException

    if isinstance(error, ProcessExitedException) and error.signal_name:
        reason = f"was ended by {error.signal_name}"
    elif isinstance(error, ProcessExitedException):
        reason = f"stopped with status {error.exit_code}"
    else:
        reason = f"failed: {str(error).strip().splitlines()[-1]}"
    logger.error(
        "Worker %d (process %d) %s. What is done is kept: %s",
        *(error.error_index, error.error_pid, reason, GO_ON),
    )
