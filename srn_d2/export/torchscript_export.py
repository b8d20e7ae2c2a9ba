"""SRN as a TorchScript file, for any height, width and number of images."""

import json
import os
import warnings

import torch

from srn_d2.atomic_file import atomic_path

from .exportable import ExportableModel
from .metadata import ExportMetadata
from .tracing import EXAMPLE_SHAPE

METADATA_FILE = "metadata.json"
"""In the TorchScript file: the properties of ``ExportMetadata``, as one JSON object."""


def export_torchscript(model: ExportableModel, path: str | os.PathLike) -> ExportMetadata:
    """Write a model as a TorchScript file, atomically.

    ``torch.jit.load(path)``, in Python or C++, does not need this project. The module has the
    shapes of ``DenseNetwork``: uint8 (N, 3, H, W) -> boxes (N, R, 4) and scores (N, R). What
    follows is up to the caller: the change of scores by size of ``ExportMetadata.size_exponent``,
    and NMS, such as ``torchvision.ops.nms``.

    Returns:
        the file's metadata.

    Raises:
        OSError: the file cannot be written.
    """
    metadata = model.metadata(nms=False, score_threshold=0.0)
    example = torch.zeros(EXAMPLE_SHAPE, dtype=torch.uint8)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # see onnx_export
        traced = torch.jit.trace(model.network, example, check_trace=False)
        traced = torch.jit.freeze(traced.eval())
        with atomic_path(path) as draft:
            files = {METADATA_FILE: json.dumps(metadata.to_properties())}
            torch.jit.save(traced, str(draft), _extra_files=files)
    return metadata
