#!/usr/bin/env python
"""Detect faces in pictures, videos or a camera's pictures, and draw them.

python tools/demo.py --config-file configs/srn_R50.yaml --weights model.pth --input a.jpg photos/
python tools/demo.py --config-file output/demo/config.yaml --input 'clips/*.mp4' --output found
python tools/demo.py --config-file output/demo/config.yaml --webcam 0

Pictures are written below --output under their own names, their faces to faces.json or faces.csv.
A video becomes NAME.mp4, its faces NAME.mp4.jsonl with one line for each frame. Boxes are
[x1, y1, x2, y2] in pixels of the picture as it is seen (after EXIF orientation).

Exit status: 0, 1 if some input failed (the others are done), 2 if nothing could be started, 130
after Ctrl-C; Ctrl-C is how to end a camera's recording, with status 0.
"""

import argparse
import csv
import glob
import json
import logging
import os
import pickle
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from PIL import Image
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from srn_d2.atomic_file import atomic_path
from srn_d2.data.datasets.common import has_image_suffix
from srn_d2.data.image_io import CorruptImageError, read_image
from srn_d2.engine.setup import build_cfg, check_device
from srn_d2.predictor import FacePredictor
from srn_d2.video_io import VIDEO_SUFFIXES, VideoError, VideoReader, VideoWriter
from srn_d2.visualization import draw_detections

logger = logging.getLogger("srn_d2.demo")

# Pictures of other formats are written as JPEG.
WRITTEN_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
JPEG_QUALITY = 95
# What one bad input may raise; the others are still done.
INPUT_ERRORS = (CorruptImageError, VideoError, OSError, torch.OutOfMemoryError)
# What a wrong config, weights that do not fit or are no checkpoint, or no such input raise.
SETUP_ERRORS = (OSError, ValueError, KeyError, RuntimeError, pickle.UnpicklingError)


class Source(NamedTuple):
    """An input file and where its picture or video goes, below the output folder."""

    path: Path
    name: Path

    @property
    def is_video(self) -> bool:
        return self.path.suffix.lower() in VIDEO_SUFFIXES


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="such as configs/srn_R50.yaml")
    parser.add_argument("--weights", help="a checkpoint; default: MODEL.WEIGHTS of the config")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--input", nargs="+", help="pictures, videos, folders (with all below them) or globs"
    )
    source.add_argument("--webcam", type=int, nargs="?", const=0, help="a camera's number")
    parser.add_argument("--output", type=Path, default=Path("output/pictures"), help="a folder")
    parser.add_argument("--threshold", type=_score, default=0.5, help="lowest score, 0 to 1")
    parser.add_argument("--format", choices=("json", "csv"), default="json", help="of the boxes")
    parser.add_argument("--max-frames", type=int, help="stop a video after so many")
    parser.add_argument("--device", help="cpu or cuda; default: MODEL.DEVICE, but cpu without CUDA")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE pairs, at the end"
    )
    return parser.parse_args(argv)


