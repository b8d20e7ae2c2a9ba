"""Lists of images over which tables are made: the option --image-lists of several tools."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srn_d2.evaluation.widerface.ap import WiderFaceGroundTruth
from srn_d2.evaluation.widerface.image_lists import read_image_list

ALL_IMAGES = "all"
_NAME = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class ImageList:
    """Images over which the tables are made.

    Attributes:
        name: for the tables.
        image_ids: images of the ground truth.
    """

    name: str
    image_ids: tuple[str, ...]


def add_image_lists(parser: argparse.ArgumentParser) -> None:
    """Add the option, whose value is the first argument of :func:`read_lists`."""
    parser.add_argument(
        "--image-lists",
        type=image_lists,
        default=[],
        metavar="NAME=FILE,...",
        help="lists of images that also have tables of their own",
    )


def image_lists(text: str) -> list[tuple[str, Path]]:
    """NAME=FILE between commas; each name once."""
    lists = []
    for part in text.split(","):
        name, _, path = part.partition("=")
        if not _NAME.fullmatch(name) or name == ALL_IMAGES or not path:
            raise argparse.ArgumentTypeError(
                f"{part!r} is not NAME=FILE, with a name of letters, digits and -; "
                f"{ALL_IMAGES!r} is the list of all images"
            )
        lists.append((name, Path(path)))
    if len(dict(lists)) < len(lists):
        raise argparse.ArgumentTypeError(f"{text!r} gives a name twice")
    return lists


def read_lists(
    files: Sequence[tuple[str, Path]], image_ids: Sequence[str], truth: WiderFaceGroundTruth
) -> list[ImageList]:
    """The list of all images, then those of the files.

    Args:
        files: names and files.
        image_ids: images of the evaluation.
        truth: their ground truth.

    Raises:
        FileNotFoundError, ValueError: a list cannot be read, or names other images.
    """
    lists = [ImageList(ALL_IMAGES, tuple(image_ids))]
    evaluated = set(image_ids)
    for name, path in files:
        chosen = read_image_list(path, truth)
        others = [image_id for image_id in chosen if image_id not in evaluated]
        if others:
            raise ValueError(f"{path}: {len(others)} images are not evaluated, {others[0]!r} first")
        lists.append(ImageList(name, tuple(chosen)))
    return lists
