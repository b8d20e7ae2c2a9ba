"""Settings that detections depend on, to tell whether two runs give the same ones."""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .bfloat16 import resolve_cpu_bfloat16

if TYPE_CHECKING:
    from detectron2.config import CfgNode

CPU_BFLOAT16 = "SOLVER.CPU_BFLOAT16"
# The config keys (or their beginnings) on which detections depend ...
_DETECTION_KEYS = (
    "MODEL.",
    "INPUT.FORMAT",
    "INPUT.MIN_SIZE_TEST",
    "INPUT.MAX_SIZE_TEST",
    CPU_BFLOAT16,
    "TEST.BFLOAT16",
    "TEST.DETECTIONS_PER_IMAGE",
    "TEST.SRN_TTA.",
)
# ... except these: a run may be resumed elsewhere, and the content of the weights counts.
_LOCATION_KEYS = ("MODEL.DEVICE", "MODEL.WEIGHTS")


def detection_settings(cfg: "CfgNode") -> dict[str, Any]:
    """Settings that the detections of a run depend on: weights (SHA-256) and config keys.

    The path of the weights and the device are not among them.
    """
    from detectron2.utils.file_io import PathManager

    settings = {
        key: value
        for key, value in _flatten(cfg)
        if key.startswith(_DETECTION_KEYS) and key not in _LOCATION_KEYS
    }
    # "auto" may be another precision on the machine where the run is resumed.
    settings[CPU_BFLOAT16] = resolve_cpu_bfloat16(settings[CPU_BFLOAT16])
    with open(PathManager.get_local_path(cfg.MODEL.WEIGHTS), "rb") as file:
        weights = hashlib.file_digest(file, "sha256").hexdigest()
    return {"weights_sha256": weights, **settings}


def _flatten(node: "CfgNode", prefix: str = "") -> Iterator[tuple[str, Any]]:
    from detectron2.config import CfgNode

    for name, value in node.items():
        if isinstance(value, CfgNode):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
