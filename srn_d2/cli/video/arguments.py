"""Options of ``srn-d2 detect`` for videos and hidden faces. Imports neither PyAV nor torch."""

import argparse
from typing import TYPE_CHECKING

from ..arguments import count

if TYPE_CHECKING:
    from .options import VideoOptions

# Largest constant rate factor of each codec, and of any.
MAX_CRF_OF = {"h264": 51, "av1": 63, "vp9": 63}
MAX_CRF = 63


def add_video_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options, without those of the kind of picture."""
    group.add_argument(
        "--margin",
        type=_fraction,
        metavar="PART",
        help="with --blur or --pixelate: hide this part of a face's sides around it (default: 0.1)",
    )
    group.add_argument(
        "--hide-neighbours",
        type=_number,
        metavar="N",
        help="hide a face also where it is in the N frames before and after (default: 0)",
    )
    group.add_argument(
        "--fill-gaps",
        type=_number,
        metavar="N",
        help="hide a face that is missed in up to N frames between others (default: 10)",
    )
    group.add_argument("--no-audio", action="store_true", help="leave the sound out")
    group.add_argument(
        "--keep-metadata",
        action="store_true",
        help="keep a video's title, time, place and camera, which are left out otherwise",
    )
    codec = group.add_mutually_exclusive_group()
    codec.add_argument(
        "--video-codec",
        choices=tuple(MAX_CRF_OF),
        help="default: h264, but av1 for videos of more than 8 bits, such as HLG and HDR10",
    )
    codec.add_argument(
        "--copy-codec",
        action="store_true",
        help="encode in the video's own codec, pixel format and container",
    )
    group.add_argument(
        "--crf",
        type=_number,
        metavar="N",
        help="quality: constant rate factor, smaller is better, 0 to 51 of h264, to 63 of av1 and "
        "vp9 (default: 20, 30, 30)",
    )
    group.add_argument(
        "--max-frames", type=count, metavar="N", help="stop after N frames of a video"
    )


def wrong_video_arguments(args: argparse.Namespace) -> str:
    """What is wrong with the options together; "" if nothing is."""
    hides = args.blur or args.pixelate
    for name in ("margin", "hide_neighbours", "fill_gaps"):
        if getattr(args, name) is not None and not hides:
            return f"--{name.replace('_', '-')} needs --blur or --pixelate"
    for name in ("no_audio", "keep_metadata", "video_codec", "copy_codec", "crf"):
        if getattr(args, name) not in (None, False) and args.no_pictures:
            return f"--{name.replace('_', '-')} has no use with --no-pictures"
    limit = MAX_CRF if args.video_codec is None else MAX_CRF_OF[args.video_codec]
    if args.crf is not None and args.crf > limit:
        return f"--crf is {args.crf}, the largest value is {limit}"
    return ""


def video_options(args: argparse.Namespace, batch_size: int = 1) -> "VideoOptions":
    """The options that a command line gives."""
    from ..anonymize import MARGIN
    from .options import FILL_GAPS, VideoOptions

    render = "blur" if args.blur else "pixelate" if args.pixelate else "draw"
    return VideoOptions(
        render=None if args.no_pictures else render,
        max_frames=args.max_frames,
        margin=MARGIN if args.margin is None else args.margin,
        hide_neighbours=args.hide_neighbours or 0,
        fill_gaps=FILL_GAPS if args.fill_gaps is None else args.fill_gaps,
        keep_sound=not args.no_audio,
        keep_metadata=args.keep_metadata,
        codec=args.video_codec,
        copy_codec=args.copy_codec,
        crf=args.crf,
        batch_size=batch_size,
    )


def _number(text: str) -> int:
    """A whole number from 0 on."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def _fraction(text: str) -> float:
    """A number from 0 on."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 on")
    return value
