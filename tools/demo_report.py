#!/usr/bin/env python
"""Report on a training run: pictures with its detections, a plot of its losses.

python tools/demo_report.py output/demo

The folder is a run's OUTPUT_DIR: config.yaml, metrics.json and model_final.pth are read,
detections.png and losses.png are written. Exit status 1: AP50 is below --min-ap50.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import srn_d2  # noqa: F401 -- first: hides deprecation warnings of detectron2

# isort: split
import numpy as np
import torch
from demo_plots import draw_comparison, image_grid, plot_training, read_metrics, save_comparison
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.structures import Boxes, BoxMode
from tqdm import tqdm

from srn_d2.config import build_cfg
from srn_d2.data.image_io import read_image
from srn_d2.error_messages import USER_ERRORS, message_of
from srn_d2.inference.predictor import FacePredictor

AP50 = "bbox/AP50"
# Detections below this score are not drawn; AP includes them.
MIN_SCORE = 0.5
NUM_PICTURES, COLUMNS, CELL = 12, 4, 320


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--min-ap50", type=float, default=90.0, help="in percent; default: 90")
    return parser.parse_args(argv)


def last_ap50(records: Sequence[Mapping[str, float]]) -> float:
    """AP50 in percent after the last iteration.

    Raises:
        ValueError: the run has not been evaluated there; it was interrupted.
    """
    if not records or AP50 not in records[-1]:
        raise ValueError("metrics.json has no AP50 of the last iteration: did the run end?")
    return records[-1][AP50]


def comparison_grid(cfg: CfgNode) -> np.ndarray:
    """Pictures spread over the test set, with found, false and missed faces: uint8 (H, W, 3)."""
    predictor = FacePredictor(cfg)
    samples = DatasetCatalog.get(cfg.DATASETS.TEST[0])
    chosen = np.linspace(0, len(samples) - 1, min(NUM_PICTURES, len(samples))).round().astype(int)
    pictures = []
    for index in tqdm(chosen, desc="pictures", disable=None):
        annotations = samples[index]["annotations"]
        image = read_image(samples[index]["file_name"])
        detections = predictor(image)
        boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
        is_ignored = [bool(a.get("ignore") or a.get("iscrowd")) for a in annotations]
        drawn = draw_comparison(
            image,
            detections[detections.scores >= MIN_SCORE],
            Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
            torch.tensor(is_ignored, dtype=torch.bool),
        )
        pictures.append(drawn)
    return image_grid(pictures, COLUMNS, CELL)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        cfg = build_cfg(str(args.run / "config.yaml"))
        records = read_metrics(args.run / "metrics.json")
        ap50 = last_ap50(records)
    except USER_ERRORS as error:
        print(f"{args.run} is no finished run: {message_of(error)}", file=sys.stderr)
        return 1
    cfg.MODEL.WEIGHTS = str(args.run / "model_final.pth")
    plot_training(args.run / "losses.png", records, AP50)
    save_comparison(
        args.run / "detections.png",
        comparison_grid(cfg),
        f"{cfg.DATASETS.TEST[0]}: AP50 {ap50:.1f}, drawn from score {MIN_SCORE} on",
    )
    print(f"""
AP50 on {cfg.DATASETS.TEST[0]}: {ap50:.2f} (at least {args.min_ap50:g} wanted)

  {args.run / "detections.png"}   found, false and missed faces
  {args.run / "losses.png"}       losses and AP50 over the iterations
  {args.run / "metrics.json"}     every scalar of the run
  {args.run / "model_final.pth"}  the network; to use it on your own pictures:

  srn-d2 detect PICTURES --size config --config-file {args.run / "config.yaml"} \\
      --weights {args.run / "model_final.pth"}
""")
    if ap50 < args.min_ap50:
        print(f"AP50 is below {args.min_ap50:g}.", file=sys.stderr)
    return int(ap50 < args.min_ap50)


if __name__ == "__main__":
    sys.exit(main())
