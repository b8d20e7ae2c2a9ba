"""Command line parsing shared by ``srn-d2`` and the tools; does not import torch."""

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence

# The keys of a config: those below a node, and those of the top level.
_CONFIG_KEY = re.compile(
    r"(DATALOADER|DATASETS|GLOBAL|INPUT|MODEL|SOLVER|TEST)(\.[A-Z0-9_]+)+"
    r"|CUDNN_BENCHMARK|FLOAT32_PRECISION|OUTPUT_DIR|SEED|VERSION|VIS_PERIOD"
)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Let the command line end with KEY VALUE pairs; ``parse_command_line`` puts them in ``opts``.

    They are not parsed by argparse: its REMAINDER would also consume options after another
    positional argument, and an option with several values would consume the pairs.
    """
    parser.set_defaults(opts=[])
    parser.add_argument_group(
        "KEY VALUE ...", "overrides of the config file, at the end: MODEL.WEIGHTS model_final.pth"
    )


def parse_command_line(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None = None,
    old_names: Mapping[str, str] | None = None,
) -> argparse.Namespace:
    """Parse a command line that may end with KEY VALUE pairs.

    Args:
        parser: takes the pairs if ``add_overrides`` was called for it or for the subparser.
        argv: arguments; None: those of the process.
        old_names: former names of options -> current names; their use prints a note on stderr.

    Raises:
        SystemExit: with status 2 after a usage error, with 0 after --help.
    """
    arguments, overrides = split_overrides(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(rename_options(arguments, old_names or {}))
    if overrides:
        if not hasattr(args, "opts"):
            parser.error(f"unrecognized arguments: {' '.join(overrides)}")
        args.opts = overrides
    return args


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line into its arguments and the KEY VALUE pairs at its end.

    The pairs begin at the first config key that is not the name of an existing file or folder, or
    after --opts, the former separator.
    """
    for index, token in enumerate(argv):
        if token == "--opts":
            return list(argv[:index]), list(argv[index + 1 :])
        if _CONFIG_KEY.fullmatch(token) and not os.path.exists(token):
            return list(argv[:index]), list(argv[index:])
    return list(argv), []


def rename_options(argv: Sequence[str], old_names: Mapping[str, str]) -> list[str]:
    """Replace former names of options, ``--old`` and ``--old=value``, by the current ones."""
    renamed = []
    for token in argv:
        name, separator, value = token.partition("=")
        if name in old_names:
            print(f"note: {name} is now {old_names[name]}", file=sys.stderr)
            token = f"{old_names[name]}{separator}{value}"
        renamed.append(token)
    return renamed


def score(text: str) -> float:
    """A number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def count(text: str) -> int:
    """A whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def positive(text: str) -> float:
    """A positive number."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value
