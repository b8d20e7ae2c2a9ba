"""The command ``srn-d2 export``: a model for other runtimes."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from srn_d2.heavy_imports import import_heavy

from .arguments import add_overrides, score
from .detector_arguments import add_model_arguments, user_config

if TYPE_CHECKING:
    from srn_d2.export.exportable import ExportableModel
    from srn_d2.export.parity import Parity

# Format -> suffixes of its files.
SUFFIXES = {"onnx": (".onnx",), "torchscript": (".ts", ".pt")}

DESCRIPTION = """Write a model as a file for another runtime, and compare the two on a picture.

  srn-d2 export --output lite.onnx
  srn-d2 export --output lite.onnx --threshold 0.2
  srn-d2 export --output lite_dense.onnx --no-nms        for runtimes without NonMaxSuppression
  srn-d2 export --output lite.onnx --second-step auto    faster in ONNX Runtime
  srn-d2 export --output lite.ts --format torchscript
  srn-d2 export --config-file config.yaml --weights model_final.pth --output model.onnx

The input is uint8 (N, 3, H, W), RGB, of any size. ONNX gives boxes (n, 4), scores (n,) and
image_index (n,) of the detections of all N images; with --no-nms, as TorchScript, boxes (N, R, 4)
and scores (N, R) of all R anchors; the caller changes scores by size and runs NMS, with the numbers
in the file's properties (docs/export.md). Boxes are [x1, y1, x2, y2] in pixels.
"""
EPILOG = """Exit status: 0, 1 if the file's results differ from the model's by more than 0.05 pixels
or 0.001 of score, or 2 if nothing could be written.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "export",
        help="write a model for ONNX Runtime or as TorchScript",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--format", choices=list(SUFFIXES), default="onnx", help="default: %(default)s"
    )
    parser.add_argument("--no-nms", action="store_true", help="ONNX: give all anchors")
    parser.add_argument(
        "--threshold",
        type=score,
        metavar="P",
        help="ONNX: detections score above it; low values are slower (default: 0.05)",
    )
    parser.add_argument(
        "--second-step",
        choices=["dense", "auto"],
        default="dense",
        help="ONNX: auto computes the second step only around the anchors that survive the first "
        "where these are few, for ONNX Runtime; the results are the same (default: %(default)s)",
    )
    add_model_arguments(parser)
    add_overrides(parser)
    parser.set_defaults(run=run, usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Write the file, print the differences; returns the exit status."""
    _check_usage(args)
    import_heavy("srn_d2.cli.processing")
    from .processing import SETUP_ERRORS, message_of

    try:
        parity = export(args)
    except SETUP_ERRORS as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 2
    print(
        f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB. On a drawn picture "
        f"{parity.num_found} boxes, {parity.num_expected} in PyTorch; largest differences "
        f"{parity.box:.2g} pixels and {parity.score:.2g} of score"
    )
    if not parity.is_close:
        print("error: the file does not compute what the model does", file=sys.stderr)
        for problem in parity.problems:
            print(problem, file=sys.stderr)
        return 1
    return 0


def export(args: argparse.Namespace) -> "Parity":
    """Export the model by the command line, and compare the file with the model."""
    from srn_d2.export import parity
    from srn_d2.export.exportable import ExportableModel

    cfg = user_config(args)
    if cfg is not None:
        cfg.OUTPUT_DIR = args.config_file  # name of the model in the export metadata
    model = ExportableModel.load(args.model, cfg, args.weights)
    if args.format == "torchscript":
        from srn_d2.export.torchscript_export import export_torchscript

        export_torchscript(model, args.output)
        return parity.torchscript_parity(model, args.output, parity.check_picture())
    _export_onnx(model, args)
    return parity.onnx_parity(model, args.output, parity.check_picture())


def _export_onnx(model: "ExportableModel", args: argparse.Namespace) -> None:
    from srn_d2.export.onnx_export import DEFAULT_SCORE_THRESHOLD, export_onnx
    from srn_d2.export.onnx_predictor import import_onnxruntime

    import_onnxruntime()  # before anything is written: the comparison needs it
    threshold = args.threshold
    export_onnx(
        model,
        args.output,
        nms=not args.no_nms,
        score_threshold=DEFAULT_SCORE_THRESHOLD if threshold is None else threshold,
        second_step=args.second_step,
    )


def _check_usage(args: argparse.Namespace) -> None:
    """Exit with a usage error where options contradict each other."""
    suffixes = SUFFIXES[args.format]
    if args.output.suffix not in suffixes:
        args.usage_error(f"--output of format {args.format} ends with {' or '.join(suffixes)}")
    has_nms = args.format == "onnx" and not args.no_nms
    if args.threshold is not None and not has_nms:
        args.usage_error("--threshold is of the NMS in an ONNX file")
    if args.second_step != "dense" and args.format != "onnx":
        args.usage_error("--second-step is for ONNX: other formats are dense")
    if args.no_nms and args.format != "onnx":
        args.usage_error("--no-nms is for ONNX: other formats never have it")
