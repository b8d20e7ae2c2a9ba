"""``srn-d2 detect --list``: what would be done with the inputs, and what not."""

import argparse
import logging

from .printing import printable
from .sources import Search, search

logger = logging.getLogger(__name__)


def list_inputs(args: argparse.Namespace) -> int:
    """Print each input of a command line, with its output or the reason why it is not done.

    Returns:
        the exit status: 0, 1 if something would not be done, 2 if the inputs cannot be listed.
    """
    try:
        found = _search(args)
    except (OSError, ValueError) as error:
        logger.error("%s", error)
        return 2
    num_problems = 0
    for source in found.sources:
        if source.problem is not None:
            num_problems += 1
            print(f"{printable(source.path)}: not done: {source.problem}")
        elif args.no_pictures:
            print(f"{printable(source.path)}: its faces only")
        else:
            print(f"{printable(source.path)} -> {printable(args.output / source.name)}")
    for item in found.passed_over:
        print(f"{printable(item.path)}: passed over: {item.problem}")
    print(
        f"{len(found.sources) - num_problems} to do, {num_problems} not, "
        f"{len(found.passed_over)} passed over"
    )
    return int(num_problems > 0)


def _search(args: argparse.Namespace) -> Search:
    """The inputs, with the names that the options give their outputs."""
    found = search(args.inputs, args.output)
    if not args.copy_codec:
        return found
    from .video.containers import keep_containers  # opens the videos

    return found._replace(sources=keep_containers(found.sources, args.output))
