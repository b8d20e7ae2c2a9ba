"""Writing of the trained models that come with this package, and paths ``srn://NAME`` to them.

Which files a model has, and how they are found, is in :mod:`srn_d2.model_files`.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.utils.file_io import PathHandler, PathManager
from torch import Tensor

from srn_d2.atomic_file import atomic_path
from srn_d2.model_files import (
    PREFIX,
    WEIGHTS_FOLDER,
    ShippedModel,
    WeightsHashError,
    find_shipped_model,
    shipped_model_names,
)

__all__ = [
    "MAX_BYTES",
    "PREFIX",
    "WEIGHTS_FOLDER",
    "ShippedModel",
    "ShippedModelHandler",
    "WeightsHashError",
    "find_shipped_model",
    "save_graph",
    "save_shipped_model",
    "shipped_model_names",
    "to_half_precision",
]

MAX_BYTES = 30_000_000
"""Maximum size of a model's weights, and of its graph, in the package."""


def save_shipped_model(
    name: str,
    weights: Mapping[str, Tensor],
    cfg: CfgNode,
    source: Mapping[str, Any],
    folder: Path = WEIGHTS_FOLDER,
) -> ShippedModel:
    """Write a model's checkpoint, config and index; the same arguments give the same bytes.

    Args:
        name: name of the model and stem of the files.
        weights: the model's state dict.
        cfg: config of the model, stored without MODEL.WEIGHTS and for the CPU.
        source: origin of the weights, for the index: JSON values.
        folder: destination.

    Raises:
        ValueError: a weight is not finite in half precision, or the file is larger than
            ``MAX_BYTES``.
    """
    buffer = io.BytesIO()  # a file's name would become part of its content
    metadata = {"name": name, **source}
    torch.save({"model": to_half_precision(weights), "metadata": metadata}, buffer)
    encoded = buffer.getvalue()
    if len(encoded) > MAX_BYTES:
        raise ValueError(f"The weights take {len(encoded)} bytes, more than {MAX_BYTES}")
    index = {
        "name": name,
        "file": f"{name}.pth",
        "sha256": hashlib.sha256(encoded).hexdigest(),
        "bytes": len(encoded),
        "config": f"{name}.yaml",
        "source": dict(source),
    }
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS, cfg.MODEL.DEVICE = "", "cpu"
    contents = {
        index["config"]: cfg.dump().encode(),
        index["file"]: encoded,
        f"{name}.json": (json.dumps(index, indent=2) + "\n").encode(),  # last: it makes the model
    }
    for file_name, content in contents.items():
        with atomic_path(folder / file_name) as draft:
            draft.write_bytes(content)
    return find_shipped_model(name, folder)


def save_graph(name: str, encoded: bytes, folder: Path = WEIGHTS_FOLDER) -> ShippedModel:
    """Write a model's graph, NAME.onnx, and name it in its index.

    Args:
        name: a model that is there.
        encoded: the ONNX file, of the same weights.
        folder: the model's folder.

    Raises:
        ValueError: the file is larger than ``MAX_BYTES``.
        OSError: it cannot be written, or there is no such model.
    """
    if len(encoded) > MAX_BYTES:
        raise ValueError(f"The graph takes {len(encoded)} bytes, more than {MAX_BYTES}")
    path = folder / f"{name}.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    index["graph"] = {
        "file": f"{name}.onnx",
        "sha256": hashlib.sha256(encoded).hexdigest(),
        "bytes": len(encoded),
    }
    with atomic_path(folder / index["graph"]["file"]) as draft:
        draft.write_bytes(encoded)
    with atomic_path(path) as draft:
        draft.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return find_shipped_model(name, folder)


def to_half_precision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert kernels to half precision, contiguous, on the CPU.

    Vectors (biases, statistics and factors of normalisation) stay in single precision: they are
    small, and a variance may underflow in half precision.

    Raises:
        ValueError: a weight is NaN or too large for half precision.
    """
    converted = {}
    for key, tensor in weights.items():
        is_kernel = tensor.is_floating_point() and tensor.ndim > 1
        tensor = tensor.detach().to("cpu", torch.float16 if is_kernel else tensor.dtype)
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{key} has values that are not finite in half precision")
        # A contiguous clone: a view would be saved with its whole storage.
        converted[key] = tensor.clone(memory_format=torch.contiguous_format)
    return converted


class ShippedModelHandler(PathHandler):
    """Resolves ``srn://...`` for detectron2's PathManager."""

    def _get_supported_prefixes(self) -> list[str]:
        return [PREFIX]

    def _get_local_path(self, path: str, **kwargs: Any) -> str:
        return str(find_shipped_model(path.removeprefix(PREFIX)).weights)

    def _open(self, path: str, mode: str = "r", **kwargs: Any) -> Any:
        return PathManager.open(self._get_local_path(path), mode, **kwargs)


PathManager.register_handler(ShippedModelHandler())
