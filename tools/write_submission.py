#!/usr/bin/env python
"""Write the detections on a WIDER FACE split as a folder for the official evaluation.

python tools/write_submission.py --config-file configs/srn_R50.yaml --dataset widerface_val \\
    --output output/submission MODEL.WEIGHTS model_final.pth

The folder holds <event>/<image>.txt: the image, the number of faces, then "x y w h score" a line.
A run that was stopped or killed resumes when the command is given again; with other
weights or settings it refuses to (they are kept in <output>.json). One process at a time.

Exit status: 0, 1 if some image failed (the others are written), 2 if the run cannot start or the
output cannot be written, 130 after Ctrl-C.
"""

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import srn_d2  # noqa: F401 -- first: hides deprecation warnings of detectron2

# isort: split
from detectron2.data import DatasetCatalog, MetadataCatalog
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from srn_d2.cli.arguments import add_overrides, parse_command_line
from srn_d2.config import build_cfg, check_device
from srn_d2.data.image_io import CorruptImageError, read_image
from srn_d2.error_messages import message_of
from srn_d2.evaluation.widerface.submission import (
    NonFiniteDetectionsError,
    SubmissionWriter,
    submission_settings,
)
from srn_d2.inference.predictor import FacePredictor
from srn_d2.inference.tiled_inference import is_out_of_memory

logger = logging.getLogger("srn_d2.write_submission")

# Errors of a single image, besides lack of memory; the others are still processed.
IMAGE_ERRORS = (CorruptImageError, OSError)
# Errors of a wrong config, incompatible weights, another run's folder or an unknown data set.
SETUP_ERRORS = (OSError, ValueError, KeyError, RuntimeError)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="such as configs/srn_R50.yaml")
    parser.add_argument("--dataset", required=True, help="widerface_val, widerface_test, ...")
    parser.add_argument("--output", type=Path, required=True, help="the folder")
    parser.add_argument(
        "--integer-boxes",
        action="store_true",
        help="round as the released code does (default: exact numbers)",
    )
    add_overrides(parser)
    return parse_command_line(parser, argv)


def write_all(
    images: Sequence[dict[str, Any]], predictor: FacePredictor, writer: SubmissionWriter
) -> list[str]:
    """Write the missing files; returns the errors of the images that failed."""
    pending = [image for image in images if not writer.is_done(image["image_id"])]
    num_done = len(images) - len(pending)
    logger.info("%d of %d images are done already", num_done, len(images))
    failures = []
    for image in tqdm(
        pending, initial=num_done, total=len(images), desc="detecting", unit="image", disable=None
    ):
        try:
            detections = predictor(read_image(image["file_name"]))
        except Exception as error:
            if not (isinstance(error, IMAGE_ERRORS) or is_out_of_memory(error)):
                raise
            failures.append(f"{image['image_id']}: {error}")
            logger.error("Failed: %s", failures[-1])
        else:
            writer.write(image["image_id"], detections.pred_boxes.tensor, detections.scores)
    return failures


def evaluation_command(dataset_name: str, folder: Path) -> str | None:
    """The command that evaluates the folder; None where there is no official ground truth."""
    ground_truth = MetadataCatalog.get(dataset_name).get("ground_truth_dir")
    if ground_truth is None or not dataset_name.endswith("_val"):
        return None
    command = ["srn-d2", "evaluate"]
    return shlex.join([*command, "--ground-truth", ground_truth, "--predictions", str(folder)])


def prepare(
    args: argparse.Namespace,
) -> tuple[list[dict[str, Any]], FacePredictor, SubmissionWriter]:
    """Check and load everything before the folder is created; raises ``SETUP_ERRORS``."""
    cfg = build_cfg(args.config_file, args.opts)
    check_device(cfg)
    images = DatasetCatalog.get(args.dataset)
    predictor = FacePredictor(cfg)
    settings = submission_settings(cfg, args.dataset)
    return (
        images,
        predictor,
        SubmissionWriter(args.output, settings, integer_boxes=args.integer_boxes),
    )


def main(argv: Sequence[str] | None = None) -> int:
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    args = parse_args(argv)
    try:
        images, predictor, writer = prepare(args)
    except SETUP_ERRORS as error:
        logger.error("%s: %s", type(error).__name__, message_of(error))
        return 2
    try:
        with logging_redirect_tqdm():
            failures = write_all(images, predictor, writer)
    except KeyboardInterrupt:
        logger.info("Stopped: the same command goes on from here")
        return 130
    except (OSError, NonFiniteDetectionsError) as error:
        logger.error("%s: %s", type(error).__name__, error)
        return 2
    if failures:
        logger.error(
            "%d of %d images failed and have no file; the same command tries them again:\n  %s",
            len(failures),
            len(images),
            "\n  ".join(failures),
        )
    logger.info("%s: %d images", args.output, len(images) - len(failures))
    if command := evaluation_command(args.dataset, args.output):
        logger.info("Evaluate it with:\n%s", command)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
