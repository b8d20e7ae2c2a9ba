#!/usr/bin/env python
"""Package a trained checkpoint as a model that comes with the package.

python tools/package_weights.py output/srn_efflite0/model_final.pth \\
    --config-file configs/srn_efflite0.yaml --model lite

writes to srn_d2/weights/ lite.pth (the averaged weights if the checkpoint has such, in half
precision), lite.yaml (the whole config), lite.onnx (the network with these weights, for ONNX
Runtime) and lite.json (file names, SHA-256, origin); then FaceDetector("lite") loads them. Without
a checkpoint,

python tools/package_weights.py --model lite

it only makes lite.onnx anew, of lite.pth and lite.yaml. The detections of a graph are compared with
PyTorch's before it is stored.

Of several checkpoints it takes the mean: those of the ends of several cosines of one training often
detect better together than each (stochastic weight averaging, Izmailov et al., UAI 2018). What is
noted of the training is the first one's, and so are parts that the others lack, with a warning: the
first step of a RetinaNet, for instance.

Exit status: 0, or 2 if the checkpoint does not fit the config or cannot be stored, or if the graph
cannot be made.
"""

import argparse
import copy
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.checkpoint.shipped_models import save_graph, save_shipped_model
from srn_d2.cli.arguments import add_overrides, parse_command_line
from srn_d2.config import build_cfg
from srn_d2.engine import SRNTrainer
from srn_d2.error_messages import USER_ERRORS, message_of
from srn_d2.export.exportable import ExportableModel
from srn_d2.export.onnx_export import export_onnx
from srn_d2.export.parity import check_picture, onnx_parity
from srn_d2.model_files import WEIGHTS_FOLDER, ShippedModel, find_shipped_model
from srn_d2.modeling.postprocessing import PaperPostprocessing


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "checkpoint",
        type=Path,
        nargs="*",
        help="a .pth file of a training, or several; none: only the graph is made anew",
    )
    parser.add_argument("--config-file", help="of the training")
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
    parser.add_argument(
        "--no-graph", action="store_true", help="for a network that cannot be exported to ONNX"
    )
    add_overrides(parser)
    args = parse_command_line(parser, argv, {"--name": "--model"})
    if bool(args.checkpoint) != bool(args.config_file):
        parser.error("give a checkpoint and its --config-file, or neither for the graph alone")
    if args.no_graph and not args.checkpoint:
        parser.error("--no-graph without a checkpoint leaves nothing to do")
    return args


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


def package_graph(name: str, folder: Path) -> ShippedModel:
    """Export a model of the folder to ONNX, compare its detections, and store it there.

    Raises:
        ImportError: onnx or onnxruntime is not installed.
        ValueError: the network cannot be exported, or finds other faces than PyTorch.
    """
    model = find_shipped_model(name, folder, with_graph=False)
    exportable = ExportableModel.load(config_file=model.config_file, weights=model.weights)
    exportable = replace(exportable, name=name)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{name}.onnx"
        export_onnx(
            exportable,
            path,
            nms=False,
            half_precision=True,
            second_step="auto",
            candidates_only=isinstance(exportable.model.postprocessing, PaperPostprocessing),
        )
        parity = onnx_parity(exportable, path, check_picture())
        if not parity.is_close:
            raise ValueError(f"the graph's detections are not PyTorch's: {parity}")
        return save_graph(name, path.read_bytes(), folder)


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
        if args.checkpoint:
            model = package(args)
        if not args.no_graph:
            model = package_graph(args.model, args.output)
    except USER_ERRORS as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 2
    for path, sha256 in ((model.weights, model.sha256), (model.graph, model.graph_sha256)):
        if path is not None:
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, SHA-256 {sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
