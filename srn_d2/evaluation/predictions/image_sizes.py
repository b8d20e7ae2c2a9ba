"""Sizes of images from their files' headers, for predictions that are fractions of them."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

from srn_d2.data.image_io import EXIF_ORIENTATION

from .image_names import ImageId, Size

_ROTATING_ORIENTATIONS = (5, 6, 7, 8)


def size_reader(
    names: Mapping[ImageId, str], image_root: str | os.PathLike | None
) -> Callable[[ImageId], Size | None]:
    """A function that gives an image's upright size from its file's header, or None.

    Args:
        names: image id -> file name below ``image_root``; without its suffix: the suffixes of
            image files are tried.
        image_root: None: no size is known.
    """

    def size_of(image_id: ImageId) -> Size | None:
        if image_root is None:
            return None
        path = Path(image_root, names[image_id])
        if not path.is_file():
            path = next(path.parent.glob(f"{path.name}.*"), path)
        return upright_size(path)

    return size_of


def upright_size(path: str | os.PathLike) -> Size | None:
    """(height, width) in pixels after EXIF orientation; None where the file cannot be read."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            orientation = image.getexif().get(EXIF_ORIENTATION)
    except OSError:
        return None
    return (width, height) if orientation in _ROTATING_ORIENTATIONS else (height, width)
