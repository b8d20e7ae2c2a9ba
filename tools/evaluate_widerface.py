#!/usr/bin/env python
"""``srn-d2 evaluate`` under its old name: see srn_d2/cli/evaluate.py."""

import argparse
import sys
from collections.abc import Sequence

from srn_d2.cli import evaluate


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status: 0, or 2 if the input cannot be used."""
    parser = argparse.ArgumentParser(
        description=evaluate.DESCRIPTION.format(command="python tools/evaluate_widerface.py"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    evaluate.add_arguments(parser)
    return evaluate.run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
