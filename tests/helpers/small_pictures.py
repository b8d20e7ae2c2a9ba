"""Small real pictures, upright or turned by EXIF."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (160, 120)


def write_picture(path: Path, size: tuple[int, int] = SIZE, orientation: int | None = None) -> None:
    """Write coloured noise; ``size`` is the file's, before the EXIF orientation turns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
