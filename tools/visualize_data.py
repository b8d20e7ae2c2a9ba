#!/usr/bin/env python
"""Write the pictures that the network is trained on, after augmentation, with their boxes.

python tools/visualize_data.py --config-file configs/srn_R50.yaml --output seen --num-images 20
python tools/visualize_data.py --config-file configs/srn_toy.yaml --anchors SEED 3

The pictures are those of the training loader, in its order, from iteration --start-iter on: with
the same config and SEED a training run sees exactly these (with other numbers of GPUs than
SOLVER.REFERENCE_WORLD_SIZE the run has another SOLVER.IMS_PER_BATCH: give it here). Faces are
lime, ignore regions orange.

With --anchors there are two more pictures of each: the anchors that the first and the second step
take as faces, coloured by level: p2 red, p3 yellow, p4 lime, p5 cyan, p6 blue, p7 magenta. The
first step's are those of STC and STR levels; the second step is shown with the regular anchors on
all levels, for without a trained network nothing is known of those that STR moves.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import srn_d2  # noqa: F401 -- first: hides deprecation warnings of detectron2

# isort: split
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_anchor_generator
from detectron2.modeling.matcher import Matcher
from detectron2.structures import Instances
from PIL import Image

from srn_d2.atomic_file import atomic_path
from srn_d2.cli.arguments import add_overrides, count, parse_command_line
from srn_d2.config import build_cfg
from srn_d2.data.build import build_face_train_loader
from srn_d2.error_messages import USER_ERRORS, message_of
from srn_d2.inference.drawing import draw_boxes
from srn_d2.modeling.level_selection import LEVELS
from srn_d2.modeling.target_assignment import FACE, best_overlaps, build_matcher, label_anchors

FACE_COLOR = "lime"
IGNORE_COLOR = "orange"
LEVEL_COLORS = dict(zip(LEVELS, ("red", "yellow", "lime", "cyan", "blue", "magenta"), strict=True))


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="such as configs/srn_R50.yaml")
    parser.add_argument("--output", type=Path, default=Path("output/data"), help="a folder")
    parser.add_argument(
        "--num-images", type=count, default=20, help="of the training set (default: 20)"
    )
    parser.add_argument("--start-iter", type=int, default=0, help="the first iteration to show")
    parser.add_argument("--anchors", action="store_true", help="show matched anchors as well")
    add_overrides(parser)
    args = parse_command_line(parser, argv, {"--num": "--num-images"})
    if args.start_iter < 0:
        parser.error("--start-iter must be at least 0")
    return args


def training_samples(cfg: CfgNode, start_iter: int) -> Iterator[dict]:
    """The samples of a training run on one GPU, one after the other, without end."""
    cfg = cfg.clone()
    cfg.DATALOADER.NUM_WORKERS = 0  # it does not change the samples
    return itertools.chain.from_iterable(build_face_train_loader(cfg, start_iter))


def draw_faces(image: np.ndarray, instances: Instances) -> np.ndarray:
    """Draw the boxes of a training sample on its image (H, W, 3)."""
    colors = [IGNORE_COLOR if ignored else FACE_COLOR for ignored in instances.gt_ignore.tolist()]
    return draw_boxes(image, instances.gt_boxes.tensor.numpy(), colors)


class AnchorPictures:
    """Pictures of the regular anchors of a training sample that each step takes as faces."""

    def __init__(self, cfg: CfgNode):
        srn = cfg.MODEL.SRN
        self.strides = [4 * 2**index for index in range(len(LEVELS))]
        self.generator = build_anchor_generator(cfg, [ShapeSpec(stride=s) for s in self.strides])
        first_step = set(srn.STC_LEVELS) | set(srn.STR_LEVELS)
        # Of each step: its matcher and its levels.
        self.steps = [
            (build_matcher(srn.FIRST_STEP_IOU_THRESHOLDS), first_step),
            (build_matcher(srn.SECOND_STEP_IOU_THRESHOLDS), set(LEVELS)),
        ]

    def draw(
        self, image: np.ndarray, instances: Instances
    ) -> list[tuple[np.ndarray, dict[str, int]]]:
        """
        Args:
            image: uint8 (H, W, 3), RGB.
            instances: the sample's faces and ignore regions.

        Returns:
            Of each step the picture, and {level: number of anchors that are faces}.
        """
        height, width = instances.image_size
        maps = [torch.zeros(1, 1, -(-height // s), -(-width // s)) for s in self.strides]
        anchors = [boxes.tensor for boxes in self.generator(maps)]
        return [self._draw_step(image, instances, anchors, *step) for step in self.steps]

    def _draw_step(
        self,
        image: np.ndarray,
        instances: Instances,
        anchors: list[torch.Tensor],
        matcher: Matcher,
        levels: set[str],
    ) -> tuple[np.ndarray, dict[str, int]]:
        boxes, is_ignored = instances.gt_boxes.tensor, instances.gt_ignore
        counts: dict[str, int] = {}
        drawn, colors = [], []
        for level, level_anchors in zip(LEVELS, anchors, strict=True):
            if level not in levels:
                continue
            overlaps = best_overlaps(level_anchors, boxes, is_ignored)
            labels, _ = label_anchors(overlaps, boxes, is_ignored, matcher)
            positives = level_anchors[labels == FACE]
            counts[level] = len(positives)
            drawn.append(positives)
            colors += [LEVEL_COLORS[level]] * len(positives)
        picture = draw_boxes(image, torch.cat(drawn).numpy(), colors) if colors else image
        return picture, counts


def write_pictures(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Write the pictures that the command line asks for, and print a line for each."""
    anchor_pictures = AnchorPictures(cfg) if args.anchors else None
    samples = itertools.islice(training_samples(cfg, args.start_iter), args.num_images)
    for number, sample in enumerate(samples):
        name = f"{number:04d}_{Path(sample['file_name']).stem}"
        image = sample["image"].permute(1, 2, 0).numpy()  # (3, H, W) -> (H, W, 3)
        image = np.ascontiguousarray(image if cfg.INPUT.FORMAT == "RGB" else image[:, :, ::-1])
        instances = sample["instances"]
        save(args.output / f"{name}.png", draw_faces(image, instances))
        num_ignored = int(instances.gt_ignore.sum())
        line = f"{name}: {len(instances) - num_ignored} faces, {num_ignored} ignored"
        steps = anchor_pictures.draw(image, instances) if anchor_pictures else []
        for step, (picture, counts) in enumerate(steps, start=1):
            save(args.output / f"{name}_step{step}.png", picture)
            per_level = ", ".join(f"{level} {count}" for level, count in counts.items())
            line += f"; step {step}: {per_level or 'no level'}"
        print(line, flush=True)
    print(f"pictures are in {args.output}")


def save(path: Path, image: np.ndarray) -> None:
    with atomic_path(path) as draft:
        Image.fromarray(image).save(draft)


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status: 0, or 2 if the config or the data cannot be used."""
    args = parse_args(argv)
    try:
        write_pictures(build_cfg(args.config_file, args.opts), args)
    except USER_ERRORS as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
