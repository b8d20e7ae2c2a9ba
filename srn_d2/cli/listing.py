"""``srn-d2 detect --list``: what would be done with the inputs, and what not."""

import logging
from collections.abc import Iterable
from pathlib import Path

from .printing import printable
from .sources import search

logger = logging.getLogger(__name__)


def list_inputs(patterns: Iterable[str], output: Path) -> int:
    """Print each input, with its output or the reason why it is not done.

    Returns:
        the exit status: 0, 1 if something would not be done, 2 if the inputs cannot be listed.
    """
    try:
        found = search(patterns, output)
    except (OSError, ValueError) as error:
        logger.error("%s", error)
        return 2
    num_problems = 0
    for source in found.sources:
        if source.problem is None:
            print(f"{printable(source.path)} -> {printable(output / source.name)}")
        else:
            num_problems += 1
            print(f"{printable(source.path)}: not done: {source.problem}")
    for item in found.passed_over:
        print(f"{printable(item.path)}: passed over: {item.problem}")
    print(
        f"{len(found.sources) - num_problems} to do, {num_problems} not, "
        f"{len(found.passed_over)} passed over"
    )
    return int(num_problems > 0)
