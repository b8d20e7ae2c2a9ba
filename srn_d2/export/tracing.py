"""Tracing of a network as an ONNX file."""

import os
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

OPSET = 17
"""Version of the ONNX operator set, supported by ONNX Runtime since 1.12."""

EXAMPLE_SHAPE = (2, 3, 97, 131)
"""Shape of the traced picture. No dimension is 1 or equals another, lest it become a constant."""

INPUT = "images"
INPUT_AXES = {0: "batch", 2: "height", 3: "width"}


class NotExportableError(ValueError):
    """Error for a model, or a part of one, that cannot be expressed in an export format."""


def trace(
    network: nn.Module,
    inputs: Mapping[str, tuple[Tensor, dict[int, str]]],
    outputs: Mapping[str, dict[int, str]],
    path: os.PathLike,
) -> None:
    """Write a network as an ONNX file.

    The graph is traced: torch.export needs minutes for the symbolic sizes of SRN's maps where
    tracing takes seconds.

    Args:
        network: in evaluation mode.
        inputs: name -> example and its dynamic axes, in the order of the network's arguments.
        outputs: name -> dynamic axes, in the order of the network's results.
        path: of the file.

    Raises:
        NotExportableError: a part of the network cannot be expressed in ONNX.
    """
    with torch.no_grad(), warnings.catch_warnings():
        # Deprecation of tracing, and Python numbers in timm and detectron2 that do not depend on
        # the picture.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                network,
                tuple(example for example, _ in inputs.values()),
                path,
                dynamo=False,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes={**{name: axes for name, (_, axes) in inputs.items()}, **outputs},
            )
        except torch.onnx.errors.OnnxExporterError as error:
            first_line = str(error).strip().splitlines()[0]
            raise NotExportableError(f"ONNX cannot hold this network: {first_line}") from error