def _score(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def demo_cfg(args: argparse.Namespace) -> CfgNode:
    """The config with the command line's weights and device."""
    cfg = build_cfg(args.config_file, args.opts)
    if args.weights:
        cfg.MODEL.WEIGHTS = args.weights
    if args.device:
        cfg.MODEL.DEVICE = args.device
    elif not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    check_device(cfg)
    return cfg


def find_sources(patterns: Iterable[str], output: Path) -> list[Source]:
    """The files that the command line names, in its order, those of a folder sorted.

    Folders are searched to their bottom for files with a picture's or a video's suffix, but not
    in ``output``. Names below ``output`` are relative to the deepest folder that holds all files.

    Raises:
        FileNotFoundError: a pattern names nothing.
        ValueError: an output would overwrite an input, or two inputs have one output.
    """
    roots: list[Path] = []
    paths: dict[Path, None] = {}  # an ordered set
    for pattern in patterns:
        found = _expand(pattern, output.absolute())
        if not found:
            raise FileNotFoundError(f"{pattern}: no such file, and no picture or video in it")
        is_folder = os.path.isdir(pattern)
        roots += [Path(pattern).absolute()] if is_folder else [path.parent for path in found]
        paths.update(dict.fromkeys(found))
    base = os.path.commonpath(roots)
    sources = [Source(path, _output_name(path.relative_to(base))) for path in paths]
    if len({source.name for source in sources}) < len(sources):
        raise ValueError("Two inputs would be written under one name: name them one by one")
    for source in sources:
        if (output / source.name).resolve() == source.path.resolve():
            raise ValueError(f"{source.path} would be overwritten: choose another --output")
    return sources


def _expand(pattern: str, output: Path) -> list[Path]:
    """The absolute paths of the files behind one argument."""
    if os.path.isfile(pattern):
        return [Path(pattern).absolute()]
    if os.path.isdir(pattern):
        return [
            path
            for path in sorted(Path(pattern).absolute().rglob("*"))
            if (has_image_suffix(path.name) or path.suffix.lower() in VIDEO_SUFFIXES)
            and output not in path.parents
            and path.is_file()
        ]
    names = sorted(glob.glob(pattern, recursive=True))
    return [Path(name).absolute() for name in names if os.path.isfile(name)]


def _output_name(name: Path) -> Path:
    """``name``, with another suffix added where its format is not written here."""
    if name.suffix.lower() in VIDEO_SUFFIXES:
        return name if name.suffix == ".mp4" else name.with_name(f"{name.name}.mp4")
    return name if name.suffix.lower() in WRITTEN_SUFFIXES else name.with_name(f"{name.name}.jpg")


def detect(predictor: FacePredictor, image: np.ndarray, threshold: float) -> Instances:
    """The detections of an image with at least this score."""
    detections = predictor(image)
    return detections[detections.scores >= threshold]


def faces_as_dicts(detections: Instances) -> list[dict]:
    """Detections as JSON has them: {"bbox": [x1, y1, x2, y2], "score": s}, best first."""
    return [
        {"bbox": [round(value, 2) for value in box], "score": round(score, 4)}
        for box, score in zip(
            detections.pred_boxes.tensor.tolist(), detections.scores.tolist(), strict=True
        )
    ]


def process_picture(source: Source, predictor: FacePredictor, args: argparse.Namespace) -> dict:
    """Write the annotated picture; returns its record in faces.json."""
    image = read_image(source.path)
    detections = detect(predictor, image, args.threshold)
    with atomic_path(args.output / source.name) as draft:
        Image.fromarray(draw_detections(image, detections)).save(draft, quality=JPEG_QUALITY)
    height, width = image.shape[:2]
    return {
        "file_name": str(source.path),
        "height": height,
        "width": width,
        "faces": faces_as_dicts(detections),
    }


def process_video(
    source: Path | int, name: Path, predictor: FacePredictor, args: argparse.Namespace
) -> None:
    """Write an annotated video and the faces of each frame, {"frame", "time", "faces"} a line."""
    reader = VideoReader(source)
    video = args.output / name
    with (
        atomic_path(video) as video_draft,
        atomic_path(video.with_name(f"{video.name}.jsonl")) as lines_draft,
        open(lines_draft, "w", encoding="utf-8") as lines,
    ):
        writer = VideoWriter(video_draft, reader.fps)
        try:
            total = min(filter(None, (reader.num_frames, args.max_frames)), default=None)
            for frame in tqdm(reader, total=total, desc=str(source), unit="frame", disable=None):
                detections = detect(predictor, frame.image, args.threshold)
                writer.write(draw_detections(frame.image, detections))
                record = {"frame": frame.index, "time": round(frame.time, 3)}
                record["faces"] = faces_as_dicts(detections)
                lines.write(json.dumps(record) + "\n")
                if frame.index + 1 == args.max_frames:
                    break
        except KeyboardInterrupt:
            if not reader.is_camera:
                raise
        finally:
            writer.close()
            reader.close()
    logger.info("Wrote %s and its .jsonl", video)


def write_faces(records: Sequence[dict], output: Path, file_format: str) -> Path:
    """Write faces.json or faces.csv (a line for each face); returns its path."""
    path = output / f"faces.{file_format}"
    with atomic_path(path) as draft, open(draft, "w", encoding="utf-8", newline="") as file:
        if file_format == "json":
            file.write("[\n" + ",\n".join(json.dumps(record) for record in records) + "\n]\n")
        else:
            writer = csv.writer(file)
            writer.writerow(["file_name", "x1", "y1", "x2", "y2", "score"])
            for record in records:
                for face in record.get("faces", ()):
                    writer.writerow([record["file_name"], *face["bbox"], face["score"]])
    return path


def process_files(
    sources: Sequence[Source], predictor: FacePredictor, args: argparse.Namespace
) -> int:
    """Do all files, write the pictures' faces, whatever happens; returns how many failed."""
    records, num_failed = [], 0
    try:
        for source in tqdm(sources, unit="file", disable=None):
            try:
                if source.is_video:
                    process_video(source.path, source.name, predictor, args)
                else:
                    records.append(process_picture(source, predictor, args))
            except INPUT_ERRORS as error:
                num_failed += 1
                logger.error("%s failed: %s", source.path, error)
                records.append({"file_name": str(source.path), "error": str(error)})
    finally:
        if records:
            path = write_faces(records, args.output, args.format)
            num_faces = sum(len(record.get("faces", ())) for record in records)
            logger.info("%d faces in %d files: %s", num_faces, len(records) - num_failed, path)
    return num_failed


def main(argv: Sequence[str] | None = None) -> int:
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    args = parse_args(argv)
    try:
        sources = find_sources(args.input, args.output) if args.input else []
        predictor = FacePredictor(demo_cfg(args))
    except SETUP_ERRORS as error:
        # str() of a KeyError quotes its message and hides the line breaks.
        message = error.args[0] if isinstance(error, KeyError) else error
        logger.error("%s: %s", type(error).__name__, message)
        return 2
    try:
        with logging_redirect_tqdm():
            if args.input:
                return int(process_files(sources, predictor, args) > 0)
            process_video(args.webcam, Path(f"camera_{args.webcam}.mp4"), predictor, args)
    except KeyboardInterrupt:
        return 130
    except VideoError as error:
        logger.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
