"""Selective Refinement Network (AAAI 2019) for face detection, as detectron2 components.

Importing this package registers the network with detectron2's registries and the data sets with
its DatasetCatalog. ``FaceDetector`` and its results are imported when they are first used.
"""

import importlib
import sys
from pathlib import Path

__version__ = "0.1.0"

_LAZY = {
    "Face": "srn_d2.faces",
    "FaceDetector": "srn_d2.detector",
    "Faces": "srn_d2.faces",
    "InvalidImageError": "srn_d2.data",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def _is_command() -> bool:
    """Whether this process is `srn-d2` or `python -m srn_d2.doctor`.

    Python imports this package first. The doctor examines an installation that may be broken, so
    what is to be examined must not be imported before; and help and usage errors are immediate.
    """
    modules = {"srn_d2.cli", "srn_d2.doctor"}
    script = Path(sys.argv[0]).stem if sys.argv else ""
    return script == "srn-d2" or not modules.isdisjoint(sys.orig_argv)


if not _is_command():
    from . import data, modeling
    from .config import add_srn_config

    __all__ = [*_LAZY, "__version__", "add_srn_config", "data", "modeling"]
