"""The command ``srn-d2 evaluate``: predictions against annotated faces."""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import evaluate_protocols

if TYPE_CHECKING:
    from srn_d2.evaluation.widerface.face_report import FaceReport

DESCRIPTION = """Evaluate predictions, of this project or of any other.

On WIDER FACE:
srn-d2 evaluate --ground-truth datasets/widerface/ground_truth \\
    --predictions output/srn/inference/widerface_val/widerface_predictions \\
    --compare others/tinaface --output output/report

On your own annotations (COCO JSON, CSV or WIDER FACE's text):
srn-d2 evaluate --annotations photos/faces.json --predictions found/faces.json \\
    --output output/report

Predictions are a folder of <event>/<image>.txt (a line that is not read, a line with the number of
boxes, then "x y w h score" a line, in pixels), COCO results (.json), faces.json, faces.csv or a
video's .jsonl of srn-d2 detect. Files of other tools are read where they have one meaning; what was
taken differently is among the report's warnings.

On WIDER FACE, figures at IoU 0.5 are those of the official MATLAB code, digit for digit; other IoUs
use the quotient of the same intersection and union.

Exit status: 0; 1 if the figures say nothing about the detector (most files are malformed, or the
numbers are most likely something else than they are read as); 2 if the input cannot be used.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="measure predictions on WIDER FACE, FDDB, AFW, PASCAL face or your own annotations",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_arguments(parser)
    _add_annotation_arguments(parser.add_argument_group("how your own annotations are read"))
    _add_prediction_arguments(parser.add_argument_group("how predictions are read"))
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
        "--compare", nargs="+", default=[], metavar="PATH", help="other predictions to compare with"
    )
    parser.add_argument(
        "--ground-truth",
        metavar="DIR",
        help="WIDER FACE: folder of wider_{face,easy,medium,hard}_val.mat (or --annotations DIR)",
    )
    parser.add_argument(
        "--annotations",
        metavar="FILE",
        help="your own faces: COCO .json, .csv or WIDER FACE's .txt. With --ground-truth: "
        "wider_face_val_bbx_gt.txt, to take the faces' attributes from it, not from the .mat",
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
        help="evaluate these images only: a file with one image a line, or WIDER FACE's official "
        "*_bbx_gt.txt (default: all images)",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="write report.json, report.md and PNGs (default: print only)",
    )


def _add_annotation_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--image-root",
        metavar="DIR",
        help="folder of the images, to check the annotations against them, and for boxes that are "
        "fractions of the images' sizes",
    )
    group.add_argument(
        "--categories", nargs="+", metavar="C", help="names of categories that are all faces"
    )
    group.add_argument(
        "--box-format",
        metavar="FORMAT",
        help="what the four numbers are: xywh, xyxy, cxcywh, in pixels, or with _fraction or "
        "_percent",
    )
    group.add_argument(
        "--allow-size-mismatch",
        action="store_true",
        help="the annotations may give images another size than they have",
    )


def _add_prediction_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--columns",
        metavar="NAMES",
        help="the numbers of a line or box: x,y,w,h,score (default), x1,y1,x2,y2,score, "
        "cx,cy,w,h,score, in any order; - for a number that is not used",
    )
    group.add_argument(
        "--result-category",
        metavar="ID",
        help="COCO results of several categories: category_id of the faces",
    )
    group.add_argument(
        "--first-frame",
        type=int,
        metavar="N",
        help=".jsonl: number of the video's first frame in the images' names (default: as the "
        "names tell)",
    )
    group.add_argument(
        "--strict",
        action="store_true",
        help="take files of the official format only, as the official code does; others count as "
        "without detections",
    )


def run(args: argparse.Namespace) -> int:
    """Print the tables; returns the exit status."""
    try:
        if args.protocol != "widerface":
            evaluate_protocols.run(args)
            return 0
        reports = evaluate(args)
    except (OSError, ValueError, ImportError) as error:  # ImportError: no scipy for .mat files
        print(f"error: {error}", file=sys.stderr)
        return 2
    faults = [f"error: {report.name}: {report.fault}" for report in reports if report.fault]
    print(*faults, sep="\n", end="\n" if faults else "", file=sys.stderr)
    return int(bool(faults))


def evaluate(args: argparse.Namespace) -> list["FaceReport"]:
    """Print the tables that the command line asks for, and write the report."""
    if args.annotations and Path(args.annotations).is_dir() and not args.ground_truth:
        args.ground_truth, args.annotations = args.annotations, None
    if args.ground_truth:
        return _evaluate_wider_face(args)
    if not args.annotations:
        raise ValueError(
            "--ground-truth DIR (WIDER FACE's four .mat files) or --annotations FILE (your own "
            "faces: COCO .json, .csv, WIDER FACE's .txt) is missing"
        )
    from .evaluate_custom import evaluate_custom

    return evaluate_custom(args)


def _evaluate_wider_face(args: argparse.Namespace) -> list["FaceReport"]:
    from srn_d2.evaluation.predictions.reports import measure_folder
    from srn_d2.evaluation.widerface.ground_truth import load_ground_truth
    from srn_d2.evaluation.widerface.report import to_markdown, write_report

    ground_truth = load_ground_truth(args.ground_truth)
    if args.annotations:
        from srn_d2.evaluation.widerface.image_lists import read_attributes

        attributes = read_attributes(args.annotations, ground_truth.boxes)
        ground_truth = dataclasses.replace(ground_truth, attributes=attributes)
    images = ground_truth.image_ids
    if args.image_list:
        from srn_d2.evaluation.widerface.image_lists import read_image_list

        images = read_image_list(args.image_list, ground_truth)
    options = reading_options(args)
    reports = [
        measure_folder(path, name, ground_truth, args.iou, images, args.image_root, **options)
        for name, path in named_predictions(args).items()
    ]
    print(to_markdown(reports))
    if args.output:
        curves = evaluate_protocols.write_wider_face_curves(reports, args.output)
        print("Written:", *write_report(reports, args.output), curves, sep="\n  ")
    return reports


def reading_options(args: argparse.Namespace) -> dict:
    """The options of :func:`.read_source` from the command line."""
    from srn_d2.evaluation.predictions.columns import parse_columns

    return {
        "columns": parse_columns(args.columns) if args.columns else None,
        "category": args.result_category,
        "first_frame": args.first_frame,
        "strict": args.strict,
    }


def named_predictions(args: argparse.Namespace) -> dict[str, str]:
    """Detector -> its predictions, those of --compare after those of --predictions."""
    paths = [*args.predictions, *args.compare]
    if any("=" in path and not Path(path).exists() for path in paths):
        named = evaluate_protocols.named_paths(paths)
        return {name: str(path) for name, path in named.items()}
    names = detector_names(paths)
    if len(set(names)) < len(names):
        raise ValueError("the same predictions are given twice")
    return dict(zip(names, paths, strict=True))


def detector_names(folders: list[str]) -> list[str]:
    """The folders' own names, or the given paths where those are not different."""
    names = [Path(folder).resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else folders
