#!/usr/bin/env python
"""Count the anchors that the second step classifies, with and without STC, on training images.

python tools/count_anchors.py --config-file configs/srn_R50.yaml --num-images 100 \\
    MODEL.WEIGHTS output/srn/model_final.pth

The images are those of the training loader, augmented, in its order. The paper has
22 positives and 339,700 negatives without STC, and 22 and 8,895 with it.
"""

import argparse
import dataclasses
import itertools
import json
import sys
from collections.abc import Sequence

import srn_d2  # noqa: F401 -- first: hides deprecation warnings of detectron2

# isort: split
from detectron2.config import CfgNode
from tqdm import tqdm

from srn_d2.atomic_file import atomic_path
from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.cli.arguments import add_overrides, count, parse_command_line
from srn_d2.config import build_cfg, check_device
from srn_d2.data.build import build_face_train_loader
from srn_d2.engine import SRNTrainer
from srn_d2.error_messages import USER_ERRORS, message_of
from srn_d2.evaluation.anchor_counts import (
    AnchorCounts,
    anchor_table,
    count_anchors,
    plot_anchor_counts,
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="such as configs/srn_R50.yaml")
    parser.add_argument(
        "--num-images", type=count, default=100, help="of the training set (default: 100)"
    )
    parser.add_argument("--plot", metavar="FILE", help="also plot the counts as a PNG")
    parser.add_argument("--json", metavar="FILE", help="also write the counts as JSON")
    add_overrides(parser)
    return parse_command_line(parser, argv, {"--num": "--num-images"})


def count_on_training_images(cfg: CfgNode, num_images: int) -> AnchorCounts:
    """Load the model of ``cfg`` and count on its first ``num_images`` training images."""
    check_device(cfg)
    if not cfg.MODEL.WEIGHTS:
        raise ValueError("No weights are given: append `MODEL.WEIGHTS model.pth`")
    model = SRNTrainer.build_model(cfg)
    SRNCheckpointer(model, strict=True).load(cfg.MODEL.WEIGHTS)
    one_by_one = cfg.clone()
    one_by_one.SOLVER.IMS_PER_BATCH = 1
    batches = itertools.islice(build_face_train_loader(one_by_one), num_images)
    return count_anchors(model, tqdm(batches, total=num_images, unit="image"))


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status: 0, or 2 if config, weights or data cannot be used."""
    args = parse_args(argv)
    try:
        counts = count_on_training_images(build_cfg(args.config_file, args.opts), args.num_images)
        if args.plot:
            with atomic_path(args.plot) as draft:
                plot_anchor_counts(counts).savefig(draft)
        if args.json:
            with atomic_path(args.json) as draft:
                draft.write_text(json.dumps(dataclasses.asdict(counts)) + "\n", encoding="utf-8")
    except USER_ERRORS as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 2
    print(f"Means over {counts.num_images} images\n\n{anchor_table(counts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
