#!/usr/bin/env python
"""Time FDDB's evaluation of a large set: from files to both curves in both modes.

2,845 images with 5,171 faces, as FDDB has, and 34,000 made-up detections of 30,571 scores: one near
each face, others moved from faces or anywhere. Prints the CPU seconds of reading and of evaluating,
best of several runs, the largest memory of the process, and a digest of the curves, which are the
same whatever is done to make it faster.
"""

import argparse
import hashlib
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from srn_d2.cli.arguments import count, parse_command_line
from srn_d2.evaluation.fddb.files import read_detections, read_ellipses, read_sizes
from srn_d2.evaluation.fddb.report import evaluate_detections

NUM_IMAGES, NUM_FACES = 2845, 5171
HEIGHT, WIDTH = 350, 450


def write_set(folder: Path, num_detections: int, num_scores: int) -> None:
    """Write list-ellipseList.txt, image_sizes.txt and detections.txt."""
    rng = np.random.default_rng(0)
    image_of_face = np.sort(np.append(np.arange(NUM_IMAGES), rng.integers(0, NUM_IMAGES, 2326)))
    minor = np.clip(rng.lognormal(3.7, 0.45, NUM_FACES), 10, 150)
    faces = np.column_stack(
        [
            *(1.4 * minor, minor, rng.normal(np.pi / 2, 0.25, NUM_FACES)),
            *(rng.uniform(60, WIDTH - 60, NUM_FACES), rng.uniform(60, HEIGHT - 60, NUM_FACES)),
        ]
    )
    face = np.append(np.arange(NUM_FACES), rng.integers(0, NUM_FACES, num_detections - NUM_FACES))
    radii, centers = faces[face, 1::-1], faces[face, 3:].copy()
    is_first = np.arange(num_detections) < NUM_FACES
    is_near = is_first | (rng.random(num_detections) < 0.4)
    centers += rng.normal(0, np.where(is_first, 0.1, 0.5)[:, None] * radii)
    anywhere = rng.uniform(0, [WIDTH, HEIGHT], centers.shape)
    centers = np.where(is_near[:, None], centers, anywhere)
    radii = radii * np.exp(rng.normal(0, np.where(is_first, 0.1, 0.4)))[:, None]
    scores = np.sort(rng.choice(10**8, num_scores, replace=False) / 1e8)[::-1]
    scores = np.append(scores, rng.choice(scores[-4000:], num_detections - num_scores))
    image = image_of_face[face]
    rows = np.column_stack([centers - radii, 2 * radii, np.sort(scores)[::-1]])
    faces_of = np.split(faces, np.searchsorted(image_of_face, range(1, NUM_IMAGES)))
    order = np.argsort(image, kind="stable")
    rows_of = np.split(rows[order], np.searchsorted(image[order], range(1, NUM_IMAGES)))
    lists, detections, sizes = [], [], []
    for i, (own_faces, own_rows) in enumerate(zip(faces_of, rows_of, strict=True)):
        lists += [f"img_{i}", str(len(own_faces))]
        lists += [" ".join(f"{value:.6f}" for value in row) + " 1" for row in own_faces]
        detections += [f"img_{i}", str(len(own_rows))]
        detections += [" ".join(f"{value:.9g}" for value in row) for row in own_rows]
        sizes.append(f"img_{i} {WIDTH} {HEIGHT}")
    for name, lines in (
        ("list-ellipseList", lists),
        ("detections", detections),
        ("image_sizes", sizes),
    ):
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--detections", type=count, default=34_000)
    parser.add_argument("--scores", type=count, default=30_571, help="different ones among them")
    parser.add_argument("--repeats", type=count, default=5)
    args = parse_command_line(parser, old_names={})
    seconds = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_set(folder, args.detections, args.scores)
        for _ in range(args.repeats):
            start = time.process_time()
            faces = read_ellipses(folder / "list-ellipseList.txt")
            sizes = read_sizes(folder / "image_sizes.txt")
            found = read_detections(folder / "detections.txt")
            read = time.process_time()
            curves = evaluate_detections(found, faces, sizes).curves
            seconds.append((read - start, time.process_time() - read))
    arrays = [array for mode in curves for array in mode[:4]]
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
    reading, evaluating = min(seconds, key=sum)
    print(
        f"{reading + evaluating:.3f} s = reading {reading:.3f} + evaluating {evaluating:.3f}; "
        f"{len(curves.official.thresholds):,} points, "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB, {digest[:12]}"
    )


if __name__ == "__main__":
    main()
