#!/usr/bin/env python
"""Find images of WIDER FACE whose annotated boxes disagree with those of all detectors.

python tools/annotation_agreement.py --ground-truth DIR/ground_truth \\
    --predictions lite=PREDICTIONS centerface=PREDICTIONS --output agreeing.txt

Some images are annotated more loosely than others: boxes beside the face, or of another size than
elsewhere. An AP at IoU 0.5 counts many good boxes as false there, and a crowd has many faces. For
each image and each detector this takes the annotated faces that a detection overlaps with an IoU of
0.15 or more, and the median IoU of these with their best detection.
An image disagrees if that median is below --iou for every detector, each with at least --min-faces
such faces. The table has these images; --output gets the list of all others, for the option
--image-list of `srn-d2 evaluate` and --image-lists of tools/compare_detectors.py.

One detector alone says nothing: it may be its own boxes that are poor. Take detectors that were
trained apart.

Exit status: 0, or 2 if something cannot be read or written.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pycocotools.mask

from srn_d2.atomic_file import atomic_path
from srn_d2.cli.arguments import count, parse_command_line, score
from srn_d2.error_messages import USER_ERRORS, message_of
from srn_d2.evaluation.predictions.folders import read_predictions
from srn_d2.evaluation.widerface.ground_truth import load_ground_truth
from srn_d2.evaluation.widerface.image_lists import read_image_list

OVERLAP = 0.15
"""IoU from which a detection is taken to mean the annotated face."""


class Agreement(NamedTuple):
    """How a detector's boxes fit an image's annotation.

    Attributes:
        num_faces: annotated faces that a detection overlaps.
        median_iou: of these with their best detection; NaN if there are none.
    """

    num_faces: int
    median_iou: float


def measure_agreement(faces: np.ndarray, detections: np.ndarray, min_score: float) -> Agreement:
    """Compare an image's annotated faces with the detections of highest IoU.

    Args:
        faces: (M, 4), XYWH in pixels.
        detections: (N, 5), XYWH and score.
        min_score: detections below it are left out.
    """
    # Row by row: arrays from .mat files lie column by column, which pycocotools misreads.
    boxes = np.array(detections[detections[:, 4] >= min_score, :4], np.float64, order="C")
    annotated = np.array(faces, np.float64, order="C")
    if not len(boxes) or not len(annotated):
        return Agreement(0, math.nan)
    ious = pycocotools.mask.iou(boxes, annotated, [0] * len(annotated))  # (N, M)
    best = ious.max(axis=0)
    overlapping = best[best >= OVERLAP]
    if not len(overlapping):
        return Agreement(0, math.nan)
    return Agreement(len(overlapping), float(np.median(overlapping)))


def disagrees(agreements: Sequence[Agreement], iou: float, min_faces: int) -> bool:
    """Whether the annotation disagrees with every one of the detectors."""
    return all(a.num_faces >= min_faces and a.median_iou < iou for a in agreements)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--ground-truth", type=Path, required=True, help="folder of the official .mat files"
    )
    parser.add_argument(
        "--predictions",
        type=named_folder,
        nargs="+",
        required=True,
        metavar="NAME=FOLDER",
        help="predictions of at least two detectors, in the official format",
    )
    parser.add_argument("--image-list", help="text file with an image a line (default: all)")
    parser.add_argument(
        "--score", type=score, default=0.25, help="least score of a detection (default: 0.25)"
    )
    parser.add_argument(
        "--iou", type=score, default=0.6, help="median IoU of agreement (default: 0.6)"
    )
    parser.add_argument(
        "--min-faces", type=count, default=20, help="faces to judge an image by (default: 20)"
    )
    parser.add_argument("--output", type=Path, help="list of the images that do not disagree")
    args = parse_command_line(parser, argv)
    if len(dict(args.predictions)) < 2:
        parser.error("--predictions needs two detectors of different names")
    return args


def named_folder(text: str) -> tuple[str, Path]:
    """NAME=FOLDER."""
    name, separator, folder = text.partition("=")
    if not separator or not name or not folder:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER")
    return name, Path(folder)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    detectors = dict(args.predictions)
    try:
        truth = load_ground_truth(args.ground_truth)
        images = read_image_list(args.image_list, truth) if args.image_list else list(truth.boxes)
        read = {name: read_predictions(folder, images) for name, folder in detectors.items()}
        for name, predictions in read.items():
            if predictions.malformed:
                raise ValueError(f"{name}: {predictions.malformed[0]}")
            if predictions.missing:
                raise ValueError(
                    f"{detectors[name]} has no predictions of {len(predictions.missing)} of "
                    f"{len(images)} images, {predictions.missing[0]} first: --image-list leaves "
                    "them out"
                )
        agreements = {
            image: [
                measure_agreement(truth.boxes[image], p.predictions[image], args.score)
                for p in read.values()
            ]
            for image in images
        }
        is_off = {i: disagrees(agreements[i], args.iou, args.min_faces) for i in images}
        off = [image for image in images if is_off[image]]
        print(table(off, agreements, {i: len(truth.boxes[i]) for i in off}, list(detectors)))
        print(f"\n{len(off)} of {len(images)} images disagree with all detectors.")
        if args.output:
            others = [f"{image}.jpg\n" for image in images if not is_off[image]]
            if not others:
                raise ValueError(f"{args.output} is not written: no image is left for the list")
            with atomic_path(args.output) as draft:
                draft.write_text("".join(others), encoding="utf-8")
    except USER_ERRORS as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 2
    return 0


def table(
    images: Sequence[str],
    agreements: Mapping[str, Sequence[Agreement]],
    num_faces: Mapping[str, int],
    detectors: Sequence[str],
) -> str:
    """Markdown: an image a row, for each detector the faces compared and their median IoU."""
    names = " | ".join(f"{name}: faces | median IoU" for name in detectors)
    rows = [f"| image | faces | {names} |", "|---" * (2 + 2 * len(detectors)) + "|"]
    for image in images:
        cells = " | ".join(f"{a.num_faces} | {a.median_iou:.2f}" for a in agreements[image])
        rows.append(f"| {image} | {num_faces[image]} | {cells} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
