#!/usr/bin/env python
"""Compare the shipped model with detectors that come with their weights in a Python package.

python tools/compare_detectors.py --root datasets/widerface
python tools/compare_detectors.py --detectors lite lite-multi-scale centerface
python tools/compare_detectors.py --steps latency          # seconds alone; predictions as they are
python tools/compare_detectors.py --steps                  # the tables again, of what is there
python tools/compare_detectors.py --predictions tinaface=others/tinaface
python tools/compare_detectors.py --root DIR --image-lists \\
    seen=DIR/wider_face_split/val_seen_events.txt,other=DIR/wider_face_split/val_other_events.txt

The root is a folder in WIDER FACE's layout, or a part of it: WIDER_val/images, wider_face_split and
ground_truth (the official .mat files). Every detector gets an environment of its own in
OUTPUT/envs, made when it is first needed, and keeps what it finds in OUTPUT/predictions, so that a
run that was stopped resumes. The tables are OUTPUT/comparison.md and .json, the plots
ap_against_seconds.png and precision_recall.png; they and the seconds are those of the detectors of
the last run.

Lists of images are text files with an image (EVENT/NAME.jpg) a line, such as those of the events
that a training has seen and of the others. Each list has figures of its own beside those of all
images; the names are free.

A detector of your own: a script like those in tools/comparison/workers and an entry in a table
like tools/comparison/detectors.toml, which --table names.

It needs pydantic: pip install srn_d2[compare].

Exit status: 0, 1 if an image or a detector failed (they are named, the others are done), 2 if
nothing could be started, 130 after Ctrl-C.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm.contrib.logging import logging_redirect_tqdm

from comparison.latency import measure_latency, read_latency, spread_out, write_latency
from comparison.predictions import Outcome, predict_all
from comparison.report import write_comparison
from comparison.rows import evaluate_detector, evaluate_folder
from comparison.table import SHIPPED_TABLE, choose, load_tables
from comparison.tables import main_table
from comparison.wider_folder import find_wider_folder
from comparison.worker import WorkerFactory
from image_lists import add_image_lists, read_lists
from srn_d2.cli.arguments import count, parse_command_line
from srn_d2.data.datasets.common import dataset_root
from srn_d2.error_messages import message_of

STEPS = ("predict", "latency")
# Errors of a wrong argument, a damaged or missing file, or a missing package.
INPUT_ERRORS = (OSError, ValueError, ImportError)

logger = logging.getLogger("comparison")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", help="default: $DETECTRON2_DATASETS/widerface")
    parser.add_argument(
        "--annotations", metavar="FILE", help="default: wider_face_val_bbx_gt.txt below the root"
    )
    parser.add_argument(
        "--ground-truth", metavar="DIR", help="default: ground_truth below the root"
    )
    add_image_lists(parser)
    parser.add_argument(
        "--detectors", nargs="+", metavar="NAME", help="default: all that are not optional"
    )
    parser.add_argument(
        "--table",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="tables of other detectors",
    )
    parser.add_argument(
        "--predictions",
        type=named_folder,
        nargs="+",
        default=[],
        metavar="NAME=DIR",
        help="existing folders of predictions",
    )
    parser.add_argument(
        "--steps", nargs="*", choices=STEPS, default=STEPS, help="default: both; none: tables only"
    )
    parser.add_argument("--threads", type=count, default=2, help="of a detector (default: 2)")
    parser.add_argument("--latency-images", type=count, default=20, metavar="N", help="default: 20")
    parser.add_argument("--repeats", type=count, default=3, help="of the latency (default: 3)")
    parser.add_argument("--output", type=Path, default=Path("output/compare"))
    return parse_command_line(parser, argv, {"--rounds": "--repeats"})


def named_folder(text: str) -> tuple[str, Path]:
    """NAME=DIR, of a folder that is there."""
    name, separator, folder = text.partition("=")
    if not name or not separator or not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DIR of a folder that is there")
    return name, Path(folder)


def run(args: argparse.Namespace) -> int:
    """Do the steps and write the tables; returns the exit status 0 or 1."""
    detectors = choose(load_tables(SHIPPED_TABLE, *args.table), args.detectors)
    taken = {detector.name for detector in detectors}
    for name, _ in args.predictions:
        if name in taken:
            raise ValueError(f"--predictions {name}: there is a detector of this name")
        taken.add(name)
    root = args.root or dataset_root() / "widerface"
    wider = find_wider_folder(root, args.annotations, args.ground_truth)
    lists = read_lists(args.image_lists, list(wider.images), wider.ground_truth)
    factory = WorkerFactory(args.output, args.threads)
    done: dict[str, Outcome] = {}
    if "predict" in args.steps:
        done = predict_all(detectors, wider.images, wider.source, args.output, factory)
    if "latency" in args.steps:
        sample = spread_out(list(wider.images.values()), args.latency_images)
        latency = measure_latency(detectors, sample, factory, rounds=args.repeats)
        write_latency(latency, args.output)
    latency = read_latency(args.output)
    rows = [
        *(
            evaluate_detector(d, wider, lists, args.output, latency, done.get(d.name))
            for d in detectors
        ),
        *(evaluate_folder(name, folder, wider, lists) for name, folder in args.predictions),
    ]
    paths = write_comparison(rows, lists, latency, args.output)
    print(main_table(rows, lists))
    print("Written:", *paths, sep="\n  ")
    for row in rows:
        for problem in row.problems:
            logger.error("%s: %s", row.name, problem)
    return int(any(row.problems for row in rows))


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    args = parse_args(argv)
    try:
        with logging_redirect_tqdm():
            return run(args)
    except KeyboardInterrupt:
        logger.info("Stopped: the same command goes on from here")
        return 130
    except INPUT_ERRORS as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
