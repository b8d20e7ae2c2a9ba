#!/usr/bin/env python
"""Train the rows of an ablation from one checkpoint, evaluate them, and write the paper's tables.

python tools/ablation.py --rows retinanet,stc,str,stc_str,srn --seeds 0,1,2 \\
    --config-file configs/srn_efflite0_full.yaml --start-weights retinanet.pth --iterations 2000 \\
    --output output/ablation --jobs 2
python tools/ablation.py --rows retinanet,srn --config-file configs/srn_R50.yaml --num-gpus 8 \\
    --output output/ablation

Rows: retinanet, stc, str, stc_str, srn, and a single level's stc_p2 .. stc_p7, str_p2 .. str_p7:
MODEL.SRN.STC_LEVELS, STR_LEVELS and RFE over any base config. --define adds others. Each row and
seed is a training by train_net.py; those of one seed see the same crops in the same order. Runs
that are done are skipped, others resume, whenever they were stopped or killed. Each final model is
evaluated once; all tables come from its detections, which are kept.

Exit status: 0, 1 if a run failed (the others are done), 2 if nothing could be started, 130 after
Ctrl-C.
"""

import argparse
import json
import logging
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import srn_d2  # noqa: F401 -- first: hides deprecation warnings of detectron2

# isort: split
import torch
from detectron2.data import DatasetCatalog

from ablation.conditions import conditions
from ablation.jobs import Jobs, environments
from ablation.mechanism import measure_checkpoint
from ablation.mechanism_report import mechanism_json, mechanism_markdown
from ablation.progress import Progress
from ablation.report import write_report
from ablation.results import ALL_IMAGES, collect
from ablation.rows import choose_rows
from ablation.runs import Plan, Run
from ablation.settings import hash_weights, prepare
from ablation.tables import main_table
from srn_d2.atomic_file import atomic_path
from srn_d2.cli.arguments import add_overrides, count, parse_command_line
from srn_d2.config import check_device
from srn_d2.cores import usable_cores
from srn_d2.error_messages import message_of

# Errors of a wrong argument or config, and of files that are damaged or missing.
INPUT_ERRORS = (OSError, ValueError, KeyError, RuntimeError, AssertionError)
# Seconds between two lines of progress, on a terminal and in a file.
TERMINAL_PERIOD, FILE_PERIOD = 5.0, 60.0

# --measure without a checkpoint.
FINAL = ""
_LIST_NAME = re.compile(r"[\w-]+")

logger = logging.getLogger("ablation")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="base config of all rows")
    parser.add_argument("--output", type=Path, required=True, help="folder of runs and tables")
    parser.add_argument(
        "--rows", type=names, default=["retinanet", "stc", "str", "stc_str", "srn"], metavar="A,B"
    )
    parser.add_argument("--seeds", type=seeds, default=[0], metavar="0,1", help="default: 0")
    parser.add_argument(
        "--define",
        action="append",
        default=[],
        metavar='"NAME=ROW KEY VALUE ..."',
        help="a further row: the keys of ROW, and these over them (repeatable)",
    )
    parser.add_argument(
        "--start-weights",
        action="append",
        default=[],
        metavar="[ROW=]FILE",
        help="checkpoint from which the rows start, or one row (default: the config's)",
    )
    parser.add_argument("--iterations", type=count, help="of each training (default: the config's)")
    parser.add_argument("--jobs", type=count, default=1, help="runs at a time (default: 1)")
    parser.add_argument(
        "--num-gpus", type=count, default=1, help="workers of a run, a GPU each (default: 1)"
    )
    parser.add_argument(
        "--eval-args",
        type=shlex.split,
        default=[],
        metavar='"KEY VALUE ..."',
        help='of the evaluation, such as "INPUT.MIN_SIZE_TEST 640"',
    )
    parser.add_argument(
        "--anchor-images",
        type=int,
        default=100,
        metavar="N",
        help="training images on which positives and negatives are counted; 0: none (default: 100)",
    )
    parser.add_argument(
        "--image-lists",
        type=image_lists,
        default=[],
        metavar="NAME=FILE,...",
        help="lists of images that also have tables of their own",
    )
    parser.add_argument(
        "--resamples", type=count, default=1000, help="of the images, for intervals (default: 1000)"
    )
    parser.add_argument(
        "--tabulate-only", action="store_true", help="only the tables, of the runs that are done"
    )
    parser.add_argument(
        "--measure",
        nargs="?",
        const=FINAL,
        metavar="CHECKPOINT",
        help="instead of all this: gradients, positives and overlaps of the rows by level, at a "
        "checkpoint (default: each row's own final one, of the first seed)",
    )
    parser.add_argument(
        "--batches", type=count, default=10, help="training batches of --measure (default: 10)"
    )
    add_overrides(parser)
    return parse_command_line(parser, argv)


def names(text: str) -> list[str]:
    """Names between commas."""
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of names between commas")
    return found


def seeds(text: str) -> list[int]:
    """Different whole numbers from 0, between commas."""
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        numbers = [-1]
    if min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of different seeds from 0")
    return numbers


