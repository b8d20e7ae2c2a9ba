"""What a run depends on: kept in its folder, so that a resumed one is the same run."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode

from srn_d2.atomic_file import atomic_path
from srn_d2.config import build_cfg

from .runs import Run

# Keys (or their beginnings) on which the trained weights do not depend.
_OTHER_KEYS = (
    "DATALOADER.NUM_WORKERS",
    "DATASETS.TEST",
    "INPUT.FACE_CACHE_MB",
    "INPUT.MAX_SIZE_TEST",
    "INPUT.MIN_SIZE_TEST",
    "MODEL.DEVICE",
    "MODEL.WEIGHTS",
    "OUTPUT_DIR",
    "SOLVER.CHECKPOINT_PERIOD",
    "TEST.",
    "VIS_PERIOD",
)


def prepare(run: Run, weights_sha256: Mapping[str, str], create: bool = True) -> None:
    """Write the run's settings, or compare with those with which it was begun.

    A key that the file lacks, because it was added to the project later, must have its default.

    Args:
        run: its config is built.
        weights_sha256: checkpoint -> its SHA-256, see :func:`hash_weights`.
        create: False: nothing is written.

    Raises:
        ValueError: the run was begun with other settings; the message names them.
    """
    settings = _settings(run, weights_sha256)
    path = run.folder / "settings.json"
    if not path.exists():
        if not create:
            return
        with atomic_path(path) as draft:
            draft.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        return
    try:
        old = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is no settings file: {error}") from error
    defaults = json.loads(json.dumps(flatten(build_cfg())))
    settings = json.loads(json.dumps(settings))
    differences = [
        f"  {key}: {old.get(key, 'not set')} there, {settings.get(key, 'not set')} now"
        for key in sorted({*old, *settings})
        if old.get(key, defaults.get(key)) != settings.get(key, defaults.get(key))
    ]
    if differences:
        raise ValueError(
            f"{run.folder} was begun with other settings ({path.name}); choose another --output, "
            "or remove the folder to start this run anew:\n" + "\n".join(differences)
        )


def _settings(run: Run, weights_sha256: Mapping[str, str]) -> dict[str, Any]:
    weights = run.cfg.MODEL.WEIGHTS
    return {
        "workers": run.plan.num_gpus,
        "start_weights": weights_sha256.get(weights, weights),
        **{
            key: value for key, value in flatten(run.cfg).items() if not key.startswith(_OTHER_KEYS)
        },
    }


def hash_weights(paths: Sequence[str]) -> dict[str, str]:
    """Path -> SHA-256 of each file.

    Raises:
        FileNotFoundError: there is no such file.
    """
    digests = {}
    for path in dict.fromkeys(paths):
        if not os.path.isfile(path):
            raise FileNotFoundError(f"--start-weights {path} is no file")
        with open(path, "rb") as file:
            digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def flatten(node: CfgNode, prefix: str = "") -> dict[str, Any]:
    """Key with dots -> value, of all keys of a config."""
    flat: dict[str, Any] = {}
    for name, value in node.items():
        if isinstance(value, CfgNode):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
