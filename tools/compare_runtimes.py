#!/usr/bin/env python
"""Compare an exported graph in other runtimes with ONNX Runtime: results and processor time.

srn-d2 export --output lite.onnx
srn-d2 export --output lite_dense.onnx --no-nms
python tools/compare_runtimes.py lite_dense.onnx lite.onnx
python tools/compare_runtimes.py lite.onnx --images photos --number 8 --sizes 640 320

The runtimes are ONNX Runtime, OpenCV's dnn, OpenVINO (in float32, and in the precision that it
chooses) and onnxruntime-web (WebAssembly) in Node. One that is not installed is named with the
command that installs it. Each has a process of its own and one thread; they take turns, picture by
picture, and the processor time of a turn is divided by ONNX Runtime's of the same round. On a
machine that does other work as well, only such ratios mean something, and these not to the last
tenth, as caches are shared.

The pictures are those of a folder, or a drawn one, with their longer sides in each of the sizes.
Two at once and a black one are compared, too, but not timed.

The table has the largest differences over all pictures: of scores, and of the coordinates of boxes
with a score over 0.02. Of files with NMS, detections up to 8 pixels and 0.1 of score apart are
matched one to one, and those without a partner counted, of both runtimes.

Exit status: 0, 1 if an installed runtime cannot run a file, 2 if nothing could be compared.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from runtimes.measure import Input, Row, measure
from runtimes.process import RuntimeFailure, known_runtimes
from srn_d2.cli.arguments import count, parse_command_line
from srn_d2.error_messages import message_of

SUFFIXES = (".jpg", ".jpeg", ".png")
HEADER = "| runtime | version | file | scores | boxes, pixels | time |\n|---|---|---|--:|--:|--:|\n"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="+", help="ONNX files of srn-d2 export")
    parser.add_argument("--images", type=Path, metavar="DIR", help="default: a drawn picture")
    parser.add_argument("--number", type=count, default=4, metavar="N", help="of the folder's")
    parser.add_argument(
        "--sizes", type=count, nargs="+", default=[640, 320, 131], help="default: 640 320 131"
    )
    parser.add_argument("--repeats", type=count, default=5, help="timed rounds (default: 5)")
    parser.add_argument(
        "--node-modules",
        type=Path,
        default=Path("output/runtimes/node_modules"),
        metavar="DIR",
        help="with onnxruntime-web (default: output/runtimes/node_modules)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="for the table as well")
    return parse_command_line(parser, argv)


def load_inputs(folder: Path | None, number: int, sizes: Sequence[int]) -> list[Input]:
    """The pictures in all sizes, large ones first; two at once; a black one.

    Args:
        folder: pictures, also in folders below it; None: the drawn picture.
        number: of the folder's pictures, evenly spaced.

    Raises:
        ValueError: there are no pictures.
    """
    if folder is None:
        from srn_d2.export.parity import check_picture

        pictures = {"the drawn picture": Image.fromarray(check_picture()[0])}
    else:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise ValueError(f"{folder} has no pictures ({', '.join(SUFFIXES)})")
        chosen = dict.fromkeys(paths[i * len(paths) // number] for i in range(number))
        pictures = {path.name: Image.open(path).convert("RGB") for path in chosen}
    inputs = [
        Input(f"{name} in {size}", resized(picture, size))
        for size in sorted(sizes, reverse=True)
        for name, picture in pictures.items()
    ]
    smallest = inputs[-1].images
    two = np.concatenate([smallest, smallest[..., ::-1]])
    return [
        *inputs,
        Input("two pictures at once", two, is_timed=False),
        Input("a black picture", np.zeros_like(smallest), is_timed=False),
    ]


def resized(picture: Image.Image, longer_side: int) -> np.ndarray:
    """uint8 (1, 3, H, W)"""
    factor = longer_side / max(picture.size)
    width, height = (max(1, round(side * factor)) for side in picture.size)
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def table_row(row: Row, file: str) -> str:
    """A line of the table, in Markdown."""
    title = [row.title, row.version or "-", f"`{file}`"]
    if row.problem:
        problem = row.problem.replace("|", "\\|")
        return f"| {' | '.join(title)} | {problem} | | |\n"
    difference = row.difference
    scores = f"{difference.score:.2g}"
    if difference.num_alone:
        scores += f", {difference.num_alone} of {difference.num_detections} unmatched"
    low, high = min(row.ratios), max(row.ratios)
    time = f"{np.median(row.ratios):.2f} ({low:.2f} to {high:.2f})"
    return f"| {' | '.join(title)} | {scores} | {difference.box:.2g} | {time} |\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    args = parse_args(argv)
    table, has_failed = HEADER, False
    try:
        inputs = load_inputs(args.images, args.number, args.sizes)
        runtimes = known_runtimes(args.node_modules)
        for model in args.models:
            if not model.is_file():
                raise FileNotFoundError(f"there is no {model}")
            rows = measure(model, runtimes, inputs, args.repeats)
            has_failed |= any(
                row.problem and runtimes[name].is_installed for name, row in rows.items()
            )
            table += "".join(table_row(row, model.name) for row in rows.values())
        if args.output:
            args.output.parent.mkdir(parents=True, exist_ok=True)
            args.output.write_text(table, encoding="utf-8")
    except (OSError, ValueError, RuntimeFailure) as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 2
    print(table, end="")
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main())
