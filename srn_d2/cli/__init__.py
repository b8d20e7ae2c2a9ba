"""The command ``srn-d2``. Its modules import torch and detectron2 when a command runs, not before:
help and usage errors are immediate, and the doctor works where those packages do not."""

import argparse
from collections.abc import Sequence

from . import check_data, detect, doctor, evaluate, export, serve
from .arguments import parse_command_line

COMMANDS = (detect, evaluate, export, serve, check_data, doctor)
# Former names of options -> current names.
OLD_NAMES = {"--images": "--image-list", "--out": "--output", "--score-threshold": "--threshold"}

DESCRIPTION = """Find faces in pictures and videos.

  srn-d2 detect photo.jpg holiday/ --output found
  srn-d2 detect 'clips/*.mp4' --pixelate
  srn-d2 detect --help
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="srn-d2",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line; the result's ``run`` is the command's function."""
    return parse_command_line(build_parser(), argv, OLD_NAMES)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status, 130 after Ctrl-C unless the command handles it."""
    args = parse_args(argv)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        return 130
