#!/usr/bin/env python
"""Time and memory from register_face_folder to the first training sample, for many images.

Makes a COCO file of 100,000 images and 1,000,000 boxes (or as told) with its JPEG files, which are
hard links of a few, then reads it twice, each time in a process of its own: by json.load and the
header of each image, and by register_face_folder and the training loader. With --wider it reads
WIDER FACE's training set below the folder given, instead. Memory is the growth of the process's
peak beyond what its imports take.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from srn_d2.cli.arguments import count, parse_command_line

NUM_FILES = 100  # distinct images
ROLES = ("json.load and headers", "register_face_folder")
CONFIG = "srn_R18.yaml"


def make_data(folder: Path, num_images: int, num_boxes: int) -> None:
    """Write ``faces.json`` and its images below ``folder``."""
    rng = np.random.default_rng(0)
    (folder / "base").mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x010F] = "camera"
    for number in range(NUM_FILES):
        pixels = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((640, 480))
        image.save(folder / "base" / f"{number}.jpg", exif=exif if number % 2 else b"")
    images = []
    for number in range(num_images):
        name = f"{number % 100:02d}/image_{number:06d}.jpg"
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            os.link(folder / "base" / f"{number % NUM_FILES}.jpg", path)
        images.append({"id": number + 1, "file_name": name, "width": 640, "height": 480})
    sides = np.round(rng.lognormal(3, 0.5, (num_boxes, 2)).clip(2, 200), 2)
    corners = np.round(rng.random((num_boxes, 2)) * ([640, 480] - sides), 2)
    boxes = np.column_stack([corners, sides]).tolist()
    annotations = [
        {
            "id": number + 1,
            "image_id": int(image) + 1,
            "category_id": 1,
            "bbox": box,
            "area": round(box[2] * box[3], 2),
            "iscrowd": 0,
        }
        for number, (image, box) in enumerate(
            zip(rng.integers(num_images, size=num_boxes), boxes, strict=True)
        )
    ]
    content = {"images": images, "annotations": annotations}
    content["categories"] = [{"id": 1, "name": "face"}]
    (folder / "faces.json").write_text(json.dumps(content))


def read_plainly(folder: Path) -> int:
    """json.load, and the header of each image once."""
    with open(folder / "faces.json", encoding="utf-8") as file:
        content = json.load(file)
    for image in content["images"]:
        with Image.open(folder / image["file_name"]) as opened:
            opened.size  # noqa: B018
    return len(content["annotations"])


def read_wider_plainly(root: Path) -> int:
    """The lines of WIDER FACE's text, and the header of each image once."""
    text = (root / "wider_face_split" / "wider_face_train_bbx_gt.txt").read_text()
    lines = [line.split() for line in text.splitlines()]
    for line in lines:
        if line[0].endswith(".jpg"):
            with Image.open(root / "WIDER_train" / "images" / line[0]) as opened:
                opened.size  # noqa: B018
    return len(lines)


def measure(role: str, folder: Path, is_wider: bool) -> dict[str, float]:
    """Seconds and MiB of one of ``ROLES``, in this process."""
    if role == ROLES[1]:
        from srn_d2.config import build_cfg
        from srn_d2.data import build_face_train_loader, register_face_folder
        from srn_d2.data.datasets.builtin import register_wider_face
        from srn_d2.model_zoo import get_config_file

        name = "widerface_train" if is_wider else "benchmark_faces"
        cfg = build_cfg(
            get_config_file(CONFIG),
            ["DATASETS.TRAIN", (name,), "DATALOADER.NUM_WORKERS", 0, "SOLVER.IMS_PER_BATCH", 1],
        )
    before = peak_mib()
    start, start_cpu = time.perf_counter(), time.process_time()
    if role == ROLES[0]:
        (read_wider_plainly if is_wider else read_plainly)(folder)
    else:
        if is_wider:
            register_wider_face(folder)
        else:
            register_face_folder("benchmark_faces", folder, folder / "faces.json")
        next(iter(build_face_train_loader(cfg)))
    return {
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - start_cpu,
        "mib": peak_mib() - before,
    }


def peak_mib() -> float:
    """The largest memory that this process has had so far."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would tell that of the process that has started this one
        line = next(line for line in status.read_text().splitlines() if "VmHWM" in line)
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS: in bytes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("output/benchmark/annotations"))
    parser.add_argument("--images", type=count, default=100_000)
    parser.add_argument("--boxes", type=count, default=1_000_000)
    parser.add_argument("--wider", type=Path, help="WIDER FACE in its official layout")
    parser.add_argument("--role", choices=ROLES, help=argparse.SUPPRESS)
    args = parse_command_line(parser)
    folder = args.wider or args.folder
    if args.role:
        print(json.dumps(measure(args.role, folder, args.wider is not None)))
        return
    if args.wider is None and not (folder / "faces.json").is_file():
        make_data(folder, args.images, args.boxes)
    rows = {}
    for role in ROLES:
        command = [sys.executable, __file__, *sys.argv[1:], "--role", role]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows[role] = json.loads(done.stdout.splitlines()[-1])
        row = rows[role]
        print(
            f"{role}: {row['seconds']:.1f} s ({row['cpu']:.1f} s on a core), {row['mib']:.0f} MiB",
            flush=True,
        )
    wall, cpu = (rows[ROLES[1]][key] / rows[ROLES[0]][key] for key in ("seconds", "cpu"))
    print(f"{wall:.2f} times as long ({cpu:.2f} on a core)", end="")
    if args.wider is None:
        size = (folder / "faces.json").stat().st_size / 2**20
        print(f"; {rows[ROLES[1]]['mib'] / size:.2f} times the JSON's {size:.0f} MiB", end="")
    print()


if __name__ == "__main__":
    main()
