#!/usr/bin/env python
"""Measure speed and memory: of inference, of its growth, of a training step, of a data worker.

python tools/benchmark.py inference --active-share 0.05 0.15 1.0
python tools/benchmark.py inference --config-file configs/srn_R18.yaml \\
    --weights output/srn_R18/model_final.pth --images datasets/widerface/WIDER_val
python tools/benchmark.py growth --sides 256 512 1024 2048 --faces 1 10 100 1000
python tools/benchmark.py training
python tools/benchmark.py loader

Without --weights the networks' weights are random, and the images are noise: for time and memory
only the numbers of cells, candidates and faces count. Which cells the first step leaves is then
imposed: clusters, up to the share of the STC levels' cells that --active-share names.

Runs alternate: A B C A B C. Each command writes <command>.json (images.json with --images) and
pictures to the folder of --output, and report.md about all that is there. Leave the machine alone
while it measures.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import srn_d2  # noqa: F401 -- first: hides deprecation warnings of detectron2

# isort: split
import torch
from detectron2.config import CfgNode

from benchmarks.environment import bfloat16_units, describe
from benchmarks.growth import measure_faces, measure_sides
from benchmarks.images import find_images, synthetic_images
from benchmarks.inference import measure_images, measure_shares
from benchmarks.loader import measure_loader
from benchmarks.onnx_variant import is_available
from benchmarks.report import write_result, write_text
from benchmarks.training import measure_training
from benchmarks.variants import (
    AUTHORS,
    BFLOAT16,
    FLOAT32_VARIANTS,
    ONNXRUNTIME,
    RETINANET,
    VARIANTS,
    Variant,
    build_variants,
)
from srn_d2.cli.arguments import add_overrides, parse_command_line
from srn_d2.config import build_cfg, check_device
from srn_d2.error_messages import USER_ERRORS, message_of

SEED = 0
# Former names of options -> current names.
OLD_NAMES = {
    "--batch": "--batch-size",
    "--dataset": "--use-dataset",
    "--limit": "--num-images",
    "--size": "--image-size",
}
CALIBRATION_SIZE = (256, 256)  # pixels of the image for calibrating random weights


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_inference(commands.add_parser("inference", help="variants by turns, in stages"))
    _add_growth(commands.add_parser("growth", help="against image size and number of faces"))
    _add_training(commands.add_parser("training", help="a training step, in stages"))
    _add_loader(commands.add_parser("loader", help="augmentation on one core"))
    for name, command in commands.choices.items():
        _add_common(command, repeats=3 if name == "growth" else 5)
    return parse_command_line(parser, argv, OLD_NAMES)


def _add_common(parser: argparse.ArgumentParser, repeats: int) -> None:
    parser.add_argument("--config-file", default="configs/srn_R50.yaml")
    parser.add_argument(
        "--image-size",
        dest="size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="of synthetic images, pixels",
    )
    parser.add_argument("--repeats", type=int, default=repeats, help=f"default: {repeats}")
    parser.add_argument("--device", help="default: cuda, or cpu where there is none")
    parser.add_argument("--threads", type=int, help="of torch on the CPU; default: torch's choice")
    parser.add_argument("--output", type=Path, default=Path("output/benchmark"))
    add_overrides(parser)


def _add_inference(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run_inference, default_size=(768, 1024))
    parser.add_argument(
        "--variants",
        nargs="+",
        choices=VARIANTS,
        help="default: all in float32, dense and auto in bfloat16 where the device has it, "
        "onnxruntime where it is installed and the device is the CPU",
    )
    parser.add_argument("--active-share", type=float, nargs="+", default=[0.05, 0.15, 1.0])
    parser.add_argument("--batch-size", type=int, default=1, help="synthetic images of a run")
    parser.add_argument("--weights", default="", help="a trained checkpoint; default: random")
    parser.add_argument(
        "--images", type=Path, nargs="+", metavar="PATH", help="files or folders, with --weights"
    )
    parser.add_argument("--num-images", type=int, help="at most, evenly spread over --images")
    parser.add_argument(
        "--warmup", type=int, default=1, help="untimed runs of each variant on each image"
    )


def _add_growth(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run_growth, default_size=(768, 1024))
    variants = [AUTHORS, "dense", "auto", RETINANET]
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=variants)
    parser.add_argument("--sides", type=int, nargs="*", default=[256, 512, 768, 1024, 1536, 2048])
    parser.add_argument("--active-share", type=float, default=0.05, help="at all sides")
    parser.add_argument(
        "--faces", type=int, nargs="*", default=[1, 10, 100, 1000], help="on images of --image-size"
    )


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run_training, default_size=(1024, 1024))
    parser.add_argument("--batch-size", type=int, default=2, help="images of a step")
    parser.add_argument("--faces", type=int, default=500, help="of an image")
    parser.add_argument(
        "--memory-faces",
        type=int,
        nargs="*",
        default=[10, 100, 1000, 2000],
        help="faces of an image for which a step's memory is measured",
    )


def _add_loader(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run_loader, default_size=(768, 1024))
    parser.add_argument(
        "--use-dataset", action="store_true", help="read DATASETS.TRAIN, not synthetic files"
    )


def variant_names(args: argparse.Namespace, device: torch.device) -> list[str]:
    """The variants that the command line names, or the default ones."""
    if args.variants:
        names = list(args.variants)
    else:
        in_bfloat16 = ["dense" + BFLOAT16, "auto" + BFLOAT16] if bfloat16_units(device) else []
        exported = [ONNXRUNTIME] if is_available(device) else []
        names = [*FLOAT32_VARIANTS, *in_bfloat16, *exported]
    return list(dict.fromkeys(names))


def variants_of(cfg: CfgNode, args: argparse.Namespace, weights: str) -> list[Variant]:
    names = variant_names(args, torch.device(cfg.MODEL.DEVICE))
    calibration = synthetic_images(cfg, CALIBRATION_SIZE, 1, SEED)
    return build_variants(cfg, names, calibration, weights)


def run_inference(cfg: CfgNode, args: argparse.Namespace) -> dict[str, Any]:
    paths = find_images(args.images, args.num_images) if args.images else None
    variants = variants_of(cfg, args, args.weights)
    if paths is not None:
        return measure_images(cfg, variants, paths, repeats=args.repeats, warmup=args.warmup)
    images = synthetic_images(cfg, args.size, args.batch_size, SEED)
    cases = measure_shares(
        cfg, variants, images, args.active_share, repeats=args.repeats, seed=SEED
    )
    return {"cases": cases}


def run_growth(cfg: CfgNode, args: argparse.Namespace) -> dict[str, Any]:
    variants = variants_of(cfg, args, weights="")
    common = {"repeats": args.repeats, "seed": SEED}
    images = synthetic_images(cfg, args.size, 1, SEED)
    return {
        "side": measure_sides(cfg, variants, args.sides, args.active_share, **common),
        "faces": measure_faces(cfg, variants, images, args.faces, **common),
    }


def run_training(cfg: CfgNode, args: argparse.Namespace) -> dict[str, Any]:
    result, profile = measure_training(
        cfg,
        args.size,
        num_images=args.batch_size,
        num_faces=args.faces,
        memory_faces=args.memory_faces,
        repeats=args.repeats,
    )
    write_text(args.output / "training_profile.txt", profile + "\n")
    return result


def run_loader(cfg: CfgNode, args: argparse.Namespace) -> dict[str, Any]:
    return measure_loader(cfg, args.size, repeats=args.repeats, use_dataset=args.use_dataset)


def prepare(args: argparse.Namespace) -> CfgNode:
    """The config, with the device that is used; seeds and threads are set."""
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    cfg = build_cfg(args.config_file, [*args.opts, "MODEL.DEVICE", device])
    check_device(cfg)
    args.size = tuple(args.size or args.default_size)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)
    return cfg


def settings(args: argparse.Namespace) -> dict[str, str]:
    """The options of the measurement that affect it, for the report."""
    hidden = {"command", "run", "default_size", "output", "threads", "device"}
    # Options without effect on given images, or on synthetic ones.
    given = getattr(args, "images", None)
    hidden |= {"size", "batch_size", "active_share"} if given else {"num_images", "warmup"}
    values = {name: value for name, value in vars(args).items() if name not in hidden}
    return {name.replace("_", " "): _text(value) for name, value in values.items() if value}


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status: 0, or 2 if the config, the weights or the data cannot be used."""
    args = parse_args(argv)
    run: Callable[[CfgNode, argparse.Namespace], dict[str, Any]] = args.run
    try:
        cfg = prepare(args)
        conditions = {
            "environment": describe(torch.device(cfg.MODEL.DEVICE)),
            "settings": settings(args),
        }
        result = {**conditions, **run(cfg, args)}
    except USER_ERRORS as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 2
    command = "images" if getattr(args, "images", None) else args.command
    for path in write_result(args.output, command, result):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
