"""Compare FDDB's curves with those that the official program wrote for the same detections.

python tools/compare_fddb_curves.py --annotations FDDB-folds --image-sizes image_sizes.txt \\
    --detections published/*.txt --curves official

Of each file NAME.txt of detections, the folder of curves has NAME.DiscROC.txt and
NAME.ContROC.txt. A line is unequal if its rate, in the six digits of the files, its false positives
or its score is another. The optimal mode, of which there is no official program, is compared with
scipy's assignment, made from scratch at every threshold. Exit status: 1 if a line is unequal.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from tabulate import tabulate

from srn_d2.data.annotation_files import AnnotationFormatError
from srn_d2.evaluation.fddb.files import read_detections, read_ellipses, read_sizes
from srn_d2.evaluation.fddb.overlaps import FddbImage, region_overlaps
from srn_d2.evaluation.fddb.roc import FddbCurves, fddb_curves

# The official program writes its largest number as the score of images without detections.
NO_SCORE = 1e300
HEADERS = [
    *("set", "lines a curve", "unequal, discrete", "unequal, continuous", "largest difference"),
    *("optimal: unequal", "optimal: lines above official", "CPU seconds"),
]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit status."""
    args = parse_args(argv)
    rows = []
    for path in args.detections:
        start = time.process_time()
        images = read_images(args, path)
        modes = fddb_curves(images)
        seconds = time.process_time() - start
        unequal, difference = [], 0.0
        for name in ("discrete", "continuous"):
            file = args.curves / f"{path.stem}.{name[:4].title()}ROC.txt"
            number, largest = compare(modes.official, name, file)
            unequal.append(number)
            difference = max(difference, largest)
        sums = greatest_sums(images, modes.optimal.thresholds) / modes.optimal.num_faces
        rows.append(
            [
                *(path.stem, len(modes.official.thresholds), *unequal, f"{difference:.1e}"),
                np.count_nonzero(abs(modes.optimal.continuous - sums) > 1e-9),
                np.count_nonzero(modes.optimal.continuous - modes.official.continuous > 1e-9),
                f"{seconds:.2f}",
            ]
        )
        print(f"{path.stem} is done", file=sys.stderr)
    print(tabulate(rows, HEADERS, tablefmt="pipe", disable_numparse=True))
    return int(any(any(row[2:4]) or row[5] for row in rows))


def read_images(args: argparse.Namespace, path: Path) -> list[FddbImage]:
    """The images of a file of detections, those without detections included."""
    faces, sizes = read_ellipses(args.annotations), read_sizes(args.image_sizes)
    found, nothing = read_detections(path), (np.zeros((0, 4)), np.zeros(0))
    names = args.image_list.read_text(encoding="utf-8").split() if args.image_list else faces
    return [FddbImage(faces[name], *found.get(name, nothing), sizes[name]) for name in names]


def compare(curves: FddbCurves, name: str, file: Path) -> tuple[int, float]:
    """Number of unequal lines, and the largest difference of the rates.

    Args:
        curves: of the official mode.
        name: "discrete" or "continuous".
        file: the official program's curve.

    Raises:
        AnnotationFormatError: the file has another number of lines.
    """
    lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
    lines = [words for words in lines if len(words) < 3 or float(words[2]) < NO_SCORE][::-1]
    if name == "continuous" and len(lines) == len(curves.thresholds) + 1:
        lines = lines[1:]  # without scores, that of images without detections is not to be told
    if len(lines) != len(curves.thresholds):
        problem = f"{len(lines)} lines, of {len(curves.thresholds)} scores in the detections"
        raise AnnotationFormatError(file, "lines", problem)
    rates = getattr(curves, name)
    points = zip(rates, curves.false_positives, curves.thresholds, strict=True)
    unequal = sum(
        [f"{value:.6g}" for value in point][: len(words)] != words
        for words, point in zip(lines, points, strict=True)
    )
    return unequal, max(
        (abs(float(w[0]) - r) for w, r in zip(lines, rates, strict=True)), default=0
    )


def greatest_sums(images: Sequence[FddbImage], thresholds: np.ndarray) -> np.ndarray:
    """(P,) the sum over images of the greatest sums of overlaps at falling thresholds."""
    sums = np.zeros(len(thresholds))
    for image in images:
        overlaps = region_overlaps(image.faces, image.regions, image.size)
        before = 0.0
        for score in np.unique(image.scores)[::-1]:
            valid = overlaps[:, image.scores >= score]
            total = valid[linear_sum_assignment(valid, maximize=True)].sum()
            sums[np.searchsorted(-thresholds, -score)] += total - before
            before = total
    return np.cumsum(sums)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--annotations", required=True, help="folder of the ellipse lists")
    parser.add_argument("--image-sizes", required=True, help='lines "image width height"')
    parser.add_argument("--detections", required=True, nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--curves", required=True, type=Path, metavar="DIR")
    parser.add_argument("--image-list", type=Path, metavar="FILE", help="these images alone")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
