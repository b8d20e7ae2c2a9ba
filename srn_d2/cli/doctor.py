"""The command ``srn-d2 doctor``."""

import argparse

from srn_d2 import doctor

DESCRIPTION = """Report what this machine has, and how to mend what is missing.

  srn-d2 doctor
  DETECTRON2_DATASETS=/data srn-d2 doctor           with the data sets in this folder

Exit status 1: something is missing that everything needs.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="report versions, hardware, data sets and weights",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=lambda args: doctor.main())
