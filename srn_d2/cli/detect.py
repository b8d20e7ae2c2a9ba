"""``srn-d2 detect``: its arguments."""

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from srn_d2.heavy_imports import import_heavy
from srn_d2.inference.defaults import SCORE_THRESHOLD

if TYPE_CHECKING:
    from srn_d2.inference.detector import FaceDetector

    from .processing import Job

FORMATS = ("json", "csv", "wider")

DESCRIPTION = """Find the faces in pictures, videos or a camera's pictures.

  srn-d2 detect photo.jpg                           faces/photo.jpg and faces/faces.json
  srn-d2 detect holiday/ --format csv --no-pictures
  srn-d2 detect 'photos/**/*.png' --min-face-size 40 --output found
  srn-d2 detect street.mp4 --pixelate --threshold 0.3
  srn-d2 detect WIDER_val/images --format wider --threshold 0.01 --no-pictures
  srn-d2 detect --webcam
  srn-d2 detect photo.jpg --config-file config.yaml --weights model_final.pth

Pictures are written below --output under their own names, upright and without metadata, their
faces to faces.json, faces.csv or wider/NAME.txt. A video becomes NAME.mp4, its faces
NAME.mp4.jsonl with one line for each frame. The videos written have no sound, and a variable frame
rate becomes constant (the .jsonl has each frame's own time). Boxes are [x1, y1, x2, y2] in pixels
of the picture as it is seen (after EXIF orientation).
"""
EPILOG = """Exit status: 0, 1 if some input failed (it is named, the others are done; of a truncated
video, what could be read is written), 2 if nothing could be started, 130 after Ctrl-C (what was
finished is written, nothing of a video in work); Ctrl-C is how to end a camera's recording, with
status 0.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "detect",
        help="find faces in pictures and videos, or hide them",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="pictures, videos, folders (with all below them) or globs",
    )
    parser.add_argument(
        "--webcam", type=int, nargs="?", const=0, metavar="N", help="a camera instead (default: 0)"
    )
    _add_output_arguments(parser.add_argument_group("output"))
    add_detector_arguments(parser.add_argument_group("detector"))
    parser.set_defaults(run=run, usage_error=parser.error)


def _add_output_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--output", type=Path, default=Path("faces"), metavar="DIR", help="default: faces"
    )
    group.add_argument(
        "--format",
        type=formats,
        default=["json"],
        metavar="LIST",
        help="of the pictures' faces: json, csv, wider, or several: json,csv (default: json)",
    )
    pictures = group.add_mutually_exclusive_group()
    pictures.add_argument("--blur", action="store_true", help="hide the faces, frame none")
    pictures.add_argument("--pixelate", action="store_true", help="hide the faces, frame none")
    pictures.add_argument(
        "--no-pictures", action="store_true", help="write the faces only, no pictures or videos"
    )
    group.add_argument("--max-frames", type=count, metavar="N", help="stop a video after so many")


def add_model_arguments(parser: argparse._ActionsContainer) -> None:
    """--model, --config-file and --weights, as ``load_cfg`` takes them."""
    parser.add_argument("--model", default="lite", help="one that is installed (default: lite)")
    parser.add_argument("--config-file", metavar="FILE", help="a config instead of --model")
    parser.add_argument("--weights", metavar="FILE", help="the config's checkpoint")


def add_detector_arguments(group: argparse._ArgumentGroup, max_megapixels: float = 100.0) -> None:
    """The options of ``build_detector``, and --threshold."""
    add_model_arguments(group)
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    group.add_argument(
        "--threshold",
        type=score,
        default=SCORE_THRESHOLD,
        metavar="P",
        help="lowest score (default: %(default)g)",
    )
    size = group.add_mutually_exclusive_group()
    size.add_argument(
        "--size",
        type=image_size,
        default="original",
        metavar="N",
        help="longer side in pixels that the detector sees, or original (default)",
    )
    size.add_argument(
        "--min-face-size",
        type=float,
        metavar="N",
        help="resize so that faces of N pixels are the smallest found: large N is fast",
    )
    group.add_argument(
        "--bfloat16",
        action="store_true",
        help="compute in bfloat16: fast on processors that have it (srn-d2 doctor)",
    )
    group.add_argument("--multi-scale", action="store_true", help="many sizes: slow, finds more")
    group.add_argument(
        "--no-large-faces",
        action="store_true",
        help="no further passes over downscaled pictures for faces that fill them",
    )
    group.add_argument(
        "--max-megapixels",
        type=positive,
        default=max_megapixels,
        metavar="N",
        help="refuse pictures with more (default: %(default)g)",
    )


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


def formats(text: str) -> list[str]:
    """Formats with commas between them."""
    names = text.split(",")
    if not set(names) <= set(FORMATS):
        raise argparse.ArgumentTypeError(f"{text} is not of {', '.join(FORMATS)}")
    return names


def image_size(text: str) -> int | str:
    """ "original" or pixels."""
    return text if text == "original" else int(text)


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    if bool(args.inputs) == (args.webcam is not None):
        args.usage_error("give inputs, or --webcam")
    import_heavy("srn_d2.cli.processing")
    from .processing import run_job

    logging.basicConfig(format="%(message)s")
    logging.getLogger("srn_d2.cli").setLevel(logging.INFO)
    return run_job(lambda: _prepare(args))


def build_detector(args: argparse.Namespace, score_threshold: float) -> "FaceDetector":
    """The detector that ``add_detector_arguments``' options ask for; raises what it raises."""
    from srn_d2 import FaceDetector

    return FaceDetector(
        args.model,
        config_file=args.config_file,
        weights=args.weights,
        device=args.device,
        score_threshold=score_threshold,
        size=args.size,
        min_face_size=args.min_face_size,
        dtype="bfloat16" if args.bfloat16 else "float32",
        multi_scale=args.multi_scale,
        large_faces=not args.no_large_faces,
        max_pixels=int(args.max_megapixels * 1e6),
    )


def _prepare(args: argparse.Namespace) -> "Job":
    from . import processing
    from .outputs import check_wider_names
    from .sources import find_sources

    sources = find_sources(args.inputs, args.output) if args.inputs else []
    if "wider" in args.format:
        check_wider_names(sources)
    detector = build_detector(args, args.threshold)
    render = processing.draw_faces
    if args.blur or args.pixelate:
        render = processing.blur_faces if args.blur else processing.pixelate_faces
    return processing.Job(
        detector=detector,
        sources=sources,
        output=args.output,
        formats=args.format,
        render=None if args.no_pictures else render,
        camera=args.webcam,
        max_frames=args.max_frames,
    )
