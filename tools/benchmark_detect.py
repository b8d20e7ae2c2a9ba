#!/usr/bin/env python
"""Measure ``srn-d2 detect`` on many pictures: its memory, and its rate beside the bare detector's.

python tools/benchmark_detect.py memory --num-images 100000
python tools/benchmark_detect.py rate datasets/widerface/WIDER_train --num-images 500

memory: pictures of --side pixels, hard links of a hundred parts of --picture, through one command;
its resident memory, child processes included, is read five times a second (on Linux). rate: the
command from start to end, and FaceDetector in a loop over the same pictures, decoded before, in
turn; the pictures are spread evenly over the folder.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from srn_d2 import FaceDetector
from srn_d2.cli.arguments import count, parse_command_line

NUM_FILES = 100  # distinct pictures of ``memory``
PERIOD = 0.2  # seconds between two looks at the memory
PICTURE = Path(__file__).parent.parent / "docs" / "images" / "toy_faces.jpg"


def make_pictures(folder: Path, picture: Path, num_images: int, side: int) -> None:
    """Write ``num_images`` pictures of ``side`` x ``side`` pixels, a thousand to a folder."""
    with Image.open(picture) as opened:
        image = opened.convert("RGB")
    if min(image.size) < 2 * side:
        raise ValueError(f"{picture}: its sides are shorter than twice --side {side}")
    rng = np.random.default_rng(0)
    base = folder / "base"
    base.mkdir()
    for number in range(min(NUM_FILES, num_images)):
        left, top = (int(rng.integers(length - 2 * side + 1)) for length in image.size)
        part = image.crop((left, top, left + 2 * side, top + 2 * side)).resize((side, side))
        part.save(base / f"{number}.jpg")
    for number in range(num_images):
        path = folder / "pictures" / f"{number // 1000:04d}" / f"{number:07d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(base / f"{number % NUM_FILES}.jpg", path)


def command_of(inputs: list[Path], output: Path, model: str) -> list[str]:
    names = [str(path) for path in inputs]
    start = [sys.executable, "-m", "srn_d2.cli", "detect", *names, "--output", str(output)]
    return [*start, "--no-pictures", "--format", "jsonl", "--model", model]


def process_tree(pid: int) -> Iterator[int]:
    """The process and all below it."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from process_tree(int(child))


def resident_mib(pid: int) -> float:
    """Resident memory of a process and its children that still run, in MiB."""
    total = 0
    with contextlib.suppress(OSError):  # one has ended meanwhile
        for process in process_tree(pid):
            for line in Path(f"/proc/{process}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
    return total / 1024


def measure_memory(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder, args.picture, args.num_images, args.side)
        output = folder / "found"
        faces = output / "faces.jsonl"
        command = command_of([folder / "pictures"], output, args.model)
        start = time.perf_counter()
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        samples: list[tuple[float, float]] = []
        with process:
            while process.poll() is None:
                samples.append((time.perf_counter() - start, resident_mib(process.pid)))
                time.sleep(PERIOD)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit status {process.returncode}")
        seconds = time.perf_counter() - start
        with open(faces, encoding="utf-8") as file:
            done = sum(1 for _ in file)
    print(f"{done:,} pictures in {seconds:.1f} s, {done / seconds:.1f} a second\n")
    print("| part of the time | highest resident memory in it, MiB |\n|---|---|")
    for tenth in range(10):
        bounds = seconds * tenth / 10, seconds * (tenth + 1) / 10
        peak = max((mib for at, mib in samples if bounds[0] <= at <= bounds[1]), default=0.0)
        print(f"| {10 * tenth} to {10 * (tenth + 1)} % | {peak:.0f} |")


def measure_rate(args: argparse.Namespace) -> None:
    found = sorted(args.folder.rglob("*.jpg"))
    if not found:
        raise ValueError(f"{args.folder}: no .jpg in it")
    step = max(len(found) / args.num_images, 1)
    paths = [found[int(number * step)] for number in range(int(len(found) / step))]
    images = []
    for path in paths:
        with Image.open(path) as opened:
            images.append(np.asarray(opened.convert("RGB")))
    detector = FaceDetector(args.model)
    print(f"| {len(paths)} pictures, {args.model} | the command, s | FaceDetector, s | ratio |")
    print("|---|---|---|---|", flush=True)
    for turn in range(args.repeats):
        with tempfile.TemporaryDirectory() as output:
            start = time.perf_counter()
            line = command_of(paths, Path(output), args.model)
            subprocess.run(line, check=True, stderr=subprocess.DEVNULL)
            command = time.perf_counter() - start
        start = time.perf_counter()
        for image in images:
            detector(image)
        bare = time.perf_counter() - start
        print(f"| {turn + 1} | {command:.1f} | {bare:.1f} | {bare / command:.2f} |", flush=True)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    memory = commands.add_parser("memory", help="of the command over many small pictures")
    memory.set_defaults(run=measure_memory)
    memory.add_argument("--num-images", type=count, default=100_000)
    memory.add_argument("--side", type=count, default=64, help="pixels (default: 64)")
    memory.add_argument("--picture", type=Path, default=PICTURE, help="which they are parts of")
    rate = commands.add_parser("rate", help="of the command and of the detector alone")
    rate.set_defaults(run=measure_rate)
    rate.add_argument("folder", type=Path)
    rate.add_argument("--num-images", type=count, default=500)
    rate.add_argument("--repeats", type=count, default=1, help="default: 1")
    for command in (memory, rate):
        command.add_argument("--model", default="lite", help="default: lite")
    return parse_command_line(parser, argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        args.run(args)
    except (OSError, ValueError, RuntimeError, subprocess.CalledProcessError) as error:
        print(f"benchmark_detect.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
