"""Options of ``srn-d2 detect`` for several GPUs, machines and processes. Imports no torch."""

import argparse

from .arguments import count


def add_worker_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options; those of several machines have detectron2's names."""
    group.add_argument(
        "--num-processes",
        type=count,
        default=1,
        metavar="N",
        help="worker processes that share the cores, without a GPU; if one is killed, its inputs "
        "are done again (default: 1, whose threads do up to 4 inputs at a time)",
    )
    group.add_argument(
        "--num-gpus",
        type=count,
        default=1,
        metavar="N",
        help="workers on this machine, each with a GPU, or with its part of the cores where there "
        "is none; each does its share of the inputs (default: 1)",
    )
    group.add_argument(
        "--num-machines",
        type=count,
        default=1,
        metavar="M",
        help="the same command runs on M machines, all of which see --output (default: 1)",
    )
    group.add_argument(
        "--machine-rank", type=int, default=0, metavar="R", help="number of this machine, from 0"
    )
    group.add_argument(
        "--dist-url",
        default="auto",
        metavar="URL",
        help="where the workers meet, such as tcp://10.0.0.1:29500 of machine 0; needed with "
        "several machines",
    )


def wrong_worker_arguments(args: argparse.Namespace) -> str:
    """What is wrong with the options together; "" if nothing is."""
    if not 0 <= args.machine_rank < args.num_machines:
        return f"--machine-rank is {args.machine_rank}, of --num-machines {args.num_machines}"
    if args.num_machines > 1 and args.dist_url == "auto":
        return "--num-machines needs a --dist-url, such as tcp://10.0.0.1:29500 of machine 0"
    is_one = args.num_gpus * args.num_machines * args.num_processes == 1
    if args.webcam is not None and not is_one:
        return "--webcam has one worker"
    if args.num_processes > 1 and args.num_gpus > 1:
        return "give --num-processes or --num-gpus"
    return ""
