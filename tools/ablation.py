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
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import srn_d2  # noqa: F401 -- first: hides deprecation warnings of detectron2

# isort: split
import torch
from detectron2.data import DatasetCatalog

from ablation.arguments import add_arguments, start_weights
from ablation.conditions import conditions
from ablation.jobs import Jobs, environments
from ablation.mechanism import measure_checkpoint
from ablation.mechanism_report import mechanism_json, mechanism_markdown
from ablation.progress import Progress
from ablation.report import write_report
from ablation.results import collect, ground_truth_of
from ablation.rows import choose_rows
from ablation.runs import Plan, Run
from ablation.settings import hash_weights, prepare
from ablation.tables import main_table
from image_lists import ALL_IMAGES, ImageList, read_lists
from srn_d2.atomic_file import atomic_path
from srn_d2.cli.arguments import parse_command_line
from srn_d2.config import build_cfg, check_device
from srn_d2.cores import usable_cores
from srn_d2.error_messages import message_of
from srn_d2.evaluation.widerface.ap import WiderFaceGroundTruth

# Errors of a wrong argument or config, and of files that are damaged or missing.
INPUT_ERRORS = (OSError, ValueError, KeyError, RuntimeError, AssertionError)
# Seconds between two lines of progress, on a terminal and in a file.
TERMINAL_PERIOD, FILE_PERIOD = 5.0, 60.0

logger = logging.getLogger("ablation")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    return parse_command_line(parser, argv)


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
    build_cfg(plan.config_file, [*plan.opts, *plan.eval_opts])  # raises for a wrong key
    if not runs[0].cfg.DATASETS.TEST:
        raise ValueError("DATASETS.TEST is empty: name the data set of the evaluation")
    digests = hash_weights(list(plan.start_weights.values()))
    is_training = args.measure is None and not args.tabulate_only
    for run in runs:  # all of them before any folder is made
        check_device(run.cfg)
    for run in runs:
        prepare(run, digests, create=is_training)
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


def tabulate(
    runs: Sequence[Run],
    args: argparse.Namespace,
    lists: Sequence[ImageList],
    truth: WiderFaceGroundTruth,
) -> None:
    """Write the report of the runs that are done.

    Raises:
        ValueError: none is.
    """
    results = collect(runs, lists, truth, args.resamples)
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
        iteration = 0 if args.measure else run.iterations
        found = measure_checkpoint(run.cfg, weights, args.batches, iteration)
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
    try:
        runs = plan_runs(args)
        if args.measure is not None:
            measure(runs, args)
            return 0
        image_ids = [image["image_id"] for image in DatasetCatalog.get(runs[0].dataset)]
        truth = ground_truth_of(runs[0].dataset)
        lists = read_lists(args.image_lists, image_ids, truth)
        failures = {} if args.tabulate_only else execute(runs, args, image_ids).failures
        if len(failures) < len(runs):
            tabulate(runs, args, lists, truth)
    except KeyboardInterrupt:
        logger.info("Stopped: the same command goes on from here")
        return 130
    except INPUT_ERRORS as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 2
    if failures:
        logger.error(
            "%d of %d runs failed (the reasons are above): %s; the same command tries them again",
            len(failures),
            len(runs),
            ", ".join(failures),
        )
    return int(bool(failures))


if __name__ == "__main__":
    # As after Ctrl-C, so that no process of a run outlives this one.
    # (SIGINT itself is ignored in what a script starts in the background.)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
