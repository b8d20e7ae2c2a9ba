"""A sheet of small pictures with the boxes of a data set."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from srn_d2.atomic_file import atomic_path
from srn_d2.data.annotations import FaceTable
from srn_d2.data.image_io import InvalidImageError, read_image
from srn_d2.inference.drawing import draw_boxes

FACE_COLOR, IGNORE_COLOR, SUSPICIOUS_COLOR = "lime", "orange", "red"
# Pixels: a picture's longer side, the line below it, and what lies between two.
TILE, CAPTION, MARGIN = 360, 14, 6
COLUMNS = 5
# Letters of a name that fit below its picture.
_MAX_NAME = 56


def write_contact_sheet(
    path: Path, table: FaceTable, suspicious: Collection[int], num_images: int
) -> int:
    """Write a JPEG of pictures with faces lime, ignore regions orange, suspicious boxes red.

    Half of the pictures at most are those with the most suspicious boxes; the others are taken
    evenly from the data set.

    Args:
        path: its folder is made.
        table: with the paths of its images.
        suspicious: rows of boxes.
        num_images: at most so many pictures.

    Returns:
        The number of pictures.
    """
    images = choose_images(table, suspicious, num_images)
    marked = np.zeros(len(table.boxes), dtype=bool)
    marked[list(suspicious)] = True
    num_rows = -(-max(len(images), 1) // COLUMNS)
    step_x, step_y = TILE + MARGIN, TILE + CAPTION + MARGIN
    size = (COLUMNS * step_x, num_rows * step_y)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for place, row in enumerate(images):
        x, y = place % COLUMNS * step_x, place // COLUMNS * step_y
        sheet.paste(_tile(table, row, marked), (x, y))
        name = table.names[row].encode("ascii", "replace").decode()[-_MAX_NAME:]
        draw.text((x + 2, y + TILE + 1), name, fill="black")
    with atomic_path(path) as draft:
        sheet.save(draft, format="JPEG", quality=90)
    return len(images)


def choose_images(table: FaceTable, suspicious: Collection[int], num_images: int) -> list[int]:
    """The rows of the images to show, in their order."""
    num_all = len(table.names)
    counts = np.bincount(table.image_of[list(suspicious)], minlength=num_all)
    worst = np.argsort(-counts, kind="stable")[: num_images // 2]
    chosen = {int(row) for row in worst if counts[row]}
    others = [row for row in range(num_all) if row not in chosen]
    wanted = min(num_images - len(chosen), len(others))
    steps = np.linspace(0, len(others) - 1, wanted).round().astype(int) if wanted else ()
    return sorted(chosen | {others[step] for step in steps})


def _tile(table: FaceTable, row: int, marked: np.ndarray) -> Image.Image:
    """A picture with its boxes, at the upper left of a square."""
    tile = Image.new("RGB", (TILE, TILE), "lightgrey")
    path = table.names[row] if table.paths is None else table.paths[row]
    try:
        image = Image.fromarray(read_image(path))
    except (OSError, InvalidImageError):
        ImageDraw.Draw(tile).text((8, 8), "cannot be read", fill="black")
        return tile
    scale = TILE / max(image.size)
    small = image.resize([max(round(side * scale), 1) for side in image.size])
    mask = table.image_of == row
    boxes = table.boxes[mask] * scale
    boxes[:, 2:] += boxes[:, :2]
    colors = [
        SUSPICIOUS_COLOR if is_marked else IGNORE_COLOR if ignored else FACE_COLOR
        for is_marked, ignored in zip(marked[mask], table.ignored[mask], strict=True)
    ]
    tile.paste(Image.fromarray(draw_boxes(np.array(small), boxes, colors)), (0, 0))
    return tile
