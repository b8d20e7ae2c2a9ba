#!/usr/bin/env python
"""Time the official WIDER FACE protocol on a synthetic data set of the real one's size.

3,226 images with 39,708 faces, some images crowded, and 160,000 detections: half of them near a
face. Prints the seconds of the three settings together on one core, best of several runs.
"""

import argparse
import time

import numpy as np

from srn_d2.cli.arguments import count, parse_command_line
from srn_d2.evaluation.widerface.ap import SETTINGS, WiderFaceGroundTruth, evaluate_wider_face

NUM_IMAGES, NUM_FACES = 3226, 39708


def make_data_set(
    num_detections: int, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], WiderFaceGroundTruth]:
    """Detections and ground truth; few images have most of the faces, as in WIDER FACE."""
    weights = rng.pareto(1.2, NUM_IMAGES) + 0.2
    weights = np.minimum(weights / weights.sum(), 700 / NUM_FACES)
    faces_of = 1 + rng.multinomial(NUM_FACES - NUM_IMAGES, weights / weights.sum())
    detections_of = rng.multinomial(
        num_detections, faces_of / faces_of.sum() * 0.5 + 0.5 / NUM_IMAGES
    )
    boxes, predictions = {}, {}
    for number, (num_faces, num_boxes) in enumerate(zip(faces_of, detections_of, strict=True)):
        sides = rng.lognormal(3.2, 0.9, (num_faces, 1)) * [1.0, 1.25]
        faces = np.column_stack([rng.uniform(0, 1000, (num_faces, 2)), sides]).astype(np.int32)
        near = faces[rng.integers(num_faces, size=num_boxes)] + rng.normal(0, 2, (num_boxes, 4))
        anywhere = np.column_stack(
            [rng.uniform(0, 1000, (num_boxes, 2)), rng.lognormal(3, 1, (num_boxes, 2))]
        )
        rows = np.where(rng.random((num_boxes, 1)) < 0.5, near, anywhere)
        boxes[f"event/{number}"] = faces
        predictions[f"event/{number}"] = np.column_stack([rows, rng.random(num_boxes)])
    counted = {
        setting: {image: rng.random(len(faces)) < share for image, faces in boxes.items()}
        for setting, share in zip(SETTINGS, (0.18, 0.34, 0.8), strict=True)
    }
    return predictions, WiderFaceGroundTruth(boxes, counted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detections", type=int, default=160_000)
    parser.add_argument("--iou", type=float, nargs="+", default=[0.5])
    parser.add_argument("--repeats", type=count, default=5)
    args = parse_command_line(parser, old_names={"--runs": "--repeats"})
    predictions, truth = make_data_set(args.detections, np.random.default_rng(0))
    seconds = []
    for _ in range(args.repeats):
        start = time.perf_counter()
        evaluate_wider_face(predictions, truth, args.iou)
        seconds.append(time.perf_counter() - start)
    largest = max(map(len, truth.boxes.values()))
    print(
        f"WIDER FACE protocol, {len(truth.counted)} settings, IoU {args.iou}: {min(seconds):.2f} s "
        f"(best of {args.repeats}; {args.detections:,} detections, {NUM_FACES:,} faces, "
        f"{largest} in the most crowded image)"
    )


if __name__ == "__main__":
    main()
