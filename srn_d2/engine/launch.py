"""Launching of workers, whose errors end in one sentence."""

import argparse
import logging
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from detectron2.engine import launch
from detectron2.utils import comm
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

import srn_d2
from srn_d2.config import build_cfg
from srn_d2.error_messages import USER_ERRORS, message_of

from .checks import check_names

_PACKAGE = str(Path(srn_d2.__file__).parent)
OUT_OF_MEMORY = (
    "out of memory: lower SOLVER.IMS_PER_BATCH or INPUT.FACE_CROP_SIZE, or set "
    "MODEL.SRN.RECOMPUTED_LEVELS \"['p2']\""
)

logger = logging.getLogger(__name__)


def check_arguments(args: argparse.Namespace) -> None:
    """Raise a ValueError for numbers of workers and machines that cannot be.

    Args:
        args: as detectron2's ``default_argument_parser`` gives.
    """
    for name in ("num_gpus", "num_machines"):
        if getattr(args, name) < 1:
            flag = f"--{name.replace('_', '-')}"
            advice = "; for a CPU, append MODEL.DEVICE cpu" if name == "num_gpus" else ""
            raise ValueError(f"{flag} is {getattr(args, name)}: it is at least 1{advice}")
    if not 0 <= args.machine_rank < args.num_machines:
        raise ValueError(
            f"--machine-rank is {args.machine_rank}: with --num-machines {args.num_machines} it is "
            f"from 0 to {args.num_machines - 1}"
        )
    num_gpus = torch.cuda.device_count()
    if args.num_gpus > 1 and 0 < num_gpus < args.num_gpus:
        raise ValueError(
            f"--num-gpus is {args.num_gpus}, but torch finds {num_gpus} on this machine"
        )
    if args.num_machines > 1 and args.dist_url == "auto":
        raise ValueError(
            "--dist-url auto is for one machine: give the first machine's address and a free port, "
            "such as tcp://10.0.0.1:29500"
        )


def launch_workers(main: Callable[[argparse.Namespace], object], args: argparse.Namespace) -> int:
    """Run ``main`` in every worker, print the sentence of a user's error, and wait for the end.

    Args:
        main: function of ``args`` that a spawned process can import.
        args: as detectron2's ``default_argument_parser`` gives.

    Returns:
        the exit status: 0, 1 after an error, 130 after Ctrl-C.
    """
    try:
        check_arguments(args)
        if args.num_gpus * args.num_machines > 1:  # once, not by each worker
            cfg = build_cfg(args.config_file, args.opts)
            check_names(cfg, is_training=not args.eval_only)
    except USER_ERRORS as error:
        return _print_error(message_of(error))
    with tempfile.TemporaryDirectory() as folder:
        try:
            launch(
                _run_worker,
                args.num_gpus,
                num_machines=args.num_machines,
                machine_rank=args.machine_rank,
                dist_url=args.dist_url,
                args=(main, args, folder),
            )
        except KeyboardInterrupt:
            print("stopped by Ctrl-C; --resume goes on from the last checkpoint", file=sys.stderr)
            return 130
        except (SystemExit, ProcessExitedException) as error:
            files = sorted(Path(folder).iterdir(), key=lambda path: path.stat().st_mtime_ns)
            if files:  # the first worker's; others may have failed because it was gone
                return _print_error(files[0].read_text(encoding="utf-8"))
            if isinstance(error, SystemExit):
                raise
            return _print_error(f"{error}{_killed_hint(error)}")
        except ProcessRaisedException as error:
            if "in init_process_group" not in str(error):
                raise
            return _print_error(_connection_error(str(error), args.dist_url))
    return 0


def _run_worker(main: Callable, args: argparse.Namespace, folder: str) -> None:
    """Run ``main``; write a user's error to a file in ``folder`` and exit with status 1."""
    try:
        main(args)
    except Exception as error:  # with a log, which has the traceback, no error needs one here
        message = _describe(error)
        if message is None:
            raise
        Path(folder, f"{comm.get_rank()}.txt").write_text(message, encoding="utf-8")
        raise SystemExit(1) from error


def _describe(error: Exception) -> str | None:
    """The message of an error.

    Those that other packages raise are not written for users: the message names the log that has
    the traceback. None: an error that is no user's, before there is a log.
    """
    message = message_of(error)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate" in message:
        return f"{OUT_OF_MEMORY} ({message.splitlines()[0]})"
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    is_ours = raised_in.startswith(_PACKAGE) or type(error).__module__.startswith("srn_d2")
    is_meant = isinstance(error, (*USER_ERRORS, FloatingPointError))
    if (is_ours and is_meant) or isinstance(error, (OSError, ImportError)):
        return message
    path = log_file()
    if path is None:
        return message if isinstance(error, USER_ERRORS) else None
    with open(path, "a", encoding="utf-8") as log:
        log.write("".join(traceback.format_exception(error)))
    return f"{type(error).__name__}: {message} (traceback: {path})"


def log_file() -> Path | None:
    """This worker's log.txt; None before the set-up."""
    for handler in reversed(logging.getLogger("srn_d2").handlers):
        name = str(getattr(getattr(handler, "stream", None), "name", ""))
        if "log.txt" in name:
            return Path(name)
    return None


def _print_error(message: str) -> int:
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)
    return 1


def _killed_hint(error: ProcessExitedException) -> str:
    if error.signal_name != "SIGKILL":
        return ""
    return ": often the system ends the largest process when memory is short"


def _connection_error(text: str, dist_url: str) -> str:
    last = text.strip().splitlines()[-1]
    if "EADDRINUSE" in text or "address already in use" in text.lower():
        return (
            f"the port of --dist-url {dist_url} is in use, by another training perhaps: pass "
            "--dist-url auto, or with several machines another port"
        )
    return f"the workers cannot connect by --dist-url {dist_url}: {last}"
