"""The trained models that come with this package, in srn_d2/weights/.

A model NAME has NAME.json (index: file names, the weights' SHA-256, their source), NAME.pth
(weights in half precision) and NAME.yaml (the whole config). ``srn://NAME`` refers to its weights
wherever detectron2 takes a path.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.utils.file_io import PathHandler, PathManager
from torch import Tensor

from srn_d2.atomic_file import atomic_path

WEIGHTS_FOLDER = Path(__file__).parents[1] / "weights"
PREFIX = "srn://"
MAX_BYTES = 30_000_000
"""Maximum size of a model's weights in the package."""


class WeightsHashError(ValueError):
    """Error for a weights file whose hash differs from its index."""


@dataclass(frozen=True)
class ShippedModel:
    """The files of a model.

    Attributes:
        name: name of the model, such as "lite".
        weights: checkpoint whose entry "model" is a state dict.
        sha256: SHA-256 of that file, in hexadecimal digits.
        config_file: complete config of the model.
        source: origin of the weights, as recorded by tools/package_weights.py.
    """

    name: str
    weights: Path
    sha256: str
    config_file: Path
    source: Mapping[str, Any]

    def describe_training(self) -> str:
        """Description of the training progress of the weights."""
        cfg = CfgNode.load_yaml_with_base(str(self.config_file), allow_unsafe=True)
        iteration = self.source.get("iteration")  # counted from 0
        done = "unknown" if iteration is None else f"{iteration + 1:,}"
        before = self.source.get("iterations_before", 0)
        after = f" after {before:,} of earlier trainings" if before else ""
        return f"iteration {done} of {cfg['SOLVER']['MAX_ITER']:,}{after}"


def shipped_model_names(folder: Path = WEIGHTS_FOLDER) -> list[str]:
    """Sorted names of the models in ``folder``."""
    return sorted(path.stem for path in folder.glob("*.json"))


def find_shipped_model(name: str, folder: Path = WEIGHTS_FOLDER) -> ShippedModel:
    """Find a model's files and check that they exist and the hash matches.

    Raises:
        FileNotFoundError: there is no such model, or a file of it is missing.
        WeightsHashError: the weights are not those that belong to it.
    """
    names = shipped_model_names(folder)
    if name not in names:
        raise FileNotFoundError(
            f"No trained model {name!r} comes with this srn_d2 (there are: {names or 'none'}): "
            f"{folder / name}.json is missing. Name a config and weights of your own, or make the "
            "model with tools/package_weights.py"
        )
    index = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    model = ShippedModel(
        name,
        folder / index["file"],
        index["sha256"],
        folder / index["config"],
        index.get("source", {}),
    )
    for path in (model.weights, model.config_file):
        if not path.is_file():
            raise FileNotFoundError(f"{path} of the model {name!r} is missing: reinstall srn_d2")
    found = hashlib.sha256(model.weights.read_bytes()).hexdigest()
    if found != model.sha256:
        raise WeightsHashError(
            f"{model.weights} is damaged or another file: its SHA-256 is {found}, "
            f"{name}.json says {model.sha256}. Reinstall srn_d2"
        )
    return model


def save_shipped_model(
    name: str,
    weights: Mapping[str, Tensor],
    cfg: CfgNode,
    source: Mapping[str, Any],
    folder: Path = WEIGHTS_FOLDER,
) -> ShippedModel:
    """Write a model's three files; the same arguments give the same bytes.

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