def image_lists(text: str) -> list[tuple[str, Path]]:
    """NAME=FILE between commas; each name once, of a file that is there."""
    lists = []
    for part in text.split(","):
        name, _, path = part.partition("=")
        if not _LIST_NAME.fullmatch(name) or name == ALL_IMAGES or not Path(path).is_file():
            raise argparse.ArgumentTypeError(f"{part!r} is not NAME=FILE of a file that is there")
        lists.append((name, Path(path)))
    if len(dict(lists)) < len(lists):
        raise argparse.ArgumentTypeError(f"{text!r} gives a name twice")
    return lists


def start_weights(texts: Sequence[str], rows: Sequence[str]) -> dict[str, str]:
    """Row's name, or "" for all others -> checkpoint."""
    weights: dict[str, str] = {}
    for text in texts:
        row, separator, path = text.partition("=")
        if not separator or row not in rows:  # a path may have a "=", too
            row, path = "", text
        if row in weights:
            raise ValueError(f"--start-weights {text}: given twice")
        weights[row] = path
    return weights


def plan_runs(args: argparse.Namespace) -> list[Run]:
    """All runs, the first seed of all rows before the second; each can be built."""
    rows = choose_rows(args.rows, args.define)
    if len(args.eval_args) % 2:
        raise ValueError(f"--eval-args {shlex.join(args.eval_args)}: not pairs of KEY VALUE")
    plan = Plan(
        config_file=args.config_file,
        opts=tuple(args.opts),
        iterations=args.iterations,
        num_gpus=args.num_gpus,
        eval_opts=tuple(args.eval_args),
        num_anchor_images=args.anchor_images,
        start_weights=start_weights(args.start_weights, args.rows),
        output=args.output,
    )
    runs = [Run(plan, row, seed) for seed in args.seeds for row in rows]
    digests = hash_weights(list(plan.start_weights.values()))
    for run in runs:
        check_device(run.cfg)
        prepare(run, digests)
    return runs


def execute(runs: Sequence[Run], args: argparse.Namespace, image_ids: Sequence[str]) -> Jobs:
    """Do all steps of all runs, with a line of progress from time to time."""
    jobs = Jobs(
        runs,
        image_ids,
        environments(
            args.jobs,
            args.num_gpus,
            on_cuda=runs[0].cfg.MODEL.DEVICE.startswith("cuda"),
            num_cores=usable_cores(),
            num_devices=torch.cuda.device_count(),
        ),
    )
    progress = Progress(runs, image_ids, args.jobs)
    on_terminal = sys.stderr.isatty()
    jobs.start()
    try:
        while not jobs.wait(TERMINAL_PERIOD if on_terminal else FILE_PERIOD):
            logger.info("%s", progress.text(dict(jobs.active)))
    finally:
        jobs.stop()
    return jobs


def tabulate(runs: Sequence[Run], args: argparse.Namespace, image_ids: Sequence[str]) -> None:
    """Write the report of the runs that are done.

    Raises:
        ValueError: none is.
    """
    results = collect(runs, args.image_lists, image_ids, args.resamples)
    if not results.rows:
        raise ValueError(f"{args.output}: no run is done yet, so there is nothing to tabulate")
    paths = write_report(results, conditions(runs, results.rows), args.resamples, args.output)
    print(main_table(results, ALL_IMAGES))
    print("Written:", *paths, sep="\n  ")


def measure(runs: Sequence[Run], args: argparse.Namespace) -> None:
    """Measure the mechanism of the first seed's runs, and write it into the output folder.

    Raises:
        FileNotFoundError: there is no such checkpoint.
    """
    for run in runs[: len(args.rows)]:
        weights = args.measure or str(run.weights)
        if not Path(weights).is_file():
            raise FileNotFoundError(f"{run.name}: there is no checkpoint {weights}")
        logger.info("measuring %s at %s", run.name, weights)
        found = measure_checkpoint(run.cfg, weights, args.batches)
        text = mechanism_markdown(f"{run.row.title} at {Path(weights).name}", found)
        name = f"mechanism-{run.name}{'-' + Path(weights).stem if args.measure else ''}"
        contents = {
            ".md": text,
            ".json": json.dumps(mechanism_json(found), indent=1, allow_nan=False) + "\n",
        }
        for suffix, content in contents.items():
            with atomic_path(args.output / f"{name}{suffix}") as draft:
                draft.write_text(content, encoding="utf-8")
        print(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logger.setLevel(logging.INFO)
    args = parse_args(argv)
    # As after Ctrl-C, so that no process of a run outlives this one.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        runs = plan_runs(args)
        if args.measure is not None:
            measure(runs, args)
            return 0
        image_ids = [image["image_id"] for image in DatasetCatalog.get(runs[0].dataset)]
        failures = {} if args.tabulate_only else execute(runs, args, image_ids).failures
        tabulate(runs, args, image_ids)
    except KeyboardInterrupt:
        logger.info("Stopped: the same command goes on from here")
        return 130
    except INPUT_ERRORS as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 2
    for name, reason in failures.items():
        logger.error("%s failed: %s", name, reason)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
