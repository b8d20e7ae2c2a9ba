#!/usr/bin/env python
"""Find the faces in photographs that installed packages bring, with the weights that come along.

python tools/demo_photographs.py
python tools/demo_photographs.py --montage tools/readme/faces.jpg   # side by side, for a page

The photographs are two portraits without known copyright restrictions: the astronaut Eileen Collins
(NASA; scikit-image's "astronaut") and Rear Admiral Grace Hopper (US Navy; matplotlib's sample
data). They are drawn with the faces found in them, which are in faces.json, too.

Exit status: 0, 1 if a photograph's face has not been found (IoU of at least 0.4 with where it is),
2 if nothing could be started.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.ops import box_iou

from srn_d2 import FaceDetector, Faces
from srn_d2.atomic_file import atomic_path
from srn_d2.data.image_input import as_rgb
from srn_d2.inference.drawing import draw_scored_boxes

# Low: the extent of a face under hair and hat is ambiguous.
MIN_IOU = 0.4
# Pixels of the montage: its width, and between two photographs.
MONTAGE_WIDTH, MONTAGE_GAP = 900, 6
JPEG_QUALITY = 88


class Photograph(NamedTuple):
    """A photograph of one person.

    Attributes:
        name: stem of the files.
        pixels: uint8 (H, W, 3), RGB.
        face: x1, y1, x2, y2 in pixels: from hairline to chin and without ears, as WIDER FACE
            annotates; measured by eye.
    """

    name: str
    pixels: np.ndarray
    face: tuple[int, int, int, int]


def load_photographs() -> list[Photograph]:
    """The photographs, from the installed packages.

    Raises:
        ImportError: scikit-image is not installed.
    """
    import matplotlib

    try:
        from skimage.data import astronaut
    except ImportError as error:
        raise ImportError(
            f"{error}. The photographs need scikit-image: pip install srn_d2[demo]"
        ) from error
    grace_hopper = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
    return [
        Photograph("astronaut", astronaut(), (181, 72, 268, 179)),
        Photograph("grace_hopper", as_rgb(grace_hopper), (172, 130, 354, 330)),
    ]


def best_iou(faces: Faces, face: Sequence[float]) -> float:
    """IoU of a true box with the detection that fits it best; 0 if there is none."""
    ious = box_iou(torch.tensor([face]).float(), torch.tensor(faces.boxes))
    return ious.max().item() if len(faces) else 0.0


def montage(photographs: Sequence[Photograph], found: Sequence[Faces]) -> np.ndarray:
    """The photographs with their faces, side by side and of one height: uint8 (h, w, 3)."""
    widths = sum(p.pixels.shape[1] / p.pixels.shape[0] for p in photographs)  # at height 1
    height = int((MONTAGE_WIDTH - MONTAGE_GAP * (len(photographs) - 1)) / widths)
    gap = np.full((height, MONTAGE_GAP, 3), 255, np.uint8)
    panels = []
    for photograph, faces in zip(photographs, found, strict=True):
        scale = height / photograph.pixels.shape[0]
        size = (round(photograph.pixels.shape[1] * scale), height)
        resized = cv2.resize(photograph.pixels, size, interpolation=cv2.INTER_AREA)
        # Resized before: lines and text keep their size.
        panels += [draw_scored_boxes(resized, faces.boxes * scale, faces.scores), gap]
    return np.hstack(panels[:-1])


def save_jpeg(path: Path, pixels: np.ndarray) -> None:
    with atomic_path(path) as draft:
        Image.fromarray(pixels).save(draft, quality=JPEG_QUALITY, optimize=True)


def write_results(folder: Path, photographs: Sequence[Photograph], found: Sequence[Faces]) -> None:
    """The drawn photographs and faces.json."""
    for photograph, faces in zip(photographs, found, strict=True):
        save_jpeg(folder / f"{photograph.name}.jpg", faces.draw(photograph.pixels))
    records = [
        {"name": photograph.name, **faces.to_dict()}
        for photograph, faces in zip(photographs, found, strict=True)
    ]
    with atomic_path(folder / "faces.json") as draft:
        draft.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


def report(photograph: Photograph, faces: Faces) -> bool:
    """Print what was found; returns whether the true face is among it."""
    print(f"{photograph.name}: {len(faces)} found")
    for face in faces:
        print(f"  {face.score:.2f} at {[round(value) for value in face.box]}")
    iou = best_iou(faces, photograph.face)
    if iou < MIN_IOU:
        print(f"  The face at {list(photograph.face)} is not among them (best IoU {iou:.2f}).")
    return iou >= MIN_IOU


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=Path, default=Path("output/demo/photographs"), help="a folder"
    )
    parser.add_argument("--montage", type=Path, metavar="FILE", help="a JPEG file to write, too")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        detector = FaceDetector()
        photographs = load_photographs()
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = detector([photograph.pixels for photograph in photographs])
    write_results(args.output, photographs, found)
    if args.montage:
        save_jpeg(args.montage, montage(photographs, found))
    are_found = [report(*pair) for pair in zip(photographs, found, strict=True)]
    print(f"Drawn in {args.output}")
    return int(not all(are_found))


if __name__ == "__main__":
    sys.exit(main())
