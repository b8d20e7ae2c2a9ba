"""The command ``srn-d2 detect``: faces in pictures, videos or a camera's pictures."""

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from srn_d2.heavy_imports import import_heavy

from .arguments import add_overrides
from .detector_arguments import add_detector_arguments, build_detector
from .video.arguments import add_video_arguments, video_options, wrong_video_arguments

if TYPE_CHECKING:
    from .processing import Job

FORMATS = ("json", "csv", "wider")
FRAMES_PER_GPU_BATCH = 8

DESCRIPTION = """Find the faces in pictures, videos or a camera's pictures.

  srn-d2 detect photo.jpg                           faces/photo.jpg and faces/faces.json
  srn-d2 detect holiday/ --format csv --no-pictures
  srn-d2 detect 'photos/**/*.png' --min-face-size 40 --output found
  srn-d2 detect street.mp4 --pixelate --threshold 0.3
  srn-d2 detect WIDER_val/images --format wider --threshold 0.01 --no-pictures
  srn-d2 detect --webcam
  srn-d2 detect photo.jpg --config-file config.yaml --weights model_final.pth --size config
  srn-d2 detect photo.jpg --config-file config.yaml TEST.SRN_TTA.ENABLED True

Pictures are written below --output under their own names, upright and without metadata, their
faces to faces.json, faces.csv or wider/NAME.txt. A video becomes NAME.mp4 in H.264 (AV1 if it has
more than 8 bits), upright, with its sound, its time stamps and no metadata; its faces
NAME.mp4.jsonl with one line for each frame. Boxes are [x1, y1, x2, y2] in pixels of the upright
picture (after EXIF orientation, of a video after its display matrix).

With --blur and --pixelate, a face that a video shows before and after is hidden in up to
--fill-gaps frames between, in which it was not found. NAME.mp4.gaps.json lists these gaps, and
longer ones, which are not hidden.
"""
EPILOG = """Exit status: 0, 1 if some input failed (it is named, the others are done; of a truncated
or damaged video what could be read is written, and damaged frames are named), 2 if nothing could
be started, 130 after Ctrl-C (what was finished is written, nothing of an unfinished video); Ctrl-C
is how to end a camera's recording, with status 0.
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
    add_video_arguments(parser.add_argument_group("videos and hidden faces"))
    add_detector_arguments(parser.add_argument_group("detector"))
    add_overrides(parser)
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
        help="of the file of faces: json, csv, wider, or several: json,csv (default: json)",
    )
    pictures = group.add_mutually_exclusive_group()
    pictures.add_argument("--blur", action="store_true", help="hide the faces, frame none")
    pictures.add_argument("--pixelate", action="store_true", help="hide the faces, frame none")
    pictures.add_argument(
        "--no-pictures", action="store_true", help="write the faces only, no pictures or videos"
    )


def formats(text: str) -> list[str]:
    """Formats with commas between them."""
    names = text.split(",")
    if not set(names) <= set(FORMATS):
        raise argparse.ArgumentTypeError(f"{text} is not of {', '.join(FORMATS)}")
    return names


def run(args: argparse.Namespace) -> int:
    """Detect; returns the exit status."""
    if bool(args.inputs) == (args.webcam is not None):
        args.usage_error("give inputs, or --webcam")
    if problem := wrong_video_arguments(args):
        args.usage_error(problem)
    import_heavy("srn_d2.cli.processing")
    from .processing import run_job

    logging.basicConfig(format="%(message)s")
    logging.getLogger("srn_d2.cli").setLevel(logging.INFO)
    return run_job(lambda: _prepare(args))


def _prepare(args: argparse.Namespace) -> "Job":
    from . import processing
    from .outputs import check_wider_names
    from .sources import find_sources
    from .video.containers import keep_containers

    sources = find_sources(args.inputs, args.output) if args.inputs else []
    if args.copy_codec:
        sources = keep_containers(sources, args.output)
    if "wider" in args.format:
        check_wider_names(sources)
    detector = build_detector(args, args.threshold)
    is_on_gpu = detector.device.type == "cuda"
    return processing.Job(
        detector=detector,
        sources=sources,
        output=args.output,
        formats=args.format,
        camera=args.webcam,
        video=video_options(args, FRAMES_PER_GPU_BATCH if is_on_gpu else 1),
    )
