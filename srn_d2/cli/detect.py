"""The command ``srn-d2 detect``: faces in pictures, videos or a camera's pictures."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from srn_d2.heavy_imports import import_heavy

from .arguments import add_overrides
from .detector_arguments import add_detector_arguments
from .junk import JUNK_FILES, JUNK_FOLDERS
from .video.arguments import add_video_arguments, wrong_video_arguments
from .worker_arguments import add_worker_arguments, wrong_worker_arguments

FORMATS = ("json", "jsonl", "csv", "parquet", "wider")
_NAMES_PER_LINE = 7


def _lines(names: Sequence[str]) -> str:
    """Names, indented, in lines."""
    starts = range(0, len(names), _NAMES_PER_LINE)
    return "\n".join("  " + "  ".join(names[i : i + _NAMES_PER_LINE]) for i in starts)


DESCRIPTION = """Find the faces in pictures, videos or a camera's pictures.

  srn-d2 detect photo.jpg                           faces/photo.jpg and faces/faces.json
  srn-d2 detect holiday/ --list                     what would be done, and what not
  srn-d2 detect holiday/ --format csv --no-pictures
  srn-d2 detect 'photos/**/*.png' --min-face-size 40 --output found
  srn-d2 detect street.mp4 --pixelate --threshold 0.25
  srn-d2 detect archive/ --format parquet --no-pictures --num-gpus 4
  srn-d2 detect WIDER_val/images --format wider --threshold 0.01 --no-pictures
  srn-d2 detect --webcam
  srn-d2 detect photo.jpg --config-file config.yaml --weights model_final.pth --size config
  srn-d2 detect photo.jpg --config-file config.yaml TEST.SRN_TTA.ENABLED True

Pictures are of all formats that Pillow reads, HEIC with the extra heif. They are written below
--output under their own names, upright, in sRGB, with their transparency, all their frames and
without metadata. HEIC and JPEG 2000 become NAME.jpg, other formats that are not written NAME.png.
Their faces go to faces.json, at the end, or by --format as they come to faces.jsonl (a line for
each picture), faces.csv (a line for each face), the folder faces.parquet or wider/NAME.txt. A video
becomes NAME.mp4 in H.264 (AV1 if it has more than 8 bits), upright, with its sound, its time stamps
and no metadata; its faces NAME.mp4.jsonl with one line for each frame. Boxes are [x1, y1, x2, y2]
in pixels of the upright picture (after EXIF orientation, of a video after its display matrix).

With --blur and --pixelate, a face that a video shows before and after is hidden in up to
--fill-gaps frames between, in which it was not found. NAME.mp4.gaps.json lists these gaps,
longer ones, which are not hidden, and faces that were lost in the middle of the picture.

A run that was stopped, by Ctrl-C, a kill or a full disk, goes on when the command is given again;
with other options it refuses to. After a run with failures the same command tries these again. A
run without failures that is given again does all inputs anew.
"""
EPILOG = f"""\
In folders, and in those that are linked there, everything that looks like a picture or a video
by its suffix or first bytes is done, or named with the reason (exit status 1). Passed over, in any
case of letters, are files named
{_lines(JUNK_FILES)}
and folders of thumbnails and trash
{_lines(JUNK_FOLDERS)}
and the output folder. --list names them too.

Exit status: 0; 1 if some input failed (it is named, the others are done; of a truncated or damaged
video what could be read is written, and damaged frames are named), or if the disk is full or a
worker was killed (what was done is kept); 2 if nothing could be started; 130 after Ctrl-C (what was
finished is written, nothing of an unfinished video). Ctrl-C is how to end a camera's recording,
with status 0.
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
        "--list", action="store_true", help="name what would be done and what not; do nothing"
    )
    parser.add_argument(
        "--webcam", type=int, nargs="?", const=0, metavar="N", help="a camera instead (default: 0)"
    )
    _add_output_arguments(parser.add_argument_group("output"))
    add_video_arguments(parser.add_argument_group("videos and hidden faces"))
    add_detector_arguments(parser.add_argument_group("detector"))
    add_worker_arguments(parser.add_argument_group("workers"))
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
        help="of the file of faces: json, jsonl, csv, parquet, wider, or several: json,csv "
        "(default: json)",
    )
    group.add_argument(
        "--restart",
        action="store_true",
        help="start anew, even if there is a run in --output that could go on",
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
    if args.list and args.webcam is not None:
        args.usage_error("--list is of inputs, not of --webcam")
    if problem := wrong_video_arguments(args) or wrong_worker_arguments(args):
        args.usage_error(problem)
    logging.basicConfig(format="%(message)s")
    if args.list:
        from .listing import list_inputs

        return list_inputs(args)
    import_heavy("srn_d2.cli.preparation")
    from .workers import run_workers

    logging.getLogger("srn_d2.cli").setLevel(logging.INFO)
    return run_workers(args)
