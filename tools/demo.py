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
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import srn_d2  # noqa: F401 -- first: hides deprecation warnings of detectron2

# isort: split
import torch
from detectron2.config import CfgNode

from srn_d2.bfloat16 import resolve_cpu_bfloat16
from srn_d2.cli.detect import count, score
from srn_d2.cli.processing import Job, run_job
from srn_d2.cli.sources import find_sources
from srn_d2.config import build_cfg, check_device
from srn_d2.inference.defaults import SCORE_THRESHOLD
from srn_d2.inference.detector import FaceDetector


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
    parser.add_argument(
        "--threshold", type=score, default=SCORE_THRESHOLD, help="lowest score, 0 to 1"
    )
    parser.add_argument("--format", choices=("json", "csv"), default="json", help="of the boxes")
    parser.add_argument("--max-frames", type=count, help="stop a video after so many")
    parser.add_argument("--device", help="cpu or cuda; default: MODEL.DEVICE, but cpu without CUDA")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE pairs, at the end"
    )
    return parser.parse_args(argv)


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


def prepare(args: argparse.Namespace) -> Job:
    """What ``srn-d2 detect`` would do, with a detector as the config describes it."""
    sources = find_sources(args.input, args.output) if args.input else []
    cfg = demo_cfg(args)
    on_cpu = cfg.MODEL.DEVICE == "cpu"
    in_bfloat16 = cfg.TEST.BFLOAT16 or (on_cpu and resolve_cpu_bfloat16(cfg.SOLVER.CPU_BFLOAT16))
    detector = FaceDetector(
        config_file=cfg,
        device=cfg.MODEL.DEVICE,
        score_threshold=args.threshold,
        size="config",
        dtype="bfloat16" if in_bfloat16 else "float32",
        multi_scale=cfg.TEST.SRN_TTA.ENABLED,
    )
    return Job(
        detector=detector,
        sources=sources,
        output=args.output,
        formats=[args.format],
        camera=args.webcam,
        max_frames=args.max_frames,
    )


def main(argv: Sequence[str] | None = None) -> int:
    logging.basicConfig(format="%(message)s")
    logging.getLogger("srn_d2.cli").setLevel(logging.INFO)
    args = parse_args(argv)
    return run_job(lambda: prepare(args))


if __name__ == "__main__":
    sys.exit(main())
