#!/usr/bin/env python
"""Check that a config can learn: overfit a few images until their faces are found.

python tools/overfit.py --config-file configs/srn_R50.yaml

On a CPU, from random weights, with GroupNorm (a step is one image: BatchNorm's statistics would be
another image's in evaluation):

OPTS='MODEL.DEVICE cpu MODEL.BACKBONE.FREEZE_AT 0 MODEL.RESNETS.NORM GN MODEL.FPN.NORM GN
    MODEL.SRN.PREDICTION_INIT_STD 0.01 SOLVER.BASE_LR 0.0005 SOLVER.CPU_BFLOAT16 True'
python tools/overfit.py --config-file configs/srn_R50.yaml --output first.pth --max-steps 674 \\
    --decay-step 541 $OPTS MODEL.WEIGHTS ""
python tools/overfit.py --config-file configs/srn_R50.yaml $OPTS MODEL.WEIGHTS first.pth \\
    MODEL.SRN.FIRST_STEP_IOU_THRESHOLDS "[0.3, 0.5]"

The first of the two comes to an AP50 of 65 to 72: 70 of the 99 faces have no anchor that overlaps
them by the 0.7 of the paper's first step. STC learns to drop all anchors of a third of the faces,
and the second step learns from what is left only. With 0.5 in the first step it continues to 95.

Trains on the first images of the training set that have faces large enough to be seen at that
size, whole and without augmentation, and prints COCO AP50 on them until it exceeds --min-ap50.

Exit status: 0, 1 if it did not within --max-steps, 2 if nothing could be started.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence

import srn_d2  # noqa: F401 -- first: hides deprecation warnings of detectron2

# isort: split
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data import transforms as T
from detectron2.evaluation import inference_context, inference_on_dataset
from detectron2.modeling import build_model
from tqdm import tqdm

from srn_d2.atomic_file import atomic_path
from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.cli.arguments import add_overrides, parse_command_line
from srn_d2.config import build_cfg, check_device
from srn_d2.data import FaceDatasetMapper
from srn_d2.engine import SRNTrainer, check_solver
from srn_d2.engine.checks import check_names
from srn_d2.error_messages import USER_ERRORS, message_of
from srn_d2.evaluation import CocoFaceEvaluator

DATASET = "overfit_images"
MIN_FACE_SIZE = 8.0  # pixels after resizing: the smallest anchor
WARMUP_STEPS = 50
DECAY = 0.1


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        cfg = build_cfg(args.config_file, args.opts)
        check_device(cfg)
        check_solver(cfg)
        check_names(cfg, is_training=True)
        torch.manual_seed(max(cfg.SEED, 0))
        train, test = load_images(cfg, args.num_images, args.size)
        model = build_model(cfg)
        SRNCheckpointer(model).load(cfg.MODEL.WEIGHTS)
        optimizer = SRNTrainer.build_optimizer(cfg, model)
    except USER_ERRORS as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 2
    reached = False
    progress = tqdm(itertools.islice(itertools.cycle(train), args.max_steps), total=args.max_steps)
    for step, sample in enumerate(progress, 1):
        set_learning_rate(optimizer, cfg.SOLVER.BASE_LR, step, args.decay_step)
        loss = sum(model.train()([sample]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        progress.set_postfix(loss=f"{loss.item():.3f}")
        if step % args.eval_period == 0 and evaluate(model, test, step) > args.min_ap50:
            reached = True
            break
    if args.output:
        with atomic_path(args.output) as draft:
            torch.save({"model": model.state_dict()}, draft)
    return 0 if reached else 1


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--num-images", type=int, default=8)
    parser.add_argument("--size", type=int, default=640, help="longest side in pixels")
    parser.add_argument("--max-steps", type=int, default=2000, help="of one image each")
    parser.add_argument("--eval-period", type=int, default=40, help="steps between evaluations")
    parser.add_argument("--decay-step", type=int, help="from here on a tenth of the learning rate")
    parser.add_argument("--min-ap50", type=float, default=90.0, help="in percent (default: 90)")
    parser.add_argument("--output", metavar="FILE", help="write the weights, to go on from there")
    add_overrides(parser)
    return parse_command_line(parser, argv, {"--target": "--min-ap50"})


def load_images(cfg: CfgNode, number: int, size: int) -> tuple[list[dict], list[dict]]:
    """The training samples and, registered as :data:`DATASET`, the same images as test samples.

    Faces too small for the anchors at this size are ignored in both.

    Raises:
        ValueError: no image has a face that is large enough.
    """
    resize = [T.ResizeShortestEdge([size], size, "choice")]
    train_mapper = FaceDatasetMapper(resize, is_train=True, min_face_side=MIN_FACE_SIZE)
    test_mapper = FaceDatasetMapper(resize, is_train=False)
    dicts, train = [], []
    for dataset_dict in DatasetCatalog.get(cfg.DATASETS.TRAIN[0]):
        sample = train_mapper(dataset_dict)
        is_ignored = sample["instances"].gt_ignore
        if (~is_ignored).any() and len(is_ignored) == len(dataset_dict["annotations"]):
            annotations = [
                {**annotation, "ignore": bool(ignore)}
                for annotation, ignore in zip(dataset_dict["annotations"], is_ignored, strict=True)
            ]
            dicts.append({**dataset_dict, "annotations": annotations})
            train.append(sample)
        if len(train) == number:
            break
    if not train:
        raise ValueError(f"No image of {cfg.DATASETS.TRAIN[0]} has faces that are all large enough")
    DatasetCatalog.register(DATASET, lambda: dicts)
    MetadataCatalog.get(DATASET).set(thing_classes=["face"], evaluator_type="coco_face")
    return train, [test_mapper(dataset_dict) for dataset_dict in dicts]


def set_learning_rate(
    optimizer: torch.optim.Optimizer, base_lr: float, step: int, decay_step: int | None
) -> None:
    """Linearly up to ``base_lr``, and a tenth of it from ``decay_step`` on."""
    factor = min(1.0, step / WARMUP_STEPS)
    if decay_step is not None and step >= decay_step:
        factor *= DECAY
    for group in optimizer.param_groups:
        group["lr"] = base_lr * factor


def evaluate(model: torch.nn.Module, test: list[dict], step: int) -> float:
    """COCO AP50 on the images, in percent."""
    evaluator = CocoFaceEvaluator(DATASET)
    with inference_context(model), torch.no_grad():
        results = inference_on_dataset(model, [[sample] for sample in test], evaluator)
    tqdm.write(f"step {step}: AP50 {results['bbox']['AP50']:.1f}")
    return results["bbox"]["AP50"]


if __name__ == "__main__":
    sys.exit(main())
