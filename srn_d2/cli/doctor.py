"""``srn-d2 doctor``."""

import argparse

from srn_d2 import doctor


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="report versions, hardware, data sets and weights",
        description="Report what this machine has, and how to mend what is missing. "
        "Exit status 1: something is missing that everything needs.",
    )
    parser.set_defaults(run=lambda args: doctor.main())
