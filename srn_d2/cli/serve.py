"""The command ``srn-d2 serve``: a web page that finds faces."""

import argparse
import os
import re
import signal
import sys

from srn_d2.heavy_imports import import_heavy

from .arguments import add_overrides, positive
from .detector_arguments import add_detector_arguments, build_detector

LOWEST_THRESHOLD = 0.05
"""Lower end of the page's slider, unless --threshold is lower."""

DESCRIPTION = """A page in the browser: drop pictures, see their faces, move a threshold, save JSON.

  srn-d2 serve --open
  srn-d2 serve --port 0 --bfloat16                  at any free port, which is printed
  srn-d2 serve --config-file config.yaml --weights model_final.pth
  curl --data-binary @photo.jpg http://127.0.0.1:8000/detect
  curl --data-binary @photo.jpg 'http://127.0.0.1:8000/detect?threshold=0.5'

Only this machine can reach it, unless --host says otherwise; under the name of a reverse proxy only
with --allow-name. Pictures stay in memory and are not
stored. --threshold is where the slider starts, and of requests that name none.
"""
EPILOG = """Ctrl-C ends it after the picture that is being processed, a second Ctrl-C at once.

Exit status: 0, 2 if it could not be started, 130 after a second Ctrl-C.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "serve",
        help="a web page that finds faces",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    group = parser.add_argument_group("server")
    group.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where to listen (default: 127.0.0.1); 0.0.0.0 lets other machines in",
    )
    group.add_argument(
        "--port", type=port, default=8000, metavar="N", help="default: 8000; 0: any free one"
    )
    group.add_argument(
        "--allow-name",
        type=host_name,
        action="append",
        default=[],
        metavar="NAME",
        help="a name under which a reverse proxy of yours shows the page, such as "
        "faces.example.org; may be repeated",
    )
    group.add_argument("--open", action="store_true", help="show the page in the browser")
    group.add_argument(
        "--max-megabytes",
        type=positive,
        default=32.0,
        metavar="N",
        help="refuse larger files (default: 32)",
    )
    # In float32 on a CPU a picture of 12 megapixels takes 2.9 GB; memory grows with the pixels.
    add_detector_arguments(parser.add_argument_group("detector"), max_megapixels=25.0)
    add_overrides(parser)
    parser.set_defaults(run=run)


def port(text: str) -> int:
    """A number of a TCP port, or 0."""
    value = int(text)
    if not 0 <= value < 65536:
        raise argparse.ArgumentTypeError(f"{text} is no port: 0 to 65535")
    return value


def host_name(text: str) -> str:
    """A host's name, without scheme, port and path."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", text):
        raise argparse.ArgumentTypeError(f"{text} is no host name such as faces.example.org")
    return text


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C; returns the exit status."""
    import_heavy("srn_d2.cli.processing")
    from .processing import SETUP_ERRORS, message_of

    try:
        serve(args)
    except KeyboardInterrupt:
        # Python ends when the thread that processes a picture does.
        signal.signal(signal.SIGINT, end_at_once)
        return 0
    except SETUP_ERRORS as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 2
    return 0


def end_at_once(*_: object) -> None:
    """End the process: the handler of a second Ctrl-C."""
    os._exit(130)


def serve(args: argparse.Namespace) -> None:
    """Bind, load the detector, say where the page is, and answer requests.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
        SETUP_ERRORS: it cannot be started.
    """
    from srn_d2.server.app import create_app
    from srn_d2.server.run import bind, is_reachable_from_elsewhere, run, url_of
    from srn_d2.server.uploads import Limits

    with bind(args.host, args.port) as listening:
        detector = build_detector(args, min(LOWEST_THRESHOLD, args.threshold))
        limits = Limits(max_bytes=int(args.max_megabytes * 1e6))
        app = create_app(detector, args.threshold, limits, args.host, args.allow_name)
        if is_reachable_from_elsewhere(listening):
            print("Everybody who can reach this machine can use it.", file=sys.stderr)
        print(f"Faces are found at {url_of(listening)} until Ctrl-C", flush=True)
        run(app, listening, args.open)
