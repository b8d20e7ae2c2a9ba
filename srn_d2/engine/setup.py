"""From command-line arguments to a config, with errors that say what would be valid."""

import argparse
import difflib
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.engine import default_setup
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from detectron2.utils.logger import setup_logger
from torch import distributed

from srn_d2.bfloat16 import AUTO, explain_auto, resolve_cpu_bfloat16
from srn_d2.config import add_srn_config

logger = logging.getLogger(__name__)


def setup_cfg(args: argparse.Namespace) -> CfgNode:
    """The frozen config of a run, after detectron2's ``default_setup``.

    Args:
        args: as detectron2's ``default_argument_parser`` gives: ``config_file`` and ``opts``.

    Raises:
        KeyError: for an unknown key; the message names the closest valid ones.
        RuntimeError: where MODEL.DEVICE is a CUDA device and there is none; where several workers
            talk through NCCL, which knows CUDA only, and it is none.
    """
    cfg = build_cfg(args.config_file, args.opts)
    cfg.freeze()
    check_device(cfg)
    check_backend(cfg)
    default_setup(cfg, args)
    # It sets up detectron2's and fvcore's loggers only; ours carries the evaluators' tables.
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="srn_d2")
    if cfg.MODEL.DEVICE == "cpu" and cfg.SOLVER.CPU_BFLOAT16 == AUTO:
        logger.info("SOLVER.CPU_BFLOAT16 auto: %s", explain_auto())
    return cfg


class SRNCfgNode(CfgNode):
    """detectron2's config, whose SOLVER.CPU_BFLOAT16 may be "auto", True or False.

    A value keeps its type in yacs' merges, unless it is None; so this one is None for their time.
    """

    def merge_from_other_cfg(self, cfg_other: CfgNode) -> None:
        with self._free_type():
            super().merge_from_other_cfg(SRNCfgNode(cfg_other))  # yacs compares classes, too

    def merge_from_list(self, cfg_list: list) -> None:
        for index in range(0, len(cfg_list), 2):  # one pair at a time: a key may come twice
            with self._free_type():
                super().merge_from_list(cfg_list[index : index + 2])

    @contextmanager
    def _free_type(self) -> Iterator[None]:
        solver = self.get("SOLVER", {})  # nodes below the root have none
        before = solver.get("CPU_BFLOAT16")
        if before is not None:
            solver["CPU_BFLOAT16"] = None
        try:
            yield
        finally:
            if before is not None and solver["CPU_BFLOAT16"] is None:
                solver["CPU_BFLOAT16"] = before


def build_cfg(config_file: str = "", opts: list[str] | None = None) -> CfgNode:
    """Detectron2's defaults, the project's keys, a config file and ``KEY VALUE`` pairs over them.

    Raises:
        KeyError, FileNotFoundError: for an unknown key, or no such file.
        ValueError: for a file that is no YAML, a key without a value, or a wrong value of
            SOLVER.CPU_BFLOAT16.
    """
    cfg = SRNCfgNode(get_cfg())
    add_srn_config(cfg)
    valid = list(_flatten_keys(cfg))
    if config_file and not PathManager.isfile(config_file):  # detectron2 would assert it
        raise FileNotFoundError(f"there is no config file {config_file}")
    try:
        if config_file:
            cfg.merge_from_file(config_file)
    except KeyError as error:
        raise _unknown_key(error, valid, f"{config_file}: ") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{config_file} is no valid YAML: {error}") from error
    opts = list(opts or [])
    if len(opts) % 2:
        raise ValueError(f"the options {opts} must be pairs of a key and its value")
    try:
        cfg.merge_from_list(opts)
    except (KeyError, AssertionError) as error:
        raise _unknown_key(error, valid, "command line: ") from error
    if cfg.SOLVER.CPU_BFLOAT16 is None:
        cfg.SOLVER.CPU_BFLOAT16 = False
    resolve_cpu_bfloat16(cfg.SOLVER.CPU_BFLOAT16)  # raises for a wrong value
    return cfg


def leave_process_group() -> None:
    """End this worker's communication once all workers are done; nothing with one worker.

    A worker that leaves early breaks gloo's connections, and NCCL warns of groups that are left.
    """
    if comm.get_world_size() > 1:
        comm.synchronize()
        distributed.destroy_process_group()


def message_of(error: Exception) -> str:
    """An error's message for the command line: str() of a KeyError quotes it, line breaks too."""
    return str(error.args[0] if isinstance(error, KeyError) and error.args else error)


def check_device(
    cfg: CfgNode,
    name: str = "MODEL.DEVICE",
    advice: str = "append `MODEL.DEVICE cpu` to the command",
) -> None:
    """Raise a RuntimeError where the config asks for a CUDA device that is not there.

    Args:
        cfg: its MODEL.DEVICE is looked at.
        name: of what the user has set.
        advice: what to do where there is no CUDA device.
    """
    device = cfg.MODEL.DEVICE
    if not device.startswith("cuda"):
        return
    if not torch.cuda.is_available():
        raise RuntimeError(
            f"{name} is {device!r} but torch finds no CUDA device: {advice}, or see "
            "`python -m srn_d2.doctor`"
        )
    index, number = torch.device(device).index or 0, torch.cuda.device_count()
    if index >= number:
        raise RuntimeError(
            f"{name} is {device!r} but the last of torch's {number} CUDA devices is "
            f"'cuda:{number - 1}'"
        )


def check_backend(cfg: CfgNode) -> None:
    """Raise a RuntimeError where several workers talk through NCCL and the model is on the CPU.

    Detectron2 launches them with NCCL on every machine that has a GPU.
    """
    on_cuda = cfg.MODEL.DEVICE.startswith("cuda")
    if comm.get_world_size() > 1 and distributed.get_backend() == "nccl" and not on_cuda:
        raise RuntimeError(
            f"MODEL.DEVICE is {cfg.MODEL.DEVICE!r}, but the workers have GPUs: append "
            "`MODEL.DEVICE cuda` to the command, or hide the GPUs from it by CUDA_VISIBLE_DEVICES="
        )


def _flatten_keys(node: CfgNode, prefix: str = "") -> list[str]:
    keys = []
    for name, value in node.items():
        keys += (
            _flatten_keys(value, f"{prefix}{name}.")
            if isinstance(value, CfgNode)
            else [prefix + name]
        )
    return keys


def _unknown_key(error: Exception, valid: list[str], where: str) -> KeyError:
    message = str(error.args[0]) if error.args else str(error)
    named = message.rsplit(" ", 1)[-1].strip("'\"")
    parent = named.rpartition(".")[0]
    siblings = [key for key in valid if key.rpartition(".")[0] == parent]
    close = difflib.get_close_matches(named, valid, n=3, cutoff=0.7)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return KeyError(f"{where}{message}; {hint}valid keys there: {', '.join(siblings) or 'none'}")
