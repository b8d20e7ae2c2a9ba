"""The command ``srn-d2 evaluate``: predictions against the ground truth of WIDER FACE."""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import evaluate_protocols

if TYPE_CHECKING:
    from srn_d2.evaluation.widerface.ap import WiderFaceGroundTruth
    from srn_d2.evaluation.widerface.face_report import FaceReport

DESCRIPTION = """Evaluate a folder of WIDER FACE predictions, of this project or of any other.

srn-d2 evaluate --ground-truth datasets/widerface/ground_truth \\
    --predictions output/srn/inference/widerface_val/widerface_predictions \\
    --compare others/tinaface --output output/report

A prediction folder holds <event>/<image>.txt: a line that is not read, a line with the number of
boxes, then "x y w h score" a line, in pixels. Figures at IoU 0.5 are those of the official MATLAB
code, digit for digit; other IoUs use the quotient of the same intersection and union.

Exit status: 0, or 2 if the input cannot be used.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="measure predictions on WIDER FACE, FDDB, AFW or PASCAL face",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_arguments(parser)
    parser.set_defaults(run=run)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    evaluate_protocols.add_arguments(parser)
    parser.add_argument(
        "--predictions",
        required=True,
        nargs="+",
        action="extend",
        metavar="[NAME=]PATH",
        help="predictions to evaluate; several are compared",
    )
    parser.add_argument(
        "--compare", nargs="+", default=[], metavar="DIR", help="other predictions to compare with"
    )
    parser.add_argument(
        "--ground-truth",
        metavar="DIR",
        help="folder of wider_{face,easy,medium,hard}_val.mat (or --annotations DIR)",
    )
    parser.add_argument(
        "--iou",
        nargs="+",
        type=float,
        default=[0.5, 0.6, 0.7, 0.8],
        metavar="T",
        help="IoU thresholds of AP (default: 0.5 0.6 0.7 0.8)",
    )
    parser.add_argument(
        "--image-list",
        metavar="FILE",
        help="evaluate these images only: a file with one event/image a line, or an official "
        "*_bbx_gt.txt (default: all images)",
    )
    parser.add_argument(
        "--annotations",
        metavar="FILE",
        help="wider_face_val_bbx_gt.txt: take the faces' attributes from it, not from the .mat",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="write report.json, report.md and PNGs (default: print only)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the tables; returns the exit status."""
    try:
        evaluate_protocols.run(args) if args.protocol != "widerface" else evaluate(args)
    except (OSError, ValueError, ImportError) as error:  # ImportError: no scipy for .mat files
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def evaluate(args: argparse.Namespace) -> None:
    """Print the tables that the command line asks for, and write the report."""
    from srn_d2.evaluation.widerface.ground_truth import load_ground_truth
    from srn_d2.evaluation.widerface.report import to_markdown, write_report

    if not args.ground_truth and args.annotations and Path(args.annotations).is_dir():
        args.ground_truth, args.annotations = args.annotations, None
    if not args.ground_truth:
        raise ValueError("--ground-truth DIR is missing: folder of the four .mat files")
    ground_truth = load_ground_truth(args.ground_truth)
    if args.annotations:
        from srn_d2.evaluation.widerface.image_lists import read_attributes

        attributes = read_attributes(args.annotations, ground_truth.boxes)
        ground_truth = dataclasses.replace(ground_truth, attributes=attributes)
    images = ground_truth.image_ids
    if args.image_list:
        from srn_d2.evaluation.widerface.image_lists import read_image_list

        images = read_image_list(args.image_list, ground_truth)
    folders = [*args.predictions, *args.compare]
    if any("=" in folder and not Path(folder).exists() for folder in folders):
        named = evaluate_protocols.named_paths(folders)
        names, folders = list(named), [str(path) for path in named.values()]
    else:
        names = detector_names(folders)
    reports = [
        measure_folder(folder, name, ground_truth, args.iou, images)
        for folder, name in zip(folders, names, strict=True)
    ]
    print(to_markdown(reports))
    if args.output:
        curves = evaluate_protocols.write_wider_face_curves(reports, args.output)
        print("Written:", *write_report(reports, args.output), curves, sep="\n  ")


def measure_folder(
    folder: str,
    name: str,
    ground_truth: "WiderFaceGroundTruth",
    iou_thresholds: list[float],
    images: tuple[str, ...] | list[str],
) -> "FaceReport":
    """The report of one prediction folder, with the warnings of its files."""
    from srn_d2.evaluation.widerface.face_report import measure_predictions
    from srn_d2.evaluation.widerface.prediction_files import read_predictions

    found = read_predictions(folder, images)
    if not found.predictions:
        raise ValueError(
            f"{folder} holds no readable prediction for any of the {len(images)} images, such as "
            f"{Path(folder, f'{images[0]}.txt')}"
        )
    report = measure_predictions(name, found.predictions, ground_truth, iou_thresholds, images)
    return dataclasses.replace(report, warnings=(*found.warnings(), *report.warnings))


def detector_names(folders: list[str]) -> list[str]:
    """The folders' own names, or the given paths where those are not different."""
    names = [Path(folder).resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else folders
