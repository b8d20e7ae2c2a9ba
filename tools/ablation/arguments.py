"""Command line of tools/ablation.py."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from image_lists import add_image_lists
from srn_d2.cli.arguments import add_overrides, count

from .rows import MAIN_ROWS

# --measure without a checkpoint.
FINAL = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the tool's options, and let the command line end with KEY VALUE pairs."""
    parser.add_argument("--config-file", required=True, help="base config of all rows")
    parser.add_argument("--output", type=Path, required=True, help="folder of runs and tables")
    parser.add_argument(
        "--rows",
        type=names,
        default=list(MAIN_ROWS),
        metavar="A,B",
        help=f"default: {','.join(MAIN_ROWS)}",
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
    parser.add_argument(
        "--iterations", type=count, metavar="N", help="of each training (default: the config's)"
    )
    parser.add_argument(
        "--jobs", type=count, default=1, metavar="N", help="runs at a time (default: 1)"
    )
    parser.add_argument(
        "--num-gpus",
        type=count,
        default=1,
        metavar="N",
        help="workers of a run, a GPU each (default: 1)",
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
        type=number,
        default=100,
        metavar="N",
        help="training images on which positives and negatives are counted; 0: none (default: 100)",
    )
    add_image_lists(parser)
    parser.add_argument(
        "--resamples",
        type=count,
        default=1000,
        metavar="N",
        help="of the images, for intervals (default: 1000)",
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
        "--batches",
        type=count,
        default=10,
        metavar="N",
        help="training batches of --measure (default: 10)",
    )
    add_overrides(parser)


def names(text: str) -> list[str]:
    """Names between commas."""
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of names between commas")
    return found


def number(text: str) -> int:
    """A whole number from 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return value


def seeds(text: str) -> list[int]:
    """Different whole numbers from 0, between commas."""
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        numbers = [-1]
    if min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of different seeds from 0")
    return numbers


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
