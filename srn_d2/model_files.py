"""The files of the trained models that come with this package, in srn_d2/weights/.

A model NAME has NAME.json (index: file names, their SHA-256, the source), NAME.pth (weights in half
precision), NAME.yaml (the whole config) and, unless it cannot be exported, NAME.onnx (its graph for
ONNX Runtime, with the same weights). Needs neither torch nor detectron2.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
PREFIX = "srn://"
"""``srn://NAME`` refers to a model's weights wherever detectron2 takes a path."""


class WeightsHashError(ValueError):
    """Error for a file of weights whose hash differs from its index."""


@dataclass(frozen=True)
class ShippedModel:
    """The files of a model.

    Attributes:
        name: name of the model, such as "lite".
        weights: checkpoint whose entry "model" is a state dict.
        sha256: SHA-256 of that file, in hexadecimal digits.
        config_file: complete config of the model.
        source: origin of the weights, as recorded by tools/package_weights.py.
        graph: the network with the same weights as an ONNX file without NMS; None: there is none.
        graph_sha256: SHA-256 of that file; "" without one.
    """

    name: str
    weights: Path
    sha256: str
    config_file: Path
    source: Mapping[str, Any]
    graph: Path | None = None
    graph_sha256: str = ""

    def describe_training(self) -> str:
        """Description of the training progress of the weights."""
        from detectron2.config import CfgNode

        cfg = CfgNode.load_yaml_with_base(str(self.config_file), allow_unsafe=True)
        iteration = self.source.get("iteration")  # counted from 0
        done = "unknown" if iteration is None else f"{iteration + 1:,}"
        before = self.source.get("iterations_before", 0)
        after = f" after {before:,} of earlier trainings" if before else ""
        return f"iteration {done} of {cfg['SOLVER']['MAX_ITER']:,}{after}"


def shipped_model_names(folder: Path = WEIGHTS_FOLDER) -> list[str]:
    """Sorted names of the models in ``folder``."""
    return sorted(path.stem for path in folder.glob("*.json"))


def find_shipped_model(
    name: str, folder: Path = WEIGHTS_FOLDER, with_graph: bool = True
) -> ShippedModel:
    """Find a model's files and check that they exist and the hashes match.

    Args:
        name: name of the model.
        folder: folder of the models.
        with_graph: False: the graph, if any, is left out, as it may be about to be made anew.

    Raises:
        FileNotFoundError: there is no such model, or a file of it is missing.
        WeightsHashError: the weights or the graph are not those that belong to it.
    """
    names = shipped_model_names(folder)
    if name not in names:
        raise FileNotFoundError(
            f"No trained model {name!r} comes with this srn_d2 (there are: {names or 'none'}): "
            f"{folder / name}.json is missing. Name a config and weights of your own, or make the "
            "model with tools/package_weights.py"
        )
    index = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    graph = index.get("graph") if with_graph else None
    model = ShippedModel(
        name,
        folder / index["file"],
        index["sha256"],
        folder / index["config"],
        index.get("source", {}),
        folder / graph["file"] if graph else None,
        graph["sha256"] if graph else "",
    )
    for path in (model.weights, model.config_file, model.graph):
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"{path} of the model {name!r} is missing: reinstall srn_d2")
    for path, expected in ((model.weights, model.sha256), (model.graph, model.graph_sha256)):
        if path is not None:
            _check_hash(path, expected, f"{name}.json")
    return model


def _check_hash(path: Path, expected: str, index: str) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise WeightsHashError(
            f"{path} is damaged or another file: its SHA-256 is {found}, {index} says {expected}. "
            "Reinstall srn_d2"
        )
