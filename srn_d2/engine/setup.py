"""Set-up of a run of ``srn_d2.train``."""

import argparse
import logging
import os
import sys
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from torch import distributed

from srn_d2.bfloat16 import AUTO, explain_auto
from srn_d2.config import build_cfg, check_device, config_path
from srn_d2.cores import usable_cores

logger = logging.getLogger(__name__)


def setup_cfg(args: argparse.Namespace) -> CfgNode:
    """The frozen config of a run, after detectron2's ``default_setup``.

    Args:
        args: as detectron2's ``default_argument_parser`` gives: ``config_file``, a path or the name
            of a config in the model zoo, and ``opts``.

    Raises:
        FileNotFoundError: there is no such config; the message names those of the model zoo.
        KeyError: for an unknown key; the message names the closest valid ones.
        ValueError, OSError: a value is of a wrong type, or OUTPUT_DIR cannot be written to.
        RuntimeError: MODEL.DEVICE is a CUDA device and there is none; or several workers use NCCL,
            which supports CUDA only, and MODEL.DEVICE is the CPU.
    """
    # default_setup opens the file by this path.
    args = argparse.Namespace(**{**vars(args), "config_file": config_path(args.config_file)})
    cfg = build_cfg(args.config_file, args.opts)
    cfg.freeze()
    check_device(cfg)
    check_backend(cfg)
    check_mixed_precision(cfg)
    check_output_dir(cfg)
    share_cores(cfg)
    default_setup(cfg, args)
    # default_setup configures detectron2's and fvcore's loggers only; srn_d2's has the evaluators'
    # tables.
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="srn_d2")
    for handler in logging.getLogger("detectron2").handlers:
        if getattr(handler, "stream", None) is sys.stdout:
            handler.addFilter(_has_no_traceback)
    if cfg.MODEL.DEVICE == "cpu" and cfg.SOLVER.CPU_BFLOAT16 == AUTO:
        logger.info("SOLVER.CPU_BFLOAT16 auto: %s", explain_auto())
    return cfg


def _has_no_traceback(record: logging.LogRecord) -> bool:
    """Keep detectron2's traceback of an error in training for log.txt.

    What goes to the console is chosen where the error ends the run.
    """
    return record.exc_info is None


def check_mixed_precision(cfg: CfgNode) -> None:
    """Raise a ValueError for CUDA's mixed precision on another device."""
    if cfg.SOLVER.AMP.ENABLED and not cfg.MODEL.DEVICE.startswith("cuda"):
        raise ValueError(
            f"SOLVER.AMP.ENABLED is True: it needs CUDA, and MODEL.DEVICE is {cfg.MODEL.DEVICE!r}; "
            "on a CPU set SOLVER.CPU_BFLOAT16 instead"
        )


def check_output_dir(cfg: CfgNode) -> None:
    """Raise a ValueError or an OSError where OUTPUT_DIR is no folder that can be written to."""
    folder = Path(cfg.OUTPUT_DIR)
    if not cfg.OUTPUT_DIR:
        raise ValueError("OUTPUT_DIR is empty: name a folder for checkpoints, metrics and the log")
    above = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if not above.is_dir():
        raise NotADirectoryError(f"OUTPUT_DIR is {folder}, but {above} is no folder")
    if not os.access(above, os.W_OK):
        raise PermissionError(f"OUTPUT_DIR is {folder}, but {above} cannot be written to")


def share_cores(cfg: CfgNode) -> None:
    """Give each of several workers on CPUs its share of this machine's cores.

    Otherwise each starts as many threads as there are cores, and they wait for each other: with two
    workers on two cores an iteration took ten times as long. OMP_NUM_THREADS has precedence.
    """
    workers = comm.get_local_size()
    if workers > 1 and cfg.MODEL.DEVICE == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, usable_cores() // workers))


def leave_process_group() -> None:
    """Destroy the process group once all workers are done; no-op with one worker.

    A worker that exits early breaks gloo's connections, and NCCL warns of groups left undestroyed.
    """
    if comm.get_world_size() > 1:
        comm.synchronize()
        distributed.destroy_process_group()


def check_backend(cfg: CfgNode) -> None:
    """Raise a RuntimeError where several workers use NCCL and the model is on the CPU.

    Detectron2 launches them with NCCL on every machine that has a GPU.
    """
    on_cuda = cfg.MODEL.DEVICE.startswith("cuda")
    if comm.get_world_size() > 1 and distributed.get_backend() == "nccl" and not on_cuda:
        raise RuntimeError(
            f"MODEL.DEVICE is {cfg.MODEL.DEVICE!r}, but the workers have GPUs: append "
            "`MODEL.DEVICE cuda` to the command, or hide the GPUs from it by CUDA_VISIBLE_DEVICES="
        )
