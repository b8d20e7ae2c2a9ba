#!/usr/bin/env python
"""Put the figures of evaluations into a model's card.

for option in "OUTPUT_DIR output/card_bfloat16" \\
    "OUTPUT_DIR output/card_float32 SOLVER.CPU_BFLOAT16 False" \\
    "OUTPUT_DIR output/card_multi_scale TEST.SRN_TTA.ENABLED True TEST.SRN_TTA.MAX_SIZE 1400"; do
  python train_net.py --config-file srn_d2/weights/lite.yaml --eval-only \\
      MODEL.WEIGHTS srn_d2/weights/lite.pth $option
done
python tools/model_card.py output/card_bfloat16 output/card_float32 output/card_multi_scale

The runs are evaluations on WIDER FACE's validation set; the first is the one that the tables by
height, of misses and of scores are about. Every section of the files that stands between
<!-- NAME: begin --> and <!-- NAME: end --> is written anew, the text around it stays. NAME is
state, ap, iou, heights, misses or thresholds.

Exit status: 0, or 2 if a run or a file cannot be used; then no file is changed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model_card_tables import card_sections, fill_card, read_evaluations

from srn_d2.atomic_file import atomic_path
from srn_d2.checkpoint.shipped_models import WEIGHTS_FOLDER, find_shipped_model
from srn_d2.cli.arguments import parse_command_line
from srn_d2.error_messages import USER_ERRORS, message_of


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="an OUTPUT_DIR")
    parser.add_argument("--model", default="lite", help="of the card (default: lite)")
    parser.add_argument(
        "--output",
        nargs="+",
        type=Path,
        default=[WEIGHTS_FOLDER / "README.md"],
        metavar="FILE",
        help="Markdown files whose sections are updated (default: srn_d2/weights/README.md)",
    )
    return parse_command_line(parser, argv, {"--into": "--output"})


def new_texts(args: argparse.Namespace) -> dict[Path, str]:
    """Map each file to its new text."""
    model = find_shipped_model(args.model)
    sections = card_sections(model, read_evaluations(args.runs, model))
    texts = {}
    for path in args.output:
        try:
            texts[path] = fill_card(path.read_text(encoding="utf-8"), sections)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return texts


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        texts = new_texts(args)
    except USER_ERRORS as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 2
    for path, text in texts.items():
        with atomic_path(path) as draft:
            draft.write_text(text, encoding="utf-8")
        print(f"{path} is up to date.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
