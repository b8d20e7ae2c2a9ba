#!/usr/bin/env python
"""Package a trained checkpoint as a model that comes with the package.

python tools/package_weights.py output/srn_efflite0/model_final.pth \\
    --config-file configs/srn_efflite0.yaml --model lite

writes lite.pth (the averaged weights if the checkpoint has such, in half precision), lite.yaml (the
whole config) and lite.json (file names, SHA-256, origin) to srn_d2/weights/; then
FaceDetector("lite") loads them. Of several checkpoints it takes the mean: those of the ends of
several cosines of one training often detect better together than each (stochastic weight averaging,
Izmailov et al., UAI 2018). What is noted of the training is the first one's, and so are parts that
the others lack, with a warning: the first step of a RetinaNet, for instance.

Exit status: 0, or 2 if the checkpoint does not fit the config or cannot be stored.
"""

import argparse
import copy
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.checkpoint.shipped_models import WEIGHTS_FOLDER, ShippedModel, save_shipped_model
from srn_d2.cli.arguments import add_overrides, parse_command_line
from srn_d2.config import build_cfg
from srn_d2.engine import SRNTrainer
from srn_d2.error_messages import USER_ERRORS, message_of


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "checkpoint", type=Path, nargs="+", help="a .pth file of a training, or several"
    )
    parser.add_argument("--config-file", required=True, help="of the training")
    parser.add_argument("--model", required=True, help="name of the model, such as lite")
    parser.add_argument(
        "--iterations-before",
        type=int,
        default=0,
        metavar="N",
        help="of the trainings before, whose weights this one began with (default: 0)",
    )
    parser.add_argument(
        "--output", type=Path, default=WEIGHTS_FOLDER, help="a folder; default: srn_d2/weights"
    )
    add_overrides(parser)
    return parse_command_line(parser, argv, {"--name": "--model"})


def package(args: argparse.Namespace) -> ShippedModel:
    """Load the checkpoints as the detector does, and store the mean of the models' weights."""
    cfg = build_cfg(args.config_file, args.opts)
    cfg.MODEL.DEVICE = "cpu"
    model = SRNTrainer.build_model(cfg)
    first, *others = args.checkpoint
    rest = SRNCheckpointer(model, strict=True).load(str(first), checkpointables=[])
    states = [copy.deepcopy(model.state_dict())]
    for path in others:
        model.load_state_dict(states[0])
        checkpointer = SRNCheckpointer(model, strict=True, allow_missing=True)
        checkpointer.load(str(path), checkpointables=[])
        states.append(copy.deepcopy(model.state_dict()))
    source = {
        "checkpoint": [path.name for path in args.checkpoint],
        "checkpoint_sha256": [
            hashlib.sha256(path.read_bytes()).hexdigest() for path in args.checkpoint
        ],
        "config_file": Path(args.config_file).name,
        "iteration": rest.get("iteration"),
        "iterations_before": args.iterations_before,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    return save_shipped_model(args.model, mean_state(states), cfg, source, args.output)


def mean_state(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of state dicts of one network; other than floating-point values are the first's."""
    return {
        name: sum(state[name].double() for state in states).div(len(states)).to(first.dtype)
        if first.is_floating_point()
        else first
        for name, first in states[0].items()
    }


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        model = package(args)
    except USER_ERRORS as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 2
    print(f"{model.weights}: {model.weights.stat().st_size / 1e6:.1f} MB, SHA-256 {model.sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
